//! Between the protocols: what a member of one asks of a group of the other.

use bytes::Bytes;
use klamm_protocol::leave_group_request::MemberIdentity;
use klamm_protocol::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
};
use klamm_stdx::Str;

use super::classic::{Joined, join, settle, sync};
use super::{Probe, consumer};

const NEWCOMER: &str = "RUVFRUVFRUVFRUVFRUVFRQ";

pub(crate) fn probe(probe: &mut Probe) {
    let member = consumer::member_of(probe, "mc");
    joins(probe);
    words_of_others(probe, &member);
    upgrades(probe);
}

/// Classic members want to join the consumer group "mc".
fn joins(probe: &mut Probe) {
    let wrong = |change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = join("mc", &Str::new(), None);
        change(&mut request);
        request
    };
    let garbled = |r: &mut JoinGroupRequest| {
        r.group_instance_id = Some(Str::from("garbled"));
        r.protocols[0].metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 9]);
    };
    for (what, request) in [
        ("migration: first join", wrong(&|_| {})),
        ("migration: unknown member", wrong(&|r| r.member_id = Str::from("nobody"))),
        ("migration: no protocols", wrong(&|r| r.protocols.clear())),
        ("migration: no protocol type", wrong(&|r| r.protocol_type = Str::new())),
        ("migration: Connect's protocol", wrong(&|r| r.protocol_type = Str::from("connect"))),
        ("migration: session too short", wrong(&|r| r.session_timeout_ms = 1)),
        ("migration: garbled subscription", wrong(&garbled)),
    ] {
        let code = probe.client.ask(&request, 9).error_code;
        probe.note(what, code);
    }
}

/// Requests of the classic protocol in the name of a member that speaks the other.
fn words_of_others(probe: &mut Probe, member: &(Str, i32)) {
    for (what, member_id) in [("its member", &member.0), ("nobody", &Str::from("nobody"))] {
        let beat = HeartbeatRequest {
            group_id: Str::from("mc"),
            generation_id: member.1,
            member_id: member_id.clone(),
            group_instance_id: None,
        };
        let code = probe.client.ask(&beat, 4).error_code;
        probe.note(&format!("migration: classic heartbeat of {what}"), code);
        let joined = Joined { member_id: member_id.clone(), generation: member.1 };
        let code = probe.client.ask(&sync("mc", &joined), 5).error_code;
        probe.note(&format!("migration: classic sync of {what}"), code);
    }
    let members = vec![MemberIdentity { member_id: Str::from("nobody"), ..Default::default() }];
    let group_id = Str::from("mc");
    let leave = LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() };
    let answer = probe.client.ask(&leave, 5);
    probe.note("migration: classic leave of nobody", answer.error_code);
    probe.note("migration: classic leave of nobody, the member", answer.members[0].error_code);
}

fn newcomer(group: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from(group),
        member_id: Str::from(NEWCOMER),
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(vec![Str::from("t")]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// Members of the consumer protocol want to join classic groups.
fn upgrades(probe: &mut Probe) {
    settle(probe, "mg", None);
    let mut wrong = newcomer("mg");
    wrong.member_epoch = 3;
    let code = probe.client.ask(&wrong, 1).error_code;
    probe.note("migration: an epoch in a classic group", code);
    wrong.member_epoch = -1;
    let code = probe.client.ask(&wrong, 1).error_code;
    probe.note("migration: a leave of a classic group", code);
    let code = probe.client.ask(&newcomer("mg"), 1).error_code;
    probe.note("migration: a join of a classic group", code);
}
