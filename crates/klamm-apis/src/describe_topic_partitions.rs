//! DescribeTopicPartitions (key 75): topics page by page, with ELR. Served: v0.
//!
//! Source: KIP-966.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_metadata::TopicImage;
use klamm_model::{ErrorCode, NodeId, check_topic_name, is_internal_topic};
use klamm_protocol::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use klamm_protocol::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::describe_cluster::NO_OPERATIONS;
use crate::metadata::{ids, topic_operations};

pub(crate) struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeTopicPartitionsRequest,
        _: i16,
    ) -> Reply<DescribeTopicPartitionsResponse> {
        let image = ctx.metadata.image();
        let is_for_all = request.topics.is_empty();
        let mut names: Vec<Str> = if is_for_all {
            image.topics.names().cloned().collect()
        } else {
            request.topics.into_iter().map(|topic| topic.name).collect()
        };
        names.sort();
        names.dedup();
        let cursor = request.cursor;
        if let Some(cursor) = &cursor {
            names.retain(|name| *name >= cursor.topic_name);
        }
        let limit = ctx.config.network.max_request_partition_size_limit;
        let mut left =
            usize::try_from(request.response_partition_limit.min(limit)).unwrap_or(0).max(1);
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names {
            let from =
                cursor.as_ref().filter(|c| c.topic_name == name).map_or(0, |c| c.partition_index);
            if left == 0 {
                response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
                break;
            }
            match image.topics.by_name(&name) {
                Some(topic) => {
                    let (line, next) = describe(&ctx, topic, from, left);
                    left -= line.partitions.len();
                    response.topics.push(line);
                    if let Some(partition_index) = next {
                        response.next_cursor = Some(Cursor { topic_name: name, partition_index });
                        break;
                    }
                }
                // A topic that went while pages were turned is left out, unless it was named.
                None if is_for_all => {}
                None => response.topics.push(missing(name)),
            }
        }
        response.into()
    }
}

fn describe(
    ctx: &Context,
    topic: &TopicImage,
    from: i32,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let image = ctx.metadata.image();
    let mut rest = topic.partitions.range(from..);
    let partitions = rest.by_ref().take(limit).map(|(index, partition)| {
        let is_offline = |id: &&NodeId| !image.cluster.is_replica_online(partition, **id);
        let offline = partition.replicas.iter().filter(is_offline);
        let code = if partition.leader.is_some() {
            ErrorCode::None
        } else {
            ErrorCode::LeaderNotAvailable
        };
        DescribeTopicPartitionsResponsePartition {
            error_code: code.code(),
            partition_index: *index,
            leader_id: partition.leader.map_or(-1, |id| id.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            eligible_leader_replicas: Some(ids(&partition.eligible_leader_replicas)),
            last_known_elr: Some(ids(&partition.last_known_elr)),
            offline_replicas: offline.map(|id| id.0).collect(),
        }
    });
    let line = DescribeTopicPartitionsResponseTopic {
        error_code: 0,
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: topic_operations(true),
    };
    (line, rest.next().map(|(index, _)| *index))
}

fn missing(name: Str) -> DescribeTopicPartitionsResponseTopic {
    let code = match check_topic_name(&name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(name),
        topic_authorized_operations: NO_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
