//! InitProducerId (key 22): an id for an idempotent or transactional producer. Served: v0-v5.
//!
//! v2 flexible · v3 the producer's last id and epoch (KIP-360) · v4 PRODUCER_FENCED (KIP-588) ·
//! v5 TRANSACTION_ABORTABLE (KIP-890).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::ErrorCode;
use klamm_protocol::{InitProducerIdRequest, InitProducerIdResponse, Listener};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{ProducerIdAndEpoch, Request, Response};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::{ask_with_id, fenced_by_version, misplaced, producer};

/// From here on PRODUCER_FENCED is understood.
const FENCED_FROM: i16 = 4;

pub(crate) struct InitProducerId;

impl Api for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: InitProducerIdRequest,
        version: i16,
    ) -> Reply<InitProducerIdResponse> {
        let result = match &request.transactional_id {
            None => ctx.producer_ids.allocate(&ctx).await.map(|id| producer(id.0, 0)),
            Some(id) => init(&ctx, id, &request).await,
        };
        match result {
            Ok(ProducerIdAndEpoch { id, epoch }) => InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: epoch.0,
                ..InitProducerIdResponse::default()
            },
            Err(code) => InitProducerIdResponse {
                error_code: fenced_by_version(code, version, FENCED_FROM).code(),
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            },
        }
        .into()
    }
}

async fn init(
    ctx: &Context,
    transactional_id: &Str,
    request: &InitProducerIdRequest,
) -> Result<ProducerIdAndEpoch, ErrorCode> {
    // Both or none (Kafka: `KafkaApis.handleInitProducerIdRequest`).
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(producer(id, epoch)),
    };
    let asked = |fresh| Request::Init {
        transactional_id: transactional_id.clone(),
        timeout_ms: request.transaction_timeout_ms,
        expected,
        fresh,
    };
    match ask_with_id(ctx, transactional_id, asked).await {
        Response::Init(result) => result,
        other => Err(misplaced(&other)),
    }
}
