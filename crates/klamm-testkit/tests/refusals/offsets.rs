//! Commits by whom they are not due to, and offsets where no log is.

use klamm_model::Uuid;
use klamm_protocol::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use klamm_protocol::{
    DeleteRecordsRequest, FetchRequest, OffsetCommitRequest, OffsetDeleteRequest,
};
use klamm_records::BatchOptions;
use klamm_stdx::Str;
use klamm_testkit::batch_of;

use super::Probe;
use super::classic::Joined;

fn commit(group: &str, member: &str, epoch: i32) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: epoch,
        member_id: Str::from(member),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("t"),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 0,
                committed_leader_epoch: -1,
                committed_metadata: None,
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

fn note(probe: &mut Probe, what: &str, request: &OffsetCommitRequest, version: i16) {
    let answer = probe.client.ask(request, version);
    probe.note(what, answer.topics[0].partitions[0].error_code);
}

/// Commits into the classic group "g".
pub(crate) fn commits_of_members(probe: &mut Probe, joined: &Joined) {
    let (member, generation) = (&*joined.member_id, joined.generation);
    for (what, request) in [
        ("commit: well", commit("g", member, generation)),
        ("commit: old generation", commit("g", member, generation - 1)),
        ("commit: later generation", commit("g", member, generation + 1)),
        ("commit: unknown member", commit("g", "nobody", generation)),
        ("commit: into a group in use", commit("g", "", -1)),
        ("commit: member without generation", commit("g", member, -1)),
        ("commit: generation without member", commit("g", "", generation)),
        ("commit: no group", commit("", "", -1)),
    ] {
        note(probe, what, &request, 9);
    }
    // What is refused into no group depends on what its members would understand.
    for version in [2, 8, 9] {
        let of_none = commit("none", "nobody", 3);
        note(probe, &format!("commit: unknown group v{version}"), &of_none, version);
    }
    let wrong = |change: &dyn Fn(&mut OffsetCommitRequestPartition)| {
        let mut request = commit("simple", "", -1);
        change(&mut request.topics[0].partitions[0]);
        request
    };
    let metadata = |length| move || Some(Str::from("m".repeat(length).as_str()));
    for (what, request) in [
        ("commit: metadata that just fits", wrong(&|p| p.committed_metadata = metadata(4096)())),
        ("commit: metadata too long", wrong(&|p| p.committed_metadata = metadata(4097)())),
        ("commit: unknown partition", wrong(&|p| p.partition_index = 9)),
        ("commit: negative partition", wrong(&|p| p.partition_index = -1)),
        ("commit: behind the log", wrong(&|p| p.committed_offset = 1 << 40)),
        ("commit: negative offset", wrong(&|p| p.committed_offset = -5)),
        ("commit: no offset", wrong(&|p| p.committed_offset = -1)),
    ] {
        note(probe, what, &request, 9);
    }
    let mut of_unknown_topic = commit("simple", "", -1);
    of_unknown_topic.topics[0].name = Str::from("unknown");
    note(probe, "commit: unknown topic", &of_unknown_topic, 9);
    of_unknown_topic.topics[0].topic_id = Uuid::from_bytes([7; 16]);
    note(probe, "commit: unknown topic id", &of_unknown_topic, 10);
}

/// Commits into the group "s", where the second member has taken the first one's place.
pub(crate) fn commits_of_static_members(probe: &mut Probe, first: &Joined, second: &Joined) {
    let by = |joined: &Joined, instance: Option<&str>| {
        let mut request = commit("s", &joined.member_id, joined.generation);
        request.group_instance_id = instance.map(Str::from);
        request
    };
    for (what, request) in [
        ("commit: static member", by(second, Some("i"))),
        ("commit: fenced static member", by(first, Some("i"))),
        ("commit: fenced member without instance", by(first, None)),
        ("commit: unknown instance", by(second, Some("nobody"))),
    ] {
        note(probe, what, &request, 9);
    }
}

/// Commits into the group "c" of the consumer protocol.
pub(crate) fn commits_of_consumer_members(probe: &mut Probe, member: &str, epoch: i32) {
    for (what, request) in [
        ("commit: member of the consumer protocol", commit("c", member, epoch)),
        ("commit: later epoch", commit("c", member, epoch + 1)),
        ("commit: epoch of nobody", commit("c", "nobody", epoch)),
        ("commit: into a consumer group in use", commit("c", "", -1)),
        ("commit: member without epoch", commit("c", member, -1)),
        ("commit: epoch of the join", commit("c", member, 0)),
    ] {
        note(probe, what, &request, 9);
    }
    note(probe, "commit: consumer member v8", &commit("c", member, epoch), 8);
}

/// Commits into the group "cs", where another member has the instance "i" now.
pub(crate) fn commits_of_replaced_members(probe: &mut Probe, member: &str, epoch: i32) {
    let mut request = commit("cs", member, epoch);
    note(probe, "commit: replaced member", &request, 9);
    request.group_instance_id = Some(Str::from("i"));
    note(probe, "commit: replaced instance", &request, 9);
}

pub(crate) fn probe(probe: &mut Probe) {
    for _ in 0..2 {
        probe.client.produce("t", 0, &batch_of(BatchOptions::default(), &[b"v"]));
    }
    deletions_of_records(probe);
    fetches(probe);
    deletions_of_offsets(probe);
}

fn deletions_of_records(probe: &mut Probe) {
    for (topic, partition, offset) in
        [("t", 0, 9), ("t", 0, -2), ("t", 9, 0), ("unknown", 0, 0), ("t", 0, 1), ("t", 0, 0)]
    {
        let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset }];
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic { name: Str::from(topic), partitions }],
            timeout_ms: 10_000,
        };
        let code = probe.client.ask(&request, 2).topics[0].partitions[0].error_code;
        probe.note(&format!("delete records of {topic}-{partition} before {offset}"), code);
    }
}

/// The log has offsets 1 and 2.
fn fetches(probe: &mut Probe) {
    for (partition, offset, leader_epoch) in
        [(0, 0, -1), (0, 1, -1), (0, 4, -1), (0, -1, -1), (9, 0, -1), (0, 1, 9)]
    {
        let wanted = FetchPartition {
            partition,
            fetch_offset: offset,
            current_leader_epoch: leader_epoch,
            partition_max_bytes: 1000,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic: Str::from("t"), partitions: vec![wanted], ..Default::default() };
        let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
        let code = probe.client.ask(&request, 12).responses[0].partitions[0].error_code;
        probe.note(&format!("fetch of t-{partition} from {offset}, {leader_epoch}"), code);
    }
}

fn deletions_of_offsets(probe: &mut Probe) {
    for (group, topic, partition) in [
        ("simple", "t", 0),
        ("simple", "t", 9),
        ("simple", "unknown", 0),
        ("none", "t", 0),
        ("", "t", 0),
        ("c", "t", 0),
    ] {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: partition }];
        let request = OffsetDeleteRequest {
            group_id: Str::from(group),
            topics: vec![OffsetDeleteRequestTopic { name: Str::from(topic), partitions }],
        };
        let answer = probe.client.ask(&request, 0);
        let what = format!("delete offset of {group:?} for {topic}-{partition}");
        probe.note(&what, answer.error_code);
        if let Some(topic) = answer.topics.first() {
            probe.note(&format!("{what}, the partition"), topic.partitions[0].error_code);
        }
    }
}
