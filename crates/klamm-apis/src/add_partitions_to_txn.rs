//! AddPartitionsToTxn (key 24): partitions come into a transaction. Served: v0-v5.
//!
//! v2 PRODUCER_FENCED (KIP-588) · v3 flexible · v4 between brokers: many transactions, or only the
//! question whether partitions are in · v5 TRANSACTION_ABORTABLE (KIP-890).

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::{ErrorCode, TopicPartition};
use klamm_protocol::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use klamm_protocol::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use klamm_protocol::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, Listener};
use klamm_stdx::Str;
use klamm_transaction_coordinator::{Protocol, Request, Response};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::transactions::{ask, each, fenced_by_version, misplaced, producer};

/// From here on brokers ask, for several transactions.
const BATCHED_FROM: i16 = 4;
/// From here on PRODUCER_FENCED is understood.
const FENCED_FROM: i16 = 2;

pub(crate) struct AddPartitionsToTxn;

impl Api for AddPartitionsToTxn {
    type Request = AddPartitionsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: AddPartitionsToTxnRequest,
        version: i16,
    ) -> Reply<AddPartitionsToTxnResponse> {
        let mut response = AddPartitionsToTxnResponse::default();
        if version >= BATCHED_FROM {
            for transaction in request.transactions {
                let topic_results = add(&ctx, &transaction, Protocol::V2).await;
                let transactional_id = transaction.transactional_id;
                response
                    .results_by_transaction
                    .push(AddPartitionsToTxnResult { transactional_id, topic_results });
            }
            return response.into();
        }
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let mut results = add(&ctx, &transaction, Protocol::V1).await;
        for line in results.iter_mut().flat_map(|topic| &mut topic.results_by_partition) {
            if let Some(code) = ErrorCode::from_code(line.partition_error_code) {
                let code = fenced_by_version(code, version, FENCED_FROM);
                line.partition_error_code = code.code();
            }
        }
        response.results_by_topic_v3_and_below = results;
        response.into()
    }
}

/// Adds the partitions of one transaction, all or none.
async fn add(
    ctx: &Context,
    transaction: &AddPartitionsToTxnTransaction,
    protocol: Protocol,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = &transaction.topics;
    let exists = |partition: &TopicPartition| {
        let image = ctx.metadata.image();
        image.topics.partition(&partition.topic, partition.partition).is_some()
    };
    let partitions = each(topics.iter().map(|t| (&t.name, &t.partitions[..])));
    if !partitions.iter().all(exists) {
        return results(topics, |topic, index| {
            match exists(&TopicPartition::new(topic.clone(), index)) {
                true => ErrorCode::OperationNotAttempted,
                false => ErrorCode::UnknownTopicOrPartition,
            }
        });
    }
    let transactional_id = transaction.transactional_id.clone();
    let producer = producer(transaction.producer_id, transaction.producer_epoch);
    let request = match transaction.verify_only {
        true => Request::Verify { transactional_id, producer, partitions },
        false => Request::AddPartitions { transactional_id, producer, partitions, protocol },
    };
    match ask(ctx, &transaction.transactional_id, request).await {
        Response::Added(code) => results(topics, |_, _| code),
        Response::Verified(lines) => {
            let lines: HashMap<TopicPartition, ErrorCode> = lines.into_iter().collect();
            results(topics, |topic, index| {
                let found = lines.get(&TopicPartition::new(topic.clone(), index));
                found.copied().unwrap_or(ErrorCode::UnknownServerError)
            })
        }
        other => {
            let code = misplaced(&other);
            results(topics, |_, _| code)
        }
    }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&Str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let line = |topic: &AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: code(&topic.name, *index).code(),
            })
            .collect(),
    };
    topics.iter().map(line).collect()
}
