//! What EndTxn means for a transaction as it stands (Kafka:
//! `TransactionCoordinator.endTransaction`).
//!
//! With v2 a transaction's epoch is over when it ends, so a repeated question is told from a new
//! one by its epoch: the one before the current, or the last epoch of the producer id before.

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::{ErrorCode, ProducerEpoch};

use crate::producer::{Outcome, ProducerIdAndEpoch, Protocol};
use crate::state::State;
use crate::transaction::Transaction;

/// The last epoch that a client is given.
const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It ends now.
    Prepare,
    /// It has ended so before: the answer is given again.
    Repeat,
    /// No, for this reason.
    Refuse(ErrorCode),
}

/// What an EndTxn of `producer` means.
pub(crate) fn decide(
    transaction: &Transaction,
    producer: ProducerIdAndEpoch,
    (outcome, protocol): (Outcome, Protocol),
) -> End {
    let is_v2 = transaction.protocol == Protocol::V2;
    let current = transaction.producer;
    if transaction.state.preparing().is_some() {
        return End::Refuse(while_markers_are_written(current, producer, protocol));
    }
    let is_overflow = is_v2
        && transaction.previous_producer_id == Some(producer.id)
        && producer.epoch == LAST_EPOCH
        && current.epoch == ProducerEpoch(0);
    if producer.id != current.id && !is_overflow {
        return End::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    let is_current = producer == current || is_seeded(CoordinatorBug::StaleEpochAccepted);
    let is_repeated = is_v2
        && (is_overflow
            || (producer.epoch < current.epoch && producer.epoch.next() == current.epoch));
    match transaction.state {
        State::Ongoing if is_current => End::Prepare,
        State::Empty if is_current => end_nothing(outcome, protocol),
        State::CompleteCommit | State::CompleteAbort if is_repeated || (is_current && !is_v2) => {
            let ended = match transaction.state {
                State::CompleteCommit => Outcome::Commit,
                _ => Outcome::Abort,
            };
            if ended == outcome { End::Repeat } else { End::Refuse(ErrorCode::InvalidTxnState) }
        }
        State::CompleteCommit | State::CompleteAbort if is_current => {
            end_nothing(outcome, protocol)
        }
        _ => End::Refuse(ErrorCode::ProducerFenced),
    }
}

/// Whatever is asked while markers are being written has to be asked again. With v2 nothing else is
/// told then: the producer may have its next epoch already, or its next producer id (Kafka:
/// `endTransaction`, `endTransactionWithTV1`).
fn while_markers_are_written(
    current: ProducerIdAndEpoch,
    producer: ProducerIdAndEpoch,
    protocol: Protocol,
) -> ErrorCode {
    match protocol {
        Protocol::V1 if producer.id != current.id => ErrorCode::InvalidProducerIdMapping,
        Protocol::V1 if producer.epoch != current.epoch => ErrorCode::ProducerFenced,
        Protocol::V1 | Protocol::V2 => ErrorCode::ConcurrentTransactions,
    }
}

/// A transaction without partitions: a v2 client does not know whether its first write arrived, so
/// it may abort it.
fn end_nothing(outcome: Outcome, protocol: Protocol) -> End {
    match (outcome, protocol) {
        (Outcome::Abort, Protocol::V2) => End::Prepare,
        _ => End::Refuse(ErrorCode::InvalidTxnState),
    }
}
