//! AddOffsetsToTxn (key 25): a group's offsets come into a transaction. Served: v0-v4.
//!
//! v2 PRODUCER_FENCED (KIP-588) · v3 flexible · v4 TRANSACTION_ABORTABLE (KIP-890). Clients of
//! transactions v2 leave it out: their TxnOffsetCommit brings the partition in.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_coordinator::partition_for;
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC, TopicPartition};
use klamm_protocol::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, Listener};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{Protocol, Request, Response};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::internal_topics::partition_count_on_demand;
use crate::transactions::{ask, fenced_by_version, misplaced, producer};

/// From here on PRODUCER_FENCED is understood.
const FENCED_FROM: i16 = 2;

pub(crate) struct AddOffsetsToTxn;

impl Api for AddOffsetsToTxn {
    type Request = AddOffsetsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: AddOffsetsToTxnRequest,
        version: i16,
    ) -> Reply<AddOffsetsToTxnResponse> {
        let code = fenced_by_version(add(&ctx, request).await, version, FENCED_FROM);
        AddOffsetsToTxnResponse { error_code: code.code(), ..AddOffsetsToTxnResponse::default() }
            .into()
    }
}

async fn add(ctx: &Context, request: AddOffsetsToTxnRequest) -> ErrorCode {
    let Some(n) = partition_count_on_demand(ctx, GROUP_OFFSETS_TOPIC).await else {
        return ErrorCode::CoordinatorNotAvailable;
    };
    let topic = Str::from_static(GROUP_OFFSETS_TOPIC);
    let partition = TopicPartition::new(topic, partition_for(&request.group_id, n));
    let asked = Request::AddPartitions {
        transactional_id: request.transactional_id.clone(),
        producer: producer(request.producer_id, request.producer_epoch),
        partitions: vec![partition],
        protocol: Protocol::V1,
    };
    match ask(ctx, &request.transactional_id, asked).await {
        Response::Added(code) => code,
        other => misplaced(&other),
    }
}
