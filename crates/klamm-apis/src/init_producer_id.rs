//! InitProducerId (key 22): an id for an idempotent producer. Served: v0-v5.
//!
//! v2 flexible · v3 the producer's last id and epoch (KIP-360) · v4 PRODUCER_FENCED (KIP-588) ·
//! v5 TRANSACTION_ABORTABLE (KIP-890). Transactional ids are not served yet.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::ErrorCode;
use klamm_protocol::{InitProducerIdRequest, InitProducerIdResponse, Listener};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

pub(crate) struct InitProducerId;

impl Api for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: InitProducerIdRequest,
        _: i16,
    ) -> Reply<InitProducerIdResponse> {
        // Without transactions there is no coordinator that could fence or resume a producer.
        let result = match &request.transactional_id {
            Some(id) if id.is_empty() => Err(ErrorCode::InvalidRequest),
            Some(_) => Err(ErrorCode::CoordinatorNotAvailable),
            None => ctx.producer_ids.allocate(&ctx).await,
        };
        match result {
            Ok(id) => InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Err(code) => InitProducerIdResponse {
                error_code: code.code(),
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            },
        }
        .into()
    }
}
