//! From a group's name to its shard, and what the group APIs share.

use klamm_coordinator::partition_for;
use klamm_group_coordinator::{Request, Response};
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC};
use klamm_stdx::Str;

use crate::Context;
use crate::internal_topics::partition_count;

/// Groups of one request that are with their shards at once: what is written for them is committed
/// together, and they leave room in the queue for other clients.
const ASKED_AT_ONCE: usize = 64;

/// Asks the shard of a group. The question is on its way before the answer is waited for.
pub(crate) fn ask(
    ctx: &Context,
    group_id: &Str,
    request: Request,
) -> impl Future<Output = Response> + use<> {
    let asked = match partition_count(ctx, GROUP_OFFSETS_TOPIC) {
        _ if group_id.is_empty() && !may_be_nameless(&request) => Err(ErrorCode::InvalidGroupId),
        Some(n) => Ok(ctx.groups.request(partition_for(group_id, n), request)),
        None => Err(ErrorCode::CoordinatorNotAvailable),
    };
    async move {
        match asked {
            Ok(answer) => answer.await,
            Err(code) => Response::Unavailable(code),
        }
    }
}

/// Asks the shards of many groups; the answers are in the order of the groups.
pub(crate) async fn ask_each(
    ctx: &Context,
    group_ids: &[Str],
    question: impl Fn(Str) -> Request,
) -> Vec<Response> {
    let mut answers = Vec::with_capacity(group_ids.len());
    for some in group_ids.chunks(ASKED_AT_ONCE) {
        let asked: Vec<_> = some.iter().map(|id| ask(ctx, id, question(id.clone()))).collect();
        for answer in asked {
            answers.push(answer.await);
        }
    }
    answers
}

/// Whether Kafka takes it for a group without a name, into which clients of old may commit; what the
/// consumer protocol says to one is the group's own affair.
fn may_be_nameless(request: &Request) -> bool {
    matches!(
        request,
        Request::CommitOffsets(..)
            | Request::FetchOffsets(..)
            | Request::Describe(..)
            | Request::Delete(..)
            | Request::ConsumerHeartbeat(..)
    )
}

/// Whether the consumer protocol is served: the configuration and the cluster's feature level say
/// so (Kafka: `KafkaApis.isConsumerGroupProtocolEnabled`).
pub(crate) fn serves_consumers(ctx: &Context) -> bool {
    let protocols = &ctx.config.groups.rebalance_protocols;
    let level = ctx.metadata.image().features.levels.get("group.version").copied();
    protocols.iter().any(|name| name.eq_ignore_ascii_case("consumer")) && level >= Some(1)
}

/// A shard answered another question: a bug of ours, told as such.
pub(crate) fn misplaced(response: &Response) -> ErrorCode {
    match response {
        Response::Unavailable(code) => *code,
        other => {
            tracing::error!(response = ?other, "the group coordinator answered another question");
            ErrorCode::UnknownServerError
        }
    }
}
