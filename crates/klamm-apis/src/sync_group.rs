//! SyncGroup (key 14): hands assignments from the leader to the members. Served: v0-v5.
//!
//! v3 static members (KIP-345) · v4 flexible · v5 the protocol is checked (KIP-559).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Request, Response, SyncRequest, Synced};
use klamm_model::{ErrorCode, GenerationId};
use klamm_protocol::{Listener, SyncGroupRequest, SyncGroupResponse};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

pub(crate) struct SyncGroup;

impl Api for SyncGroup {
    type Request = SyncGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: SyncGroupRequest,
        version: i16,
    ) -> Reply<SyncGroupResponse> {
        let is_silent = request.protocol_type.is_none() || request.protocol_name.is_none();
        if version >= 5 && is_silent {
            return answer(Synced::refused(ErrorCode::InconsistentGroupProtocol)).into();
        }
        let group_id = request.group_id;
        let sync = SyncRequest {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation_id: GenerationId(request.generation_id),
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
            assignments: request
                .assignments
                .into_iter()
                .map(|a| (a.member_id, a.assignment))
                .collect(),
        };
        match ask(&ctx, &group_id, Request::Sync(group_id.clone(), sync)).await {
            Response::Sync(synced) => answer(synced).into(),
            Response::Unavailable(ErrorCode::CoordinatorLoadInProgress) => {
                // Kafka: a member that syncs with a loading coordinator is to join again.
                answer(Synced::refused(ErrorCode::RebalanceInProgress)).into()
            }
            other => answer(Synced::refused(misplaced(&other))).into(),
        }
    }
}

fn answer(synced: Synced) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: synced.error.code(),
        protocol_type: synced.protocol_type,
        protocol_name: synced.protocol_name,
        assignment: synced.assignment,
        ..SyncGroupResponse::default()
    }
}
