//! DescribeTransactions (key 65): where transactional ids stand (KIP-664). Served: v0.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::ErrorCode;
use klamm_protocol::describe_transactions_response::{TopicData, TransactionState};
use klamm_protocol::{DescribeTransactionsRequest, DescribeTransactionsResponse, Listener};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{DescribedTransaction, Request, Response};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::{ask, misplaced};

pub(crate) struct DescribeTransactions;

impl Api for DescribeTransactions {
    type Request = DescribeTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeTransactionsRequest,
        _: i16,
    ) -> Reply<DescribeTransactionsResponse> {
        let mut response = DescribeTransactionsResponse::default();
        for id in request.transactional_ids {
            let found = match &*id {
                "" => Err(ErrorCode::InvalidRequest),
                _ => match ask(&ctx, &id, Request::Describe(id.clone())).await {
                    Response::Described(Some(found)) => Ok(found),
                    Response::Described(None) => Err(ErrorCode::TransactionalIdNotFound),
                    other => Err(misplaced(&other)),
                },
            };
            response.transaction_states.push(match found {
                Ok(found) => line(id, *found),
                Err(code) => TransactionState {
                    error_code: code.code(),
                    transactional_id: id,
                    ..TransactionState::default()
                },
            });
        }
        response.into()
    }
}

fn line(transactional_id: Str, found: DescribedTransaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for partition in found.partitions {
        match topics.last_mut().filter(|topic| topic.topic == partition.topic) {
            Some(topic) => topic.partitions.push(partition.partition),
            None => topics
                .push(TopicData { topic: partition.topic, partitions: vec![partition.partition] }),
        }
    }
    TransactionState {
        error_code: ErrorCode::None.code(),
        transactional_id,
        transaction_state: Str::from_static(found.state.name()),
        transaction_timeout_ms: found.timeout_ms,
        transaction_start_time_ms: found.started_at.map_or(-1, |at| at.0),
        producer_id: found.producer.id.0,
        producer_epoch: found.producer.epoch.0,
        topics,
    }
}
