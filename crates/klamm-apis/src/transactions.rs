//! From a transactional id to its shard, and what the transaction APIs share.

use klamm_coordinator::partition_for;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TRANSACTION_STATE_TOPIC, TopicPartition};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{ProducerIdAndEpoch, Protocol, Request, Response};

use crate::Context;
use crate::internal_topics::partition_count;

/// Asks the shard of a transactional id.
pub(crate) async fn ask(ctx: &Context, transactional_id: &str, request: Request) -> Response {
    match partition_count(ctx, TRANSACTION_STATE_TOPIC) {
        Some(n) => ctx.transactions.request(partition_for(transactional_id, n), request).await,
        None => Response::Unavailable(ErrorCode::CoordinatorNotAvailable),
    }
}

/// Asks; should the shard need a producer id that nobody has, it gets one and is asked again.
pub(crate) async fn ask_with_id(
    ctx: &Context,
    transactional_id: &str,
    request: impl Fn(Option<ProducerId>) -> Request,
) -> Response {
    match ask(ctx, transactional_id, request(None)).await {
        Response::NeedsProducerId => match ctx.producer_ids.allocate(ctx).await {
            Ok(fresh) => ask(ctx, transactional_id, request(Some(fresh))).await,
            Err(code) => Response::Unavailable(code),
        },
        response => response,
    }
}

/// A shard answered another question: a bug of ours, told as such.
pub(crate) fn misplaced(response: &Response) -> ErrorCode {
    match response {
        Response::Unavailable(code) => *code,
        other => {
            tracing::error!(response = ?other, "the transaction coordinator answered another question");
            ErrorCode::UnknownServerError
        }
    }
}

/// The producer of a request.
pub(crate) fn producer(id: i64, epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

/// Topics with their partitions, one by one.
pub(crate) fn each<'a>(
    topics: impl IntoIterator<Item = (&'a Str, &'a [i32])>,
) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for (topic, indexes) in topics {
        partitions.extend(indexes.iter().map(|index| TopicPartition::new(topic.clone(), *index)));
    }
    partitions
}

/// What a producer is told that fences it: versions below `named_from` have no word for it.
pub(crate) fn fenced_by_version(code: ErrorCode, version: i16, named_from: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < named_from => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

/// Has the coordinator confirm that a producer's transaction holds partitions that it is about to
/// write for the first time. With v2 that very write brings them in (KIP-890).
pub(crate) async fn admit(
    ctx: &Context,
    transactional_id: &Str,
    (producer, protocol): (ProducerIdAndEpoch, Protocol),
    partitions: Vec<TopicPartition>,
) -> Vec<(TopicPartition, ErrorCode)> {
    let transactional_id = transactional_id.clone();
    let request = match protocol {
        Protocol::V1 => Request::Verify {
            transactional_id: transactional_id.clone(),
            producer,
            partitions: partitions.clone(),
        },
        Protocol::V2 => Request::AddPartitions {
            transactional_id: transactional_id.clone(),
            producer,
            partitions: partitions.clone(),
            protocol,
        },
    };
    let code = match ask(ctx, &transactional_id, request).await {
        Response::Verified(lines) => return lines,
        Response::Added(code) => code,
        other => misplaced(&other),
    };
    partitions.into_iter().map(|partition| (partition, code)).collect()
}
