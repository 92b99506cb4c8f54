//! Heartbeat (key 12): a classic-group member says that it is alive. Served: v0-v4.
//!
//! v1 throttle time · v3 static members (KIP-345) · v4 flexible.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Heartbeat as Alive, Request, Response};
use klamm_model::{ErrorCode, GenerationId};
use klamm_protocol::{HeartbeatRequest, HeartbeatResponse, Listener};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

pub(crate) struct Heartbeat;

impl Api for Heartbeat {
    type Request = HeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: HeartbeatRequest,
        _: i16,
    ) -> Reply<HeartbeatResponse> {
        let group_id = request.group_id;
        let alive = Alive {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation_id: GenerationId(request.generation_id),
        };
        let error = match ask(&ctx, &group_id, Request::Heartbeat(group_id.clone(), alive)).await {
            Response::Heartbeat(error) => error,
            // The group is being loaded: the member is alive as far as anybody can tell.
            Response::Unavailable(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            other => misplaced(&other),
        };
        HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() }.into()
    }
}
