//! Produce (key 0): appends batches to partitions. Served: v3-v13.
//!
//! v7 zstd (KIP-110) · v8 the records that were refused (KIP-467) · v9 flexible · v10 the leader
//! to turn to (KIP-951) · v12 transactions v2 (KIP-890) · v13 topics by id (KIP-516).

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_codec::RecordsField;
use klamm_env::task;
use klamm_log::{Appended, Origin};
use klamm_model::{Acks, ErrorCode, NodeId, Offset, Timestamp};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use klamm_protocol::{Listener, ProduceRequest, ProduceResponse};
use klamm_records::{BatchHeader, Codec, TimestampType, validate};
use klamm_replication::Partition;
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::append_code;

/// From here on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
/// From here on zstd is understood by the client.
const ZSTD_FROM: i16 = 7;

pub(crate) struct Produce;

/// An append whose commit the producer waits for.
struct Waiting {
    topic: usize,
    place: usize,
    partition: Arc<Partition>,
    last_offset: Offset,
}

impl Api for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];
    const PIPELINED: bool = true;

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: ProduceRequest,
        version: i16,
    ) -> Reply<ProduceResponse> {
        let Some(acks) = Acks::from_wire(request.acks) else {
            return refuse_all(&request, ErrorCode::InvalidRequiredAcks).into();
        };
        if request.transactional_id.is_some() {
            // Transactions are not served yet; taking the records would promise them.
            return refuse_all(&request, ErrorCode::UnsupportedVersion).into();
        }
        let mut waiting = Vec::new();
        let mut response = ProduceResponse::default();
        for (i, topic) in request.topic_data.iter().enumerate() {
            let appended = append_topic(&ctx, &caller, (topic, version, i), acks, &mut waiting);
            response.responses.push(appended);
        }
        if !waiting.is_empty() {
            let limit = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            wait_for_commits(waiting, limit, &mut response).await;
        }
        name_leaders(&ctx, &caller, &mut response, version);
        if acks != Acks::None {
            return response.into();
        }
        // Without an answer, closing the connection is the only way to say that something failed.
        match first_error(&response) {
            Some(error) => Reply::Close(format!("produce with acks=0 failed: {error}")),
            None => Reply::Silent,
        }
    }
}

fn append_topic(
    ctx: &Context,
    caller: &Caller,
    (topic, version, i): (&TopicProduceData, i16, usize),
    acks: Acks,
    waiting: &mut Vec<Waiting>,
) -> TopicProduceResponse {
    let by_id = version >= TOPIC_IDS_FROM;
    let mut answered = TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: Vec::with_capacity(topic.partition_data.len()),
    };
    for (place, data) in topic.partition_data.iter().enumerate() {
        let partition = if by_id {
            ctx.partitions.by_id(topic.topic_id, data.index)
        } else {
            ctx.partitions.by_name(&topic.name, data.index)
        };
        let Some(partition) = partition else {
            let code =
                if by_id { missing_id(ctx, topic) } else { ErrorCode::UnknownTopicOrPartition };
            answered.partition_responses.push(refused(data.index, code, None));
            continue;
        };
        let line = append(ctx, caller, &partition, data, version);
        count(ctx, &line, data);
        let waits = match acks {
            Acks::All => true,
            Acks::Leader => partition.syncs_every_append(),
            Acks::None => false,
        };
        if waits && line.error_code == 0 {
            let last_offset = Offset(line.base_offset + line.count - 1);
            if partition.high_watermark() <= last_offset {
                waiting.push(Waiting { topic: i, place, partition, last_offset });
            }
        }
        answered.partition_responses.push(line.response);
    }
    answered
}

fn count(ctx: &Context, line: &Line, data: &PartitionProduceData) {
    let traffic = &ctx.traffic;
    traffic.produce_requests.increment();
    if line.error_code == 0 {
        traffic.messages_in.add(line.count.unsigned_abs());
        traffic.bytes_in.add(data.records.len() as u64);
    } else {
        traffic.failed_produce_requests.increment();
    }
}

fn missing_id(ctx: &Context, topic: &TopicProduceData) -> ErrorCode {
    match ctx.metadata.image().topics.by_id(topic.topic_id) {
        Some(_) => ErrorCode::UnknownTopicOrPartition,
        None => ErrorCode::UnknownTopicId,
    }
}

/// A line of the response, and how many records it is about.
struct Line {
    response: PartitionProduceResponse,
    error_code: i16,
    base_offset: i64,
    count: i64,
}

impl Line {
    fn refused(response: PartitionProduceResponse) -> Self {
        Self { error_code: response.error_code, response, base_offset: -1, count: 0 }
    }
}

fn append(
    ctx: &Context,
    caller: &Caller,
    partition: &Arc<Partition>,
    data: &PartitionProduceData,
    version: i16,
) -> Line {
    let none = Bytes::new();
    let records = match &data.records {
        RecordsField::Bytes(records) => records,
        RecordsField::Null | RecordsField::Deferred(_) => &none,
    };
    if is_early_zstd(records, version) {
        return Line::refused(refused(data.index, ErrorCode::UnsupportedCompressionType, None));
    }
    if klamm_model::is_internal_topic(&partition.name().topic)
        && caller.client_id != ADMIN_CLIENT_ID
    {
        return Line::refused(refused(data.index, ErrorCode::InvalidTopicException, None));
    }
    let wall = ctx.env.clock.wall();
    let rules = partition.rules();
    let batch = match validate(records, &rules, wall, &mut ctx.scratch.borrow_mut()) {
        Ok(batch) => batch,
        Err(error) => {
            let mut line = refused(data.index, error.error_code(), Some(error.to_string()));
            line.record_errors = error
                .rejected_records()
                .iter()
                .map(|record| BatchIndexAndErrorMessage {
                    batch_index: record.batch_index,
                    batch_index_error_message: Some(Str::from(record.reason.to_string())),
                })
                .collect();
            return Line::refused(line);
        }
    };
    if batch.header().attributes.is_transactional() {
        return Line::refused(refused(data.index, ErrorCode::InvalidTxnState, None));
    }
    match partition.append(batch, Origin::Client, wall) {
        Ok(appended) => appended_line(data.index, partition, appended, rules.timestamp_type),
        Err(error) => {
            Line::refused(refused(data.index, append_code(&error), Some(error.to_string())))
        }
    }
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

fn refused(index: i32, code: ErrorCode, message: Option<String>) -> PartitionProduceResponse {
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

fn refuse_all(request: &ProduceRequest, code: ErrorCode) -> ProduceResponse {
    let topic = |topic: &TopicProduceData| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|p| refused(p.index, code, None))
            .collect(),
    };
    ProduceResponse {
        responses: request.topic_data.iter().map(topic).collect(),
        ..ProduceResponse::default()
    }
}

/// The answer leaves when every append is committed, or says which was not in time.
async fn wait_for_commits(waiting: Vec<Waiting>, limit: Duration, response: &mut ProduceResponse) {
    let commits: Vec<_> =
        waiting.iter().map(|w| w.partition.committed_past(w.last_offset)).collect();
    let mut outcomes: Vec<Option<bool>> = vec![None; commits.len()];
    let all = async {
        for (outcome, commit) in outcomes.iter_mut().zip(commits) {
            *outcome = Some(commit.await);
        }
    };
    // Out of time: what is not decided by then is unknown, and the answer says so.
    let in_time = task::timeout(limit, all).await.is_some();
    tracing::trace!(in_time, "commits waited for");
    for (waited, outcome) in waiting.iter().zip(outcomes) {
        let code = match outcome {
            Some(true) => continue,
            Some(false) if waited.partition.is_offline() => ErrorCode::KafkaStorageError,
            Some(false) => ErrorCode::NotLeaderOrFollower,
            None => ErrorCode::RequestTimedOut,
        };
        let line = &mut response.responses[waited.topic].partition_responses[waited.place];
        *line = refused(line.index, code, None);
    }
}

/// Tells a client that asked the wrong broker which one leads (KIP-951).
fn name_leaders(ctx: &Context, caller: &Caller, response: &mut ProduceResponse, version: i16) {
    let wrong = |code: i16| {
        code == ErrorCode::NotLeaderOrFollower.code() || code == ErrorCode::FencedLeaderEpoch.code()
    };
    let lines = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    if version < 10 || !lines.into_iter().any(|line| wrong(line.error_code)) {
        return;
    }
    let image = ctx.metadata.image();
    for topic in &mut response.responses {
        let known = match version >= TOPIC_IDS_FROM {
            true => image.topics.by_id(topic.topic_id),
            false => image.topics.by_name(&topic.name),
        };
        for line in topic.partition_responses.iter_mut().filter(|line| wrong(line.error_code)) {
            let Some(partition) = known.and_then(|topic| topic.partition(line.index)) else {
                continue;
            };
            let leader_id = partition.leader.unwrap_or(NodeId(-1)).0;
            line.current_leader =
                LeaderIdAndEpoch { leader_id, leader_epoch: partition.leader_epoch.0 };
            let endpoint =
                Context::endpoint(&image.cluster, NodeId(leader_id), &caller.listener_name);
            if let Some(endpoint) =
                endpoint.filter(|_| !response.node_endpoints.iter().any(|n| n.node_id == leader_id))
            {
                response.node_endpoints.push(NodeEndpoint {
                    node_id: leader_id,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: None,
                });
            }
        }
    }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let lines = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    lines.map(|line| line.error_code).find(|code| *code != 0).and_then(ErrorCode::from_code)
}
