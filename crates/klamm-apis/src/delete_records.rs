//! DeleteRecords (key 21): moves the start of partitions up. Served: v0-v2.
//!
//! v2 flexible. Source: KIP-107.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::{ErrorCode, Offset};
use klamm_protocol::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use klamm_protocol::{DeleteRecordsRequest, DeleteRecordsResponse, Listener};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::read_code;

/// Asks for everything below the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(crate) struct DeleteRecords;

impl Api for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DeleteRecordsRequest,
        _: i16,
    ) -> Reply<DeleteRecordsResponse> {
        let mut response = DeleteRecordsResponse::default();
        for topic in request.topics {
            let line = |asked: &klamm_protocol::delete_records_request::DeleteRecordsPartition| {
                let result = delete(&ctx, &topic.name, asked.partition_index, asked.offset);
                DeleteRecordsPartitionResult {
                    partition_index: asked.partition_index,
                    low_watermark: result.map_or(-1, |start| start.0),
                    error_code: result.err().unwrap_or(ErrorCode::None).code(),
                }
            };
            let partitions = topic.partitions.iter().map(line).collect();
            response.topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
        }
        response.into()
    }
}

fn delete(ctx: &Context, topic: &str, partition: i32, offset: i64) -> Result<Offset, ErrorCode> {
    if klamm_model::is_internal_topic(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let found =
        ctx.partitions.by_name(topic, partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if found.allows_deletion() {
        let offset = (offset != HIGH_WATERMARK).then_some(Offset(offset));
        return found.delete_records(offset).map_err(|error| read_code(&error));
    }
    Err(ErrorCode::PolicyViolation)
}
