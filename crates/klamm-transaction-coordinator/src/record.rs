//! The records of `__transaction_state` (Kafka: `TransactionLog`).

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use klamm_codec::{DecodeError, EncodeError};
use klamm_model::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use klamm_persisted::transaction::transaction_log_value::PartitionsSchema;
use klamm_persisted::transaction::{
    TransactionLogKey, TransactionLogValue, TransactionRecordKey, TransactionRecordValue,
};
use klamm_stdx::Str;

use crate::producer::{ProducerIdAndEpoch, Protocol};
use crate::state::State;
use crate::transaction::Transaction;

/// Version of a value that any Kafka reads.
const PLAIN_VERSION: i16 = 0;
/// Version of a value that tells what transactions v2 need (Kafka 4.0).
const FLEXIBLE_VERSION: i16 = 1;

/// A transactional id as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub transactional_id: Str,
    /// `None` if it is forgotten.
    pub transaction: Option<Transaction>,
}

/// Why a record of the log is unusable.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordError {
    /// A kind of record that this version does not know; it is skipped.
    UnknownKind(i64),
    /// A state that no Kafka writes.
    UnknownState(i8),
    /// Not a record.
    Broken(DecodeError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "unknown kind of transaction record: {kind}"),
            Self::UnknownState(state) => write!(f, "unknown state of a transaction: {state}"),
            Self::Broken(error) => write!(f, "not a transaction record: {error}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnknownKind { kind, .. } => Self::UnknownKind(kind),
            error => Self::Broken(error),
        }
    }
}

impl Record {
    /// Key and value as they stand in the log; no value is a tombstone.
    ///
    /// # Errors
    /// A text is too long for its field.
    pub fn to_key_value(
        transactional_id: &Str,
        transaction: Option<&Transaction>,
    ) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey { transactional_id: transactional_id.clone() };
        let key = TransactionRecordKey::from(key).to_frame()?;
        let value = transaction.map(|transaction| {
            let version = match transaction.protocol {
                Protocol::V1 if transaction.previous_producer_id.is_none() => PLAIN_VERSION,
                Protocol::V1 | Protocol::V2 => FLEXIBLE_VERSION,
            };
            TransactionRecordValue::from(to_value(transaction)).to_frame(version)
        });
        Ok((key, value.transpose()?))
    }

    /// A record from the log.
    ///
    /// # Errors
    /// Its kind or state is unknown, or its bytes are no record.
    pub fn from_key_value(key: Bytes, value: Option<Bytes>) -> Result<Self, RecordError> {
        let key = TransactionRecordKey::from_frame(key)?;
        let kind = key.kind();
        let TransactionRecordKey::TransactionLog(key) = key;
        let transaction = match value {
            Some(value) => {
                let TransactionRecordValue::TransactionLog(value) =
                    TransactionRecordValue::from_frame(kind, value)?.0;
                Some(from_value(value)?)
            }
            None => None,
        };
        Ok(Self { transactional_id: key.transactional_id.detached(), transaction })
    }
}

fn to_value(transaction: &Transaction) -> TransactionLogValue {
    let mut topics: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
    for partition in &transaction.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let partitions = topics
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsSchema { topic: topic.clone(), partition_ids })
        .collect();
    TransactionLogValue {
        producer_id: transaction.producer.id.0,
        producer_epoch: transaction.producer.epoch.0,
        previous_producer_id: transaction.previous_producer_id.map_or(-1, |id| id.0),
        next_producer_id: transaction.next_producer_id.map_or(-1, |id| id.0),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.code(),
        // Kafka writes none at all while nothing was written.
        transaction_partitions: (transaction.state != State::Empty).then_some(partitions),
        transaction_last_update_timestamp_ms: transaction.updated_at.0,
        transaction_start_timestamp_ms: transaction.started_at.map_or(-1, |at| at.0),
        client_transaction_version: i16::from(transaction.protocol.level()),
        ..TransactionLogValue::default()
    }
}

fn from_value(value: TransactionLogValue) -> Result<Transaction, RecordError> {
    let state = State::from_code(value.transaction_status)
        .ok_or(RecordError::UnknownState(value.transaction_status))?;
    let partitions =
        value.transaction_partitions.unwrap_or_default().into_iter().flat_map(|line| {
            let topic = line.topic.detached();
            line.partition_ids.into_iter().map(move |p| TopicPartition::new(topic.clone(), p))
        });
    let id = |id: i64| (id >= 0).then_some(ProducerId(id));
    Ok(Transaction {
        producer: ProducerIdAndEpoch {
            id: ProducerId(value.producer_id),
            epoch: ProducerEpoch(value.producer_epoch),
        },
        last_epoch: None,
        previous_producer_id: id(value.previous_producer_id),
        next_producer_id: id(value.next_producer_id),
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        started_at: Some(Timestamp(value.transaction_start_timestamp_ms)).filter(|at| at.0 >= 0),
        updated_at: Timestamp(value.transaction_last_update_timestamp_ms),
        protocol: Protocol::of_level(value.client_transaction_version),
    })
}
