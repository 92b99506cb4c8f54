//! Produce (key 0): appends batches to partitions. Served: v3-v13.
//!
//! v7 zstd (KIP-110) · v8 the records that were refused (KIP-467) · v9 flexible · v10 the leader
//! to turn to (KIP-951) · v11 TRANSACTION_ABORTABLE · v12 transactions v2 (KIP-890) · v13 topics by
//! id (KIP-516).

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::task;
use klamm_model::{Acks, ErrorCode, NodeId, Offset, TopicPartition, Verification};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use klamm_protocol::{Listener, ProduceRequest, ProduceResponse};
use klamm_replication::Partition;
use klamm_transaction_coordinator::{ProducerIdAndEpoch, Protocol};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::produce_append::{Appending, Asked, Line, TRANSACTIONS_V2_FROM, append, refused};
use crate::transactions::admit;

/// From here on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
/// From here on TRANSACTION_ABORTABLE is understood.
const ABORTABLE_FROM: i16 = 11;

pub(crate) struct Produce;

/// An append whose commit the producer waits for.
struct Waiting {
    topic: usize,
    place: usize,
    partition: Arc<Partition>,
    last_offset: Offset,
}

/// A batch that waits for a transaction's coordinator.
struct Unproven {
    topic: usize,
    place: usize,
    partition: Arc<Partition>,
    producer: ProducerIdAndEpoch,
    verification: Verification,
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
        let mut waiting = Vec::new();
        let mut unproven = Vec::new();
        let mut response = ProduceResponse::default();
        for (i, topic) in request.topic_data.iter().enumerate() {
            let (waits, lacks) = (&mut waiting, &mut unproven);
            let transactional_id = request.transactional_id.as_ref();
            let asked = Asked { topic, version, acks, transactional_id };
            let appended = append_topic(&ctx, &caller, (asked, i), waits, lacks);
            response.responses.push(appended);
        }
        if !unproven.is_empty() {
            let asked = (&request, version, acks);
            append_proven(&ctx, &caller, asked, unproven, (&mut response, &mut waiting)).await;
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
    (asked, i): (Asked<'_>, usize),
    waiting: &mut Vec<Waiting>,
    unproven: &mut Vec<Unproven>,
) -> TopicProduceResponse {
    let topic = asked.topic;
    let mut answered = TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: Vec::with_capacity(topic.partition_data.len()),
    };
    for (place, data) in topic.partition_data.iter().enumerate() {
        let by_id = asked.version >= TOPIC_IDS_FROM;
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
        let line = match append(ctx, caller, &partition, (data, asked), None) {
            Appending::Done(line) => {
                settle(ctx, (asked, data, (i, place)), partition, line, waiting)
            }
            Appending::Unproven(producer, verification) => {
                unproven.push(Unproven { topic: i, place, partition, producer, verification });
                refused(data.index, ErrorCode::UnknownServerError, None)
            }
        };
        answered.partition_responses.push(line);
    }
    answered
}

/// Counts an append and notes it if its commit is waited for; gives its line of the answer.
fn settle(
    ctx: &Context,
    (asked, data, (topic, place)): (Asked<'_>, &PartitionProduceData, (usize, usize)),
    partition: Arc<Partition>,
    line: Line,
    waiting: &mut Vec<Waiting>,
) -> PartitionProduceResponse {
    count(ctx, &line, data);
    let waits = match asked.acks {
        Acks::All => true,
        Acks::Leader => partition.syncs_every_append(),
        Acks::None => false,
    };
    if waits && line.error_code == 0 {
        let last_offset = Offset(line.base_offset + line.count - 1);
        if partition.high_watermark() <= last_offset {
            waiting.push(Waiting { topic, place, partition, last_offset });
        }
    }
    line.response
}

/// What begins transactions here is appended once their coordinator has confirmed them.
async fn append_proven(
    ctx: &Context,
    caller: &Caller,
    (request, version, acks): (&ProduceRequest, i16, Acks),
    unproven: Vec<Unproven>,
    (response, waiting): (&mut ProduceResponse, &mut Vec<Waiting>),
) {
    let Some(transactional_id) = &request.transactional_id else { return };
    let protocol = if version >= TRANSACTIONS_V2_FROM { Protocol::V2 } else { Protocol::V1 };
    // A client has one producer, so one question does for all.
    let names = unproven.iter().map(|lacking| lacking.partition.name().clone()).collect();
    let Some(producer) = unproven.first().map(|lacking| lacking.producer) else { return };
    let codes = admit(ctx, transactional_id, (producer, protocol), names).await;
    let codes: HashMap<TopicPartition, ErrorCode> = codes.into_iter().collect();
    for lacking in unproven {
        let topic = &request.topic_data[lacking.topic];
        let data = &topic.partition_data[lacking.place];
        let found = codes.get(lacking.partition.name());
        let code = match found.copied().unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => ErrorCode::None,
            code => for_producers(code, version),
        };
        let line = if code.is_none() {
            let asked = Asked { topic, version, acks, transactional_id: Some(transactional_id) };
            let proof = Some(lacking.verification);
            match append(ctx, caller, &lacking.partition, (data, asked), proof) {
                Appending::Done(line) => {
                    let at = (asked, data, (lacking.topic, lacking.place));
                    settle(ctx, at, lacking.partition, line, waiting)
                }
                Appending::Unproven(..) => refused(data.index, ErrorCode::InvalidTxnState, None),
            }
        } else {
            let refusal = Line::refused(refused(data.index, code, None));
            count(ctx, &refusal, data);
            refusal.response
        };
        response.responses[lacking.topic].partition_responses[lacking.place] = line;
    }
}

/// A coordinator's refusal in the words that producers of a version understand (Kafka:
/// `AddPartitionsToTxnManager`, `ReplicaManager`).
fn for_producers(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        ErrorCode::ConcurrentTransactions if version >= TRANSACTIONS_V2_FROM => code,
        // They come back for this one without looking for another leader.
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        code => code,
    }
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
