//! FindCoordinator (key 10): which broker coordinates a group or transactional id. Served: v0-v6.
//!
//! v1 kinds of coordinators · v3 flexible · v4 several keys (KIP-699) · v5 TRANSACTION_ABORTABLE
//! (KIP-890) · v6 share groups (KIP-932). Share groups are not served yet.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_coordinator::partition_for;
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC};
use klamm_protocol::find_coordinator_response::Coordinator;
use klamm_protocol::{FindCoordinatorRequest, FindCoordinatorResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::internal_topics::partition_count_on_demand;

/// From here on several keys can be asked for.
const BATCHED_FROM: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) struct FindCoordinator;

impl Api for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: FindCoordinatorRequest,
        version: i16,
    ) -> Reply<FindCoordinatorResponse> {
        if version >= BATCHED_FROM {
            let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
            for key in request.coordinator_keys {
                coordinators.push(find(&ctx, &caller, key, request.key_type).await);
            }
            return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
                .into();
        }
        let found = find(&ctx, &caller, request.key, request.key_type).await;
        FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message.filter(|_| version >= 1),
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..FindCoordinatorResponse::default()
        }
        .into()
    }
}

async fn find(ctx: &Context, caller: &Caller, key: Str, key_type: i8) -> Coordinator {
    let result = locate(ctx, caller, &key, key_type).await;
    let (code, message) = match result {
        Ok(found) => return Coordinator { key, ..found },
        Err(refusal) => refusal,
    };
    Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Coordinator::default()
    }
}

async fn locate(
    ctx: &Context,
    caller: &Caller,
    key: &Str,
    key_type: i8,
) -> Result<Coordinator, (ErrorCode, String)> {
    let topic = match key_type {
        GROUP => GROUP_OFFSETS_TOPIC,
        TRANSACTION => TRANSACTION_STATE_TOPIC,
        other => {
            let message = format!("coordinators of type {other} are not served");
            return Err((ErrorCode::InvalidRequest, message));
        }
    };
    let n = partition_count_on_demand(ctx, topic).await;
    let image = ctx.metadata.image();
    let leader = n
        .and_then(|n| image.topics.partition(topic, partition_for(key, n)))
        .and_then(|partition| partition.leader);
    let endpoint = leader
        .and_then(|id| Some((id, Context::endpoint(&image.cluster, id, &caller.listener_name)?)));
    match endpoint {
        Some((id, endpoint)) => Ok(Coordinator {
            node_id: id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Coordinator::default()
        }),
        None => {
            Err((ErrorCode::CoordinatorNotAvailable, "the coordinator is not available".into()))
        }
    }
}
