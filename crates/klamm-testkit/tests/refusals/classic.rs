//! The classic protocol: wrong generations, members, instances and groups.

use bytes::Bytes;
use klamm_protocol::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::leave_group_request::MemberIdentity;
use klamm_protocol::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, SyncGroupRequest,
};
use klamm_stdx::Str;

use super::{Probe, offsets};

/// A member that is in.
pub(crate) struct Joined {
    pub(crate) member_id: Str,
    pub(crate) generation: i32,
}

pub(crate) fn join(
    group: &'static str,
    member_id: &Str,
    instance: Option<&'static str>,
) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol {
        name: Str::from("range"),
        // A subscription of no topics (`ConsumerProtocolSubscription`, v0).
        metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    };
    JoinGroupRequest {
        group_id: Str::from(group),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 5_000,
        member_id: member_id.clone(),
        group_instance_id: instance.map(Str::from),
        protocol_type: Str::from("consumer"),
        protocols: vec![protocol],
        reason: None,
    }
}

pub(crate) fn sync(group: &'static str, joined: &Joined) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: Str::from(group),
        generation_id: joined.generation,
        member_id: joined.member_id.clone(),
        protocol_type: Some(Str::from("consumer")),
        protocol_name: Some(Str::from("range")),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        }],
        ..SyncGroupRequest::default()
    }
}

/// Makes a group of one member, which is stable.
pub(crate) fn settle(
    probe: &mut Probe,
    group: &'static str,
    instance: Option<&'static str>,
) -> Joined {
    let answer = probe.client.ask(&join(group, &Str::new(), instance), 9);
    let answer = match instance {
        Some(_) => answer,
        None => probe.client.ask(&join(group, &answer.member_id, None), 9),
    };
    assert_eq!(answer.error_code, 0, "{group} has no member");
    let joined = Joined { member_id: answer.member_id, generation: answer.generation_id };
    let mut sync = sync(group, &joined);
    sync.group_instance_id = instance.map(Str::from);
    assert_eq!(probe.client.ask(&sync, 5).error_code, 0);
    joined
}

pub(crate) fn probe(probe: &mut Probe) {
    let joined = settle(probe, "g", None);
    joins(probe);
    heartbeats_and_syncs(probe, &joined);
    offsets::commits_of_members(probe, &joined);
    leaves_and_descriptions(probe);
    static_members(probe);
}

fn joins(probe: &mut Probe) {
    let wrong = |change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = join("g", &Str::new(), None);
        change(&mut request);
        request
    };
    let requests = [
        ("join: no group", wrong(&|r| r.group_id = Str::new())),
        ("join: session too short", wrong(&|r| r.session_timeout_ms = 1)),
        ("join: session too long", wrong(&|r| r.session_timeout_ms = i32::MAX)),
        ("join: negative session", wrong(&|r| r.session_timeout_ms = -1)),
        ("join: first time", wrong(&|_| {})),
        ("join: unknown member", wrong(&|r| r.member_id = Str::from("nobody"))),
        ("join: no protocols", wrong(&|r| r.protocols.clear())),
        ("join: no protocol type", wrong(&|r| r.protocol_type = Str::new())),
        ("join: another protocol type", wrong(&|r| r.protocol_type = Str::from("connect"))),
        ("join: another assignor", wrong(&|r| r.protocols[0].name = Str::from("other"))),
        (
            "join: unknown member of unknown group",
            wrong(&|r| {
                r.group_id = Str::from("new");
                r.member_id = Str::from("nobody");
            }),
        ),
        (
            "join: no protocols, unknown group",
            wrong(&|r| {
                r.group_id = Str::from("new");
                r.protocols.clear();
            }),
        ),
        ("join: empty instance", wrong(&|r| r.group_instance_id = Some(Str::new()))),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 9).error_code;
        probe.note(what, code);
    }
}

fn heartbeats_and_syncs(probe: &mut Probe, joined: &Joined) {
    let beat = |group: &str, member: &Str, generation| HeartbeatRequest {
        group_id: Str::from(group),
        generation_id: generation,
        member_id: member.clone(),
        group_instance_id: None,
    };
    let (member, nobody) = (&joined.member_id, Str::from("nobody"));
    let requests = [
        ("heartbeat: well", beat("g", member, joined.generation)),
        ("heartbeat: old generation", beat("g", member, joined.generation - 1)),
        ("heartbeat: later generation", beat("g", member, joined.generation + 1)),
        ("heartbeat: unknown member", beat("g", &nobody, joined.generation)),
        ("heartbeat: no member", beat("g", &Str::new(), joined.generation)),
        ("heartbeat: unknown group", beat("none", member, joined.generation)),
        ("heartbeat: no group", beat("", member, joined.generation)),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 4).error_code;
        probe.note(what, code);
    }
    let wrong = |change: &dyn Fn(&mut SyncGroupRequest)| {
        let mut request = sync("g", joined);
        change(&mut request);
        request
    };
    let requests = [
        ("sync: old generation", wrong(&|r| r.generation_id -= 1)),
        ("sync: unknown member", wrong(&|r| r.member_id = Str::from("nobody"))),
        ("sync: unknown group", wrong(&|r| r.group_id = Str::from("none"))),
        ("sync: no group", wrong(&|r| r.group_id = Str::new())),
        ("sync: another protocol", wrong(&|r| r.protocol_name = Some(Str::from("other")))),
        ("sync: another type", wrong(&|r| r.protocol_type = Some(Str::from("connect")))),
        ("sync: no protocol", wrong(&|r| r.protocol_name = None)),
        ("sync: instance", wrong(&|r| r.group_instance_id = Some(Str::from("nobody")))),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 5).error_code;
        probe.note(what, code);
    }
}

fn leaves_and_descriptions(probe: &mut Probe) {
    let leave = |group: &'static str, member: &str, instance: Option<&'static str>| {
        let member = MemberIdentity {
            member_id: Str::from(member),
            group_instance_id: instance.map(Str::from),
            reason: None,
        };
        let group_id = Str::from(group);
        LeaveGroupRequest { group_id, members: vec![member], ..LeaveGroupRequest::default() }
    };
    for (what, request) in [
        ("leave: unknown member", leave("g", "nobody", None)),
        ("leave: unknown instance", leave("g", "", Some("nobody"))),
        ("leave: unknown group", leave("none", "nobody", None)),
        ("leave: no group", leave("", "nobody", None)),
    ] {
        let answer = probe.client.ask(&request, 5);
        probe.note(what, answer.error_code);
        for member in &answer.members {
            probe.note(&format!("{what}, of the member"), member.error_code);
        }
    }
    for group in ["g", "none", ""] {
        for version in [5, 6] {
            let groups = vec![Str::from(group)];
            let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
            let code = probe.client.ask(&request, version).groups[0].error_code;
            probe.note(&format!("describe {group:?} v{version}"), code);
        }
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(group)] };
        let code = probe.client.ask(&request, 2).results[0].error_code;
        probe.note(&format!("delete {group:?}"), code);
    }
}

fn static_members(probe: &mut Probe) {
    let first = settle(probe, "s", Some("i"));
    let second = settle(probe, "s", Some("i"));
    let beat = |joined: &Joined, instance: Option<&'static str>| HeartbeatRequest {
        group_id: Str::from("s"),
        generation_id: joined.generation,
        member_id: joined.member_id.clone(),
        group_instance_id: instance.map(Str::from),
    };
    let requests = [
        ("static: heartbeat of the second", beat(&second, Some("i"))),
        ("static: heartbeat of the first, fenced", beat(&first, Some("i"))),
        ("static: heartbeat of the first, without instance", beat(&first, None)),
        ("static: heartbeat as an unknown instance", beat(&second, Some("nobody"))),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 4).error_code;
        probe.note(what, code);
    }
    let mut request = sync("s", &first);
    request.group_instance_id = Some(Str::from("i"));
    let code = probe.client.ask(&request, 5).error_code;
    probe.note("static: sync of the first", code);
    let code = probe.client.ask(&join("s", &first.member_id, Some("i")), 9).error_code;
    probe.note("static: join of the first", code);
    offsets::commits_of_static_members(probe, &first, &second);
}
