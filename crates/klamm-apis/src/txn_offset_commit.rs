//! TxnOffsetCommit (key 28): offsets that count when a transaction is committed. Served: v0-v5.
//!
//! v2 leader epochs · v3 flexible, and who in the group commits (KIP-447) · v4
//! TRANSACTION_ABORTABLE · v5 transactions v2: brings the group's partition in (KIP-890).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_coordinator::{TransactionalProducer, partition_for};
use klamm_group_coordinator::{
    MemberEpochs, OffsetCommit, OffsetToCommit, Request, Response, TransactionalCommit,
};
use klamm_model::{
    ErrorCode, GROUP_OFFSETS_TOPIC, GenerationId, LeaderEpoch, Offset, TopicPartition, Verification,
};
use klamm_protocol::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use klamm_protocol::{Listener, TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use klamm_records::Producer;
use klamm_replication::FirstWrites;
use klamm_stdx::Str;
use klamm_transaction_coordinator::Protocol;

use crate::Context;
use crate::api::{Api, Reply};
use crate::by_topic::ByTopic;
use crate::caller::Caller;
use crate::errors::append_code;
use crate::groups::{ask, misplaced};
use crate::internal_topics::partition_count;
use crate::transactions::{admit, producer};

/// From here on the commit brings the group's partition into the transaction.
const V2_FROM: i16 = 5;
/// From here on TRANSACTION_ABORTABLE is understood.
const ABORTABLE_FROM: i16 = 4;
/// What a coordinator writes has no sequence number.
const NO_SEQUENCE: i32 = -1;

pub(crate) struct TxnOffsetCommit;

impl Api for TxnOffsetCommit {
    type Request = TxnOffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: TxnOffsetCommitRequest,
        version: i16,
    ) -> Reply<TxnOffsetCommitResponse> {
        let (known, mut unknown) = split(&ctx, &request);
        if known.is_empty() {
            // The group's partition stays out of the transaction.
            return answer(unknown).into();
        }
        let group_id = request.group_id.clone();
        let results = match verify(&ctx, &request, version).await {
            Err(code) => Err(for_version(code, version)),
            Ok(verification) => {
                let commit = commit(&request, known.clone(), verification);
                let asked = Request::CommitInTransaction(group_id.clone(), commit);
                match ask(&ctx, &group_id, asked).await {
                    Response::CommitOffsets(results) => Ok(results),
                    other => Err(misplaced(&other)),
                }
            }
        };
        match results {
            Ok(lines) => unknown.extend(lines.into_iter().map(|l| (l.topic, l.partition, l.error))),
            Err(code) => unknown.extend(known.into_iter().map(|l| (l.topic, l.partition, code))),
        }
        answer(unknown).into()
    }
}

/// The lines that can be committed, and those of partitions that do not exist.
fn split(
    ctx: &Context,
    request: &TxnOffsetCommitRequest,
) -> (Vec<OffsetToCommit>, Vec<(Str, i32, ErrorCode)>) {
    let image = ctx.metadata.image();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for topic in &request.topics {
        for line in &topic.partitions {
            if image.topics.partition(&topic.name, line.partition_index).is_none() {
                let code = ErrorCode::UnknownTopicOrPartition;
                unknown.push((topic.name.clone(), line.partition_index, code));
                continue;
            }
            let epoch = line.committed_leader_epoch;
            known.push(OffsetToCommit {
                topic: topic.name.clone(),
                topic_id: None,
                partition: line.partition_index,
                offset: Offset(line.committed_offset),
                leader_epoch: (epoch >= 0).then_some(LeaderEpoch(epoch)),
                metadata: line.committed_metadata.clone().unwrap_or_default(),
            });
        }
    }
    (known, unknown)
}

/// Makes sure that the group's partition is in the transaction; the proof of it for a first write.
async fn verify(
    ctx: &Context,
    request: &TxnOffsetCommitRequest,
    version: i16,
) -> Result<Option<Verification>, ErrorCode> {
    let n = partition_count(ctx, GROUP_OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let index = partition_for(&request.group_id, n);
    let found = ctx.partitions.by_name(GROUP_OFFSETS_TOPIC, index);
    let partition = found.ok_or(ErrorCode::NotCoordinator)?;
    let asker = producer(request.producer_id, request.producer_epoch);
    let writer = Producer { id: asker.id, epoch: asker.epoch, base_sequence: NO_SEQUENCE };
    let begun = partition.begin_verification(writer, ctx.env.clock.wall());
    let verification = begun.map_err(|error| match append_code(&error) {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        code => code,
    })?;
    if verification.is_none() {
        return Ok(None);
    }
    let protocol = if version >= V2_FROM { Protocol::V2 } else { Protocol::V1 };
    if protocol == Protocol::V1 && ctx.partitions.first_writes() == FirstWrites::Trusted {
        return Ok(verification);
    }
    let asked = vec![TopicPartition::new(Str::from_static(GROUP_OFFSETS_TOPIC), index)];
    let admitted = admit(ctx, &request.transactional_id, (asker, protocol), asked).await;
    match admitted.first().map(|(_, code)| *code) {
        Some(ErrorCode::None) => Ok(verification),
        Some(code) => Err(code),
        None => Err(ErrorCode::UnknownServerError),
    }
}

fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        // Clients of old know of no running transaction here; they do come back for this one.
        ErrorCode::ConcurrentTransactions if version < V2_FROM => {
            ErrorCode::CoordinatorLoadInProgress
        }
        code => code,
    }
}

fn commit(
    request: &TxnOffsetCommitRequest,
    offsets: Vec<OffsetToCommit>,
    verification: Option<Verification>,
) -> TransactionalCommit {
    let asker = producer(request.producer_id, request.producer_epoch);
    TransactionalCommit {
        producer: TransactionalProducer { id: asker.id, epoch: asker.epoch },
        verification,
        commit: OffsetCommit {
            member_id: request.member_id.clone(),
            instance_id: request.group_instance_id.clone(),
            generation_id: GenerationId(request.generation_id),
            epochs: MemberEpochs::Known,
            retention_ms: None,
            offsets,
        },
    }
}

fn answer(lines: Vec<(Str, i32, ErrorCode)>) -> TxnOffsetCommitResponse {
    let mut topics = ByTopic::default();
    for (name, partition_index, code) in lines {
        let line = TxnOffsetCommitResponsePartition { partition_index, error_code: code.code() };
        let topic = topics.get_or_push(name, |name| TxnOffsetCommitResponseTopic {
            name,
            partitions: Vec::new(),
        });
        topic.partitions.push(line);
    }
    let topics = topics.into_topics();
    TxnOffsetCommitResponse { topics, ..TxnOffsetCommitResponse::default() }
}
