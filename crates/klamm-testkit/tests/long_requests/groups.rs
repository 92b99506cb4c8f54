//! Requests about groups.

use bytes::Bytes;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::leave_group_request::MemberIdentity;
use klamm_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use klamm_protocol::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::sync_group_request::SyncGroupRequestAssignment;
use klamm_protocol::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use klamm_stdx::Str;
use klamm_testkit::Client;

use super::{KNOWN, NAMES, names, start, timed, unknown_then_known};

const GROUP: Str = Str::from_static("group");

fn commit(names: impl Iterator<Item = Str>) -> OffsetCommitRequest {
    let partitions = vec![OffsetCommitRequestPartition::default()];
    let topic = |name| OffsetCommitRequestTopic {
        name,
        partitions: partitions.clone(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: GROUP,
        topics: names.map(topic).collect(),
        ..OffsetCommitRequest::default()
    }
}

fn commit_one(client: &mut Client) {
    let answer = client.ask(&commit(std::iter::once(Str::from(KNOWN))), 8);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[test]
fn about_offsets() {
    let broker = start("long-offsets");
    let mut client = broker.client();
    commit_one(&mut client);
    let answer = timed(&mut client, &commit(unknown_then_known()), 8);
    let lines: Vec<i16> =
        answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(lines.len(), 2 * NAMES);
    assert_eq!(lines.iter().filter(|code| **code == unknown).count(), NAMES);

    let topic = |name| OffsetFetchRequestTopics {
        name,
        partition_indexes: vec![0],
        ..OffsetFetchRequestTopics::default()
    };
    let group = |group_id| OffsetFetchRequestGroup {
        group_id,
        member_epoch: -1,
        ..OffsetFetchRequestGroup::default()
    };
    let mut groups: Vec<OffsetFetchRequestGroup> = names().map(group).collect();
    groups.push(OffsetFetchRequestGroup {
        topics: Some(unknown_then_known().map(topic).collect()),
        ..group(GROUP)
    });
    timed(&mut client, &OffsetFetchRequest { groups, ..OffsetFetchRequest::default() }, 8);

    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topic = |name| OffsetDeleteRequestTopic { name, partitions: partitions.clone() };
    let topics = unknown_then_known().map(topic).collect();
    let answer = timed(&mut client, &OffsetDeleteRequest { group_id: GROUP, topics }, 0);
    assert_eq!(answer.error_code, 0);
}

#[test]
fn about_many_groups() {
    let broker = start("long-groups");
    let mut client = broker.client();
    commit_one(&mut client);
    let coordinator_keys = names().collect();
    let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
    timed(&mut client, &request, 4);
    let request = DescribeGroupsRequest { groups: names().collect(), ..Default::default() };
    timed(&mut client, &request, 5);
    let request =
        ConsumerGroupDescribeRequest { group_ids: names().collect(), ..Default::default() };
    timed(&mut client, &request, 1);
    let request =
        ListGroupsRequest { states_filter: names().collect(), types_filter: names().collect() };
    timed(&mut client, &request, 5);
    let groups_names = names().chain([GROUP]).collect();
    timed(&mut client, &DeleteGroupsRequest { groups_names }, 2);
}

#[test]
fn from_a_classic_member() {
    let broker = start("long-classic");
    let mut client = broker.client();
    commit_one(&mut client);
    let protocol = |name| JoinGroupRequestProtocol { name, metadata: Bytes::from_static(&[0; 10]) };
    let mut join = JoinGroupRequest {
        group_id: GROUP,
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: Str::from("consumer"),
        protocols: names().map(protocol).collect(),
        ..JoinGroupRequest::default()
    };
    join.member_id = timed(&mut client, &join, 9).member_id;
    let joined = timed(&mut client, &join, 9);
    assert_eq!(joined.error_code, 0);

    let assignment = |member_id| SyncGroupRequestAssignment { member_id, assignment: Bytes::new() };
    let sync = SyncGroupRequest {
        group_id: GROUP,
        generation_id: joined.generation_id,
        member_id: join.member_id.clone(),
        assignments: names().map(assignment).collect(),
        ..SyncGroupRequest::default()
    };
    assert_eq!(timed(&mut client, &sync, 4).error_code, 0);

    let member = |member_id| MemberIdentity { member_id, ..MemberIdentity::default() };
    let strangers = names().map(member);
    let members = strangers.chain(std::iter::repeat_n(member(join.member_id), NAMES)).collect();
    let leave = LeaveGroupRequest { group_id: GROUP, members, ..LeaveGroupRequest::default() };
    assert_eq!(timed(&mut client, &leave, 5).members.len(), 2 * NAMES);
}

#[test]
fn from_a_member_of_the_consumer_protocol() {
    let broker = start("long-consumer");
    let mut client = broker.client();
    commit_one(&mut client);
    let owned = |n: usize| TopicPartitions { topic_id: Uuid(n as u128 + 2), partitions: vec![0] };
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: Str::from("consumers"),
        member_id: Str::from("QkJCQkJCQkJCQkJCQkJCQg"),
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(names().collect()),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let joined = timed(&mut client, &beat, 1);
    println!("joined: {}", joined.error_code);
    let beat = ConsumerGroupHeartbeatRequest {
        member_epoch: joined.member_epoch,
        subscribed_topic_names: Some(unknown_then_known().collect()),
        topic_partitions: Some((0..NAMES).map(owned).collect()),
        ..beat
    };
    timed(&mut client, &beat, 1);
}
