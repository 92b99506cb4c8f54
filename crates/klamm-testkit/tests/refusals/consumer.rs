//! The consumer protocol (KIP-848): wrong epochs, members, subscriptions and groups.

use klamm_protocol::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest,
    OffsetFetchRequest,
};
use klamm_stdx::Str;

use super::{Probe, offsets};

const MEMBER: &str = "QkJCQkJCQkJCQkJCQkJCQg";
const OTHER: &str = "Q0NDQ0NDQ0NDQ0NDQ0NDQw";

/// A member that joins a group "c".
fn join() -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from("c"),
        member_id: Str::from(MEMBER),
        member_epoch: 0,
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(vec![Str::from("t")]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A member that has nothing to say.
fn beat(epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from("c"),
        member_id: Str::from(MEMBER),
        member_epoch: epoch,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A member that has joined a group, with its epoch.
pub(crate) fn member_of(probe: &mut Probe, group: &str) -> (Str, i32) {
    let mut request = join();
    request.group_id = Str::from(group);
    let answer = probe.client.ask(&request, 1);
    assert_eq!(answer.error_code, 0, "{group} has no member");
    (request.member_id, answer.member_epoch)
}

pub(crate) fn probe(probe: &mut Probe) {
    let answer = probe.client.ask(&join(), 1);
    probe.note("consumer: first join", answer.error_code);
    let epoch = answer.member_epoch;
    joins(probe);
    epochs(probe, epoch);
    descriptions(probe);
    offsets::commits_of_consumer_members(probe, MEMBER, epoch);
    fetches(probe, epoch);
    static_members(probe);
    members_of_a_full_group(probe);
}

/// Two are as many as the group may have.
fn members_of_a_full_group(probe: &mut Probe) {
    for member in [MEMBER, OTHER, "RERERERERERERERERERERA"] {
        let mut request = join();
        request.group_id = Str::from("full");
        request.member_id = Str::from(member);
        let code = probe.client.ask(&request, 1).error_code;
        probe.note(&format!("consumer: {member} of a full group"), code);
    }
}

fn joins(probe: &mut Probe) {
    let wrong = |change: &dyn Fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = join();
        request.group_id = Str::from("new");
        request.member_id = Str::from(OTHER);
        change(&mut request);
        request
    };
    let by_pattern = |pattern: &str| {
        wrong(&|r| {
            r.subscribed_topic_names = None;
            r.subscribed_topic_regex = Some(Str::from(pattern));
        })
    };
    let requests = [
        ("consumer: no group", wrong(&|r| r.group_id = Str::new())),
        ("consumer: blank group", wrong(&|r| r.group_id = Str::from("  "))),
        ("consumer: no member", wrong(&|r| r.member_id = Str::new())),
        ("consumer: no timeout", wrong(&|r| r.rebalance_timeout_ms = -1)),
        ("consumer: no subscription", wrong(&|r| r.subscribed_topic_names = None)),
        ("consumer: no partitions", wrong(&|r| r.topic_partitions = None)),
        (
            "consumer: partitions at the join",
            wrong(&|r| {
                let owned = klamm_protocol::consumer_group_heartbeat_request::TopicPartitions {
                    partitions: vec![0],
                    ..Default::default()
                };
                r.topic_partitions = Some(vec![owned]);
            }),
        ),
        ("consumer: assignor", wrong(&|r| r.server_assignor = Some(Str::from("other")))),
        ("consumer: no assignor", wrong(&|r| r.server_assignor = Some(Str::new()))),
        ("consumer: empty instance", wrong(&|r| r.instance_id = Some(Str::new()))),
        ("consumer: empty rack", wrong(&|r| r.rack_id = Some(Str::new()))),
        ("consumer: epoch below all", wrong(&|r| r.member_epoch = -3)),
        ("consumer: epoch of a static leave", wrong(&|r| r.member_epoch = -2)),
        ("consumer: leave of unknown group", wrong(&|r| r.member_epoch = -1)),
        ("consumer: epoch in unknown group", wrong(&|r| r.member_epoch = 3)),
        ("consumer: pattern without an end", by_pattern("(a")),
        ("consumer: pattern that looks back", by_pattern(r"(a)\1")),
        ("consumer: pattern that looks ahead", by_pattern("a(?=b)")),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 1).error_code;
        probe.note(what, code);
    }
}

fn epochs(probe: &mut Probe, epoch: i32) {
    let mut of_nobody = beat(epoch);
    of_nobody.member_id = Str::from(OTHER);
    let mut leave_of_nobody = beat(-1);
    leave_of_nobody.member_id = Str::from(OTHER);
    let requests = [
        ("consumer: well", beat(epoch)),
        ("consumer: later epoch", beat(epoch + 1)),
        ("consumer: unknown member", of_nobody),
        ("consumer: leave of unknown member", leave_of_nobody),
        ("consumer: static leave without instance", beat(-2)),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 1).error_code;
        probe.note(what, code);
    }
}

fn descriptions(probe: &mut Probe) {
    for group in ["c", "g", "none", ""] {
        let group_ids = vec![Str::from(group)];
        let request =
            ConsumerGroupDescribeRequest { group_ids, ..ConsumerGroupDescribeRequest::default() };
        let code = probe.client.ask(&request, 1).groups[0].error_code;
        probe.note(&format!("consumer: describe {group:?}"), code);
    }
    for version in [5, 6] {
        let groups = vec![Str::from("c")];
        let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
        let code = probe.client.ask(&request, version).groups[0].error_code;
        probe.note(&format!("consumer: described as classic v{version}"), code);
    }
}

fn fetches(probe: &mut Probe, epoch: i32) {
    let fetch = |group: &str, member: Option<&str>, epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: Str::from(group),
            member_id: member.map(Str::from),
            member_epoch: epoch,
            topics: None,
        }],
        ..OffsetFetchRequest::default()
    };
    let requests = [
        ("fetch: well", fetch("c", Some(MEMBER), epoch)),
        ("fetch: of nobody", fetch("c", None, -1)),
        ("fetch: later epoch", fetch("c", Some(MEMBER), epoch + 1)),
        ("fetch: unknown member", fetch("c", Some(OTHER), epoch)),
        ("fetch: unknown member of no epoch", fetch("c", Some(OTHER), -1)),
        ("fetch: unknown group", fetch("none", None, -1)),
        ("fetch: epoch in unknown group", fetch("none", Some(MEMBER), 3)),
        ("fetch: epoch in a classic group", fetch("g", Some(MEMBER), 3)),
        ("fetch: no group", fetch("", None, -1)),
    ];
    for (what, request) in requests {
        let code = probe.client.ask(&request, 9).groups[0].error_code;
        probe.note(what, code);
    }
}

fn static_members(probe: &mut Probe) {
    let instance = Some(Str::from("i"));
    let mut first = join();
    first.group_id = Str::from("cs");
    first.instance_id = instance.clone();
    let answer = probe.client.ask(&first, 1);
    probe.note("consumer: static join", answer.error_code);
    let mut second = first.clone();
    second.member_id = Str::from(OTHER);
    let code = probe.client.ask(&second, 1).error_code;
    probe.note("consumer: instance in use", code);
    let mut stranger = beat(answer.member_epoch);
    stranger.group_id = Str::from("cs");
    stranger.instance_id = Some(Str::from("nobody"));
    let code = probe.client.ask(&stranger, 1).error_code;
    probe.note("consumer: unknown instance", code);
    let mut fenced = stranger;
    fenced.member_id = Str::from(OTHER);
    fenced.instance_id = instance.clone();
    let code = probe.client.ask(&fenced, 1).error_code;
    probe.note("consumer: instance of another member", code);
    let mut leave = beat(-2);
    leave.group_id = Str::from("cs");
    leave.instance_id = instance;
    let code = probe.client.ask(&leave, 1).error_code;
    probe.note("consumer: static leave", code);
    let code = probe.client.ask(&second, 1).error_code;
    probe.note("consumer: instance given up", code);
    let mut old = beat(answer.member_epoch);
    old.group_id = Str::from("cs");
    old.instance_id = Some(Str::from("i"));
    let code = probe.client.ask(&old, 1).error_code;
    probe.note("consumer: replaced member", code);
    offsets::commits_of_replaced_members(probe, MEMBER, answer.member_epoch);
}
