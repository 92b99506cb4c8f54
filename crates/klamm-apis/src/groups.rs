//! From a group's name to its shard, and what the group APIs share.

use klamm_coordinator::partition_for;
use klamm_group_coordinator::{Request, Response};
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC};
use klamm_stdx::Str;

use crate::Context;
use crate::internal_topics::partition_count;

/// Asks the shard of a group.
pub(crate) async fn ask(ctx: &Context, group_id: &Str, request: Request) -> Response {
    if group_id.is_empty() && !may_be_nameless(&request) {
        return Response::Unavailable(ErrorCode::InvalidGroupId);
    }
    match partition_count(ctx, GROUP_OFFSETS_TOPIC) {
        Some(n) => ctx.groups.request(partition_for(group_id, n), request).await,
        None => Response::Unavailable(ErrorCode::CoordinatorNotAvailable),
    }
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
