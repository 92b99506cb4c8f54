//! Requests about topics.

use klamm_model::ErrorCode;
use klamm_protocol::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use klamm_protocol::create_partitions_request::CreatePartitionsTopic;
use klamm_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm_protocol::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm_protocol::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::describe_log_dirs_request::DescribableLogDirTopic;
use klamm_protocol::describe_topic_partitions_request::TopicRequest;
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::metadata_request::MetadataRequestTopic;
use klamm_protocol::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::{
    AlterReplicaLogDirsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use klamm_stdx::Str;

use super::{KNOWN, NAMES, names, start, timed, unknown_then_known};

const TOPIC_RESOURCE: i8 = 2;

#[test]
fn to_read_and_write() {
    let broker = start("long-read");
    let mut client = broker.client();
    let partition = PartitionProduceData::default();
    let topic = |name| TopicProduceData {
        name,
        partition_data: vec![partition.clone()],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topic_data: unknown_then_known().map(topic).collect(),
        ..ProduceRequest::default()
    };
    timed(&mut client, &request, 9);

    let partition = FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() };
    let topic =
        |topic| FetchTopic { topic, partitions: vec![partition.clone()], ..FetchTopic::default() };
    let request = FetchRequest {
        max_bytes: 1,
        session_epoch: -1,
        topics: unknown_then_known().map(topic).collect(),
        ..FetchRequest::default()
    };
    timed(&mut client, &request, 12);
    // As a session, which has to remember each.
    timed(&mut client, &FetchRequest { session_epoch: 0, ..request }, 12);

    let partition = ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() };
    let topic = |name| ListOffsetsTopic { name, partitions: vec![partition.clone()] };
    let topics = unknown_then_known().map(topic).collect();
    timed(&mut client, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }, 5);

    let partitions = vec![OffsetForLeaderPartition::default()];
    let topic = |topic| OffsetForLeaderTopic { topic, partitions: partitions.clone() };
    let topics = unknown_then_known().map(topic).collect();
    timed(&mut client, &OffsetForLeaderEpochRequest { replica_id: -1, topics }, 3);
}

#[test]
fn to_look() {
    let broker = start("long-look");
    let mut client = broker.client();
    let topic = |name| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() };
    let topics = Some(unknown_then_known().map(topic).collect());
    timed(&mut client, &MetadataRequest { topics, ..MetadataRequest::default() }, 9);

    let request = DescribeTopicPartitionsRequest {
        topics: unknown_then_known().map(|name| TopicRequest { name }).collect(),
        response_partition_limit: 2_000,
        cursor: None,
    };
    timed(&mut client, &request, 0);

    let resource = |resource_name| DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name,
        configuration_keys: None,
    };
    let mut resources: Vec<DescribeConfigsResource> = names().map(resource).collect();
    resources.push(DescribeConfigsResource {
        configuration_keys: Some(names().collect()),
        ..resource(Str::from(KNOWN))
    });
    timed(&mut client, &DescribeConfigsRequest { resources, ..Default::default() }, 4);

    let topic = |topic| DescribableLogDirTopic { topic, partitions: vec![0] };
    let topics = Some(unknown_then_known().map(topic).collect());
    timed(&mut client, &DescribeLogDirsRequest { topics }, 4);
}

#[test]
fn to_change() {
    let broker = start("long-change");
    let mut client = broker.client();
    let topic = |name| CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let config = |name| CreatableTopicConfig { name, value: None };
    let mut topics: Vec<CreatableTopic> = unknown_then_known().map(topic).collect();
    topics.push(CreatableTopic {
        configs: names().map(config).collect(),
        ..topic(Str::from("configured"))
    });
    let request =
        CreateTopicsRequest { topics, validate_only: true, ..CreateTopicsRequest::default() };
    timed(&mut client, &request, 5);

    let topic = |name| CreatePartitionsTopic { name, count: 2, ..CreatePartitionsTopic::default() };
    let request = CreatePartitionsRequest {
        topics: unknown_then_known().map(topic).collect(),
        validate_only: true,
        ..CreatePartitionsRequest::default()
    };
    timed(&mut client, &request, 3);

    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 0 }];
    let topic = |name| DeleteRecordsTopic { name, partitions: partitions.clone() };
    let topics = unknown_then_known().map(topic).collect();
    timed(&mut client, &DeleteRecordsRequest { topics, timeout_ms: 1_000 }, 2);

    let topic = |name| AlterReplicaLogDirTopic { name, partitions: vec![0] };
    let mut dirs: Vec<AlterReplicaLogDir> =
        names().map(|path| AlterReplicaLogDir { path, topics: Vec::new() }).collect();
    let topics = unknown_then_known().map(topic).collect();
    dirs.push(AlterReplicaLogDir { path: Str::from("/nowhere"), topics });
    timed(&mut client, &AlterReplicaLogDirsRequest { dirs }, 2);

    let config = |name| AlterableConfig { name, config_operation: 0, value: Some(Str::from("1")) };
    let resource = |resource_name| AlterConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name,
        configs: vec![config(Str::from("retention.ms"))],
    };
    let mut resources: Vec<AlterConfigsResource> = names().map(resource).collect();
    resources.push(AlterConfigsResource {
        configs: names().map(config).collect(),
        ..resource(Str::from(KNOWN))
    });
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let answer = timed(&mut client, &request, 1);
    assert_eq!(answer.responses.len(), NAMES + 1);
    assert!(answer.responses.iter().all(|line| line.error_code != ErrorCode::None.code()));

    let topic_names = names().collect();
    timed(&mut client, &DeleteTopicsRequest { topic_names, ..Default::default() }, 5);
}
