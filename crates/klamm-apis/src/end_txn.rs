//! EndTxn (key 26): a transaction is committed or aborted. Served: v0-v5.
//!
//! v2 PRODUCER_FENCED (KIP-588) · v3 flexible · v4 TRANSACTION_ABORTABLE · v5 transactions v2: the
//! producer's next epoch comes with the answer (KIP-890).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_protocol::{EndTxnRequest, EndTxnResponse, Listener};
use klamm_transaction_coordinator::{Outcome, Protocol, Request, Response};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::{ask_with_id, fenced_by_version, misplaced, producer};

/// From here on each transaction has its epoch.
const V2_FROM: i16 = 5;
/// From here on PRODUCER_FENCED is understood.
const FENCED_FROM: i16 = 2;

pub(crate) struct EndTxn;

impl Api for EndTxn {
    type Request = EndTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: EndTxnRequest,
        version: i16,
    ) -> Reply<EndTxnResponse> {
        let asked = |fresh| Request::End {
            transactional_id: request.transactional_id.clone(),
            producer: producer(request.producer_id, request.producer_epoch),
            outcome: if request.committed { Outcome::Commit } else { Outcome::Abort },
            protocol: if version >= V2_FROM { Protocol::V2 } else { Protocol::V1 },
            fresh,
        };
        let ended = match ask_with_id(&ctx, &request.transactional_id, asked).await {
            Response::Ended(ended) => ended,
            other => Err(misplaced(&other)),
        };
        match ended {
            // Before version 5 nobody is told of another producer.
            Ok(_) if version < V2_FROM => EndTxnResponse::default(),
            Ok(next) => EndTxnResponse {
                producer_id: next.id.0,
                producer_epoch: next.epoch.0,
                ..EndTxnResponse::default()
            },
            Err(code) => EndTxnResponse {
                error_code: fenced_by_version(code, version, FENCED_FROM).code(),
                ..EndTxnResponse::default()
            },
        }
        .into()
    }
}
