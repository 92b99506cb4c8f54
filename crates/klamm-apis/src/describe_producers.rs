//! DescribeProducers (key 61): who writes to partitions, and in which transactions. Served: v0.
//!
//! Source: KIP-664.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_log::ProducerEntry;
use klamm_model::{ErrorCode, ProducerId, check_topic_name};
use klamm_protocol::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use klamm_protocol::{DescribeProducersRequest, DescribeProducersResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::append_code;

pub(crate) struct DescribeProducers;

impl Api for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeProducersRequest,
        _: i16,
    ) -> Reply<DescribeProducersResponse> {
        let mut response = DescribeProducersResponse::default();
        for topic in request.topics {
            let describe = |index: &i32| describe(&ctx, &topic.name, *index);
            let partitions = topic.partition_indexes.iter().map(describe).collect();
            response.topics.push(TopicResponse { name: topic.name.clone(), partitions });
        }
        response.into()
    }
}

fn describe(ctx: &Context, topic: &Str, partition_index: i32) -> PartitionResponse {
    let refused = |code: ErrorCode, message: String| PartitionResponse {
        partition_index,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..PartitionResponse::default()
    };
    let Some(partition) = ctx.partitions.by_name(topic, partition_index) else {
        let message = format!("there is no partition {partition_index} of topic {topic} here");
        let code = match check_topic_name(topic) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        return refused(code, message);
    };
    match partition.producers() {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.iter().map(line).collect(),
            ..PartitionResponse::default()
        },
        Err(error) => refused(append_code(&error), error.to_string()),
    }
}

fn line((id, entry): &(ProducerId, ProducerEntry)) -> ProducerState {
    ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(entry.epoch.0),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp.0,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.transaction_first_offset.map_or(-1, |offset| offset.0),
    }
}
