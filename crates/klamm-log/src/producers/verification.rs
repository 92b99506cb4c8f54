//! Transactions that are about to begin in a partition (KIP-890; Kafka: `VerificationStateEntry`).
//!
//! A producer's first write in a transaction is taken only if the transaction coordinator knows
//! that the partition belongs to it. Between the coordinator's word and the append the transaction
//! may end: its marker would come first, and the append would begin a transaction that nobody ever
//! ends. So whoever asks the coordinator takes a [`Verification`] before, and a marker makes it
//! worthless.
//!
//! ```text
//! begin ──▶ ask the coordinator ──▶ append(verification)      taken
//! begin ──▶ ask the coordinator ──▶ marker ──▶ append(…)      refused: INVALID_TXN_STATE
//! ```

use std::collections::HashMap;

use klamm_model::{ProducerEpoch, ProducerId, Timestamp, Verification};
use klamm_records::{BatchHeader, Producer};

use crate::appended::SequenceError;
use crate::appended::{Origin, TransactionError};
use crate::producers::state::TRANSACTIONS_V2;

/// A producer whose transaction is about to begin.
#[derive(Debug, Clone, Copy)]
struct Entry {
    verification: Verification,
    epoch: ProducerEpoch,
    /// Of the batches that wait: none with a larger one may be the first.
    lowest_sequence: i32,
    begun_at: Timestamp,
}

/// The verifications of one log. They are not on the disk: a restart makes producers ask again.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    entries: HashMap<ProducerId, Entry>,
    last: u64,
}

impl Verifications {
    /// A verification for a producer's batch; batches that wait at the same time share one.
    pub(crate) fn begin(&mut self, producer: Producer, wall: Timestamp) -> Verification {
        self.last += 1;
        let fresh = Entry {
            verification: Verification(self.last),
            epoch: producer.epoch,
            lowest_sequence: producer.base_sequence,
            begun_at: wall,
        };
        let entry = self.entries.entry(producer.id).or_insert(fresh);
        if producer.epoch > entry.epoch {
            *entry = fresh;
        } else if producer.epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(producer.base_sequence);
        }
        entry.verification
    }

    /// Whether `given` still holds for a batch that begins a transaction.
    pub(crate) fn check(
        &self,
        producer: Producer,
        given: Option<Verification>,
    ) -> Result<(), TransactionError> {
        let entry =
            self.entries.get(&producer.id).filter(|entry| Some(entry.verification) == given);
        entry.map(|_| ()).ok_or(TransactionError::NotInTransaction)
    }

    /// Whether a batch is not ahead of one that waits.
    pub(crate) fn check_order(&self, producer: Producer) -> Result<(), SequenceError> {
        match self.entries.get(&producer.id) {
            Some(entry)
                if entry.epoch == producer.epoch
                    && producer.base_sequence > entry.lowest_sequence =>
            {
                let last = entry.lowest_sequence.saturating_sub(1);
                Err(SequenceError::Sequence { sequence: producer.base_sequence, last })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A batch of a producer is in the log: its transaction is open, or was ended by a marker of
    /// some protocol. With v2 a marker has the epoch of the next transaction, which it says nothing
    /// about.
    pub(crate) fn on_appended(&mut self, header: &BatchHeader, origin: Origin) {
        let Some(producer) = header.producer.filter(|_| !self.entries.is_empty()) else { return };
        let of_next = match origin {
            Origin::Marker { transaction_version } if transaction_version >= TRANSACTIONS_V2 => {
                Some(producer.epoch)
            }
            _ => None,
        };
        if self.entries.get(&producer.id).is_some_and(|entry| Some(entry.epoch) != of_next) {
            self.entries.remove(&producer.id);
        }
    }

    /// Forgets those whose producers never came back.
    pub(crate) fn expire(&mut self, wall: Timestamp, expiration_ms: i64) {
        self.entries.retain(|_, entry| wall.0.saturating_sub(entry.begun_at.0) < expiration_ms);
    }
}
