//! One batch on its way into its partition: what is checked before, and how the answer tells it.

use std::sync::Arc;

use bytes::Bytes;
use klamm_codec::RecordsField;
use klamm_log::{Appended, Origin};
use klamm_model::{Acks, ErrorCode, Timestamp, Verification};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use klamm_records::{BatchHeader, Codec, RecordError, TimestampType, validate};
use klamm_replication::{FirstWrites, Partition};
use klamm_stdx::Str;
use klamm_transaction_coordinator::ProducerIdAndEpoch;

use crate::Context;
use crate::caller::Caller;
use crate::errors::append_code;

/// From here on zstd is understood by the client.
const ZSTD_FROM: i16 = 7;

/// From here on a transaction's first write brings the partition in.
pub(crate) const TRANSACTIONS_V2_FROM: i16 = 12;

/// What is asked of the partitions of a topic.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) topic: &'a TopicProduceData,
    pub(crate) version: i16,
    pub(crate) acks: Acks,
    pub(crate) transactional_id: Option<&'a Str>,
}

/// What became of a batch.
pub(crate) enum Appending {
    Done(Line),
    /// It begins a transaction here, which its coordinator has to confirm.
    Unproven(ProducerIdAndEpoch, Verification),
}

/// A line of the response, and how many records it is about.
pub(crate) struct Line {
    pub(crate) response: PartitionProduceResponse,
    pub(crate) error_code: i16,
    pub(crate) base_offset: i64,
    pub(crate) count: i64,
}

impl Line {
    pub(crate) fn refused(response: PartitionProduceResponse) -> Self {
        Self { error_code: response.error_code, response, base_offset: -1, count: 0 }
    }
}

/// Appends the batch of a partition; `proof` is what its transaction's coordinator was asked for.
pub(crate) fn append(
    ctx: &Context,
    caller: &Caller,
    partition: &Arc<Partition>,
    (data, asked): (&PartitionProduceData, Asked<'_>),
    proof: Option<Verification>,
) -> Appending {
    let refuse = |code| Appending::Done(Line::refused(refused(data.index, code, None)));
    let none = Bytes::new();
    let records = match &data.records {
        RecordsField::Bytes(records) => records,
        RecordsField::Null | RecordsField::Deferred(_) => &none,
    };
    if is_early_zstd(records, asked.version) {
        return refuse(ErrorCode::UnsupportedCompressionType);
    }
    if klamm_model::is_internal_topic(&partition.name().topic)
        && caller.client_id != ADMIN_CLIENT_ID
    {
        return refuse(ErrorCode::InvalidTopicException);
    }
    let wall = ctx.env.clock.wall();
    let rules = partition.rules();
    let batch = match validate(records, &rules, wall, &mut ctx.scratch.borrow_mut()) {
        Ok(batch) => batch,
        Err(error) => return Appending::Done(Line::refused(invalid(data.index, &error))),
    };
    let header = batch.header();
    let origin = match (header.producer, proof) {
        _ if !header.attributes.is_transactional() => Origin::Client,
        (Some(_), _) if asked.transactional_id.is_none() => {
            return refuse(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        (_, Some(proof)) => Origin::Transaction(Some(proof)),
        (None, None) => return refuse(ErrorCode::InvalidRecord),
        (Some(producer), None) => match partition.begin_verification(producer, wall) {
            Ok(None) => Origin::Transaction(None),
            Ok(Some(verification)) if is_verified(ctx, asked.version) => {
                let producer = ProducerIdAndEpoch { id: producer.id, epoch: producer.epoch };
                return Appending::Unproven(producer, verification);
            }
            Ok(unasked) => Origin::Transaction(unasked),
            Err(error) => {
                let line = refused(data.index, append_code(&error), Some(error.to_string()));
                return Appending::Done(Line::refused(line));
            }
        },
    };
    Appending::Done(match partition.append(batch, origin, wall) {
        Ok(appended) => appended_line(data.index, partition, appended, rules.timestamp_type),
        Err(error) => {
            Line::refused(refused(data.index, append_code(&error), Some(error.to_string())))
        }
    })
}

/// Whether the coordinator is asked about a transaction's first write.
fn is_verified(ctx: &Context, version: i16) -> bool {
    version >= TRANSACTIONS_V2_FROM || ctx.partitions.first_writes() == FirstWrites::Verified
}

/// The refusal of records that break a rule.
fn invalid(index: i32, error: &RecordError) -> PartitionProduceResponse {
    let mut line = refused(index, error.error_code(), Some(error.to_string()));
    line.record_errors = error
        .rejected_records()
        .iter()
        .map(|record| BatchIndexAndErrorMessage {
            batch_index: record.batch_index,
            batch_index_error_message: Some(Str::from(record.reason.to_string())),
        })
        .collect();
    line
}

/// The name that Kafka's own tools give themselves when they write internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

fn is_early_zstd(records: &[u8], version: i16) -> bool {
    version < ZSTD_FROM
        && BatchHeader::parse(records)
            .is_ok_and(|header| header.attributes.codec() == Ok(Codec::Zstd))
}

fn appended_line(
    index: i32,
    partition: &Partition,
    appended: Appended,
    timestamps: TimestampType,
) -> Line {
    let log_append_time = match timestamps {
        TimestampType::CreateTime => Timestamp(-1),
        TimestampType::LogAppendTime => appended.max_timestamp,
    };
    let response = PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: log_append_time.0,
        log_start_offset: partition.view().log_start_offset().0,
        ..PartitionProduceResponse::default()
    };
    let count = appended.last_offset.0 - appended.base_offset.0 + 1;
    Line { error_code: 0, base_offset: appended.base_offset.0, count, response }
}

pub(crate) fn refused(
    index: i32,
    code: ErrorCode,
    message: Option<String>,
) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: message.map(Str::from),
        ..PartitionProduceResponse::default()
    }
}
