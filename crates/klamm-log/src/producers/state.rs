//! What is remembered of idempotent producers, so that a batch sent twice is stored once and
//! never out of order (Kafka: `ProducerStateManager`, KIP-98, KIP-360).

use std::collections::{BTreeMap, HashMap};

use klamm_model::{Offset, ProducerId, Timestamp};
use klamm_records::{BatchHeader, Producer};

use crate::appended::{AppendError, SequenceError, TransactionError};
use crate::producers::entry::{ProducerEntry, RememberedBatch};
use crate::producers::marker::Marker;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::transaction_index::AbortedTransaction;

/// From this transaction protocol on each transaction has an epoch of its own.
pub(crate) const TRANSACTIONS_V2: i8 = 2;

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    open: BTreeMap<Offset, ProducerId>,
}

impl ProducerState {
    /// Checks a batch that a client sends.
    ///
    /// # Errors
    /// It does not follow what is stored.
    pub fn check(&self, header: &BatchHeader) -> Result<Option<RememberedBatch>, SequenceError> {
        let Some(producer) = header.producer else { return Ok(None) };
        let Some(entry) = self.producers.get(&producer.id) else { return Ok(None) };
        if let Some(known) = entry.duplicate(header, producer) {
            return Ok(Some(known));
        }
        if producer.epoch < entry.epoch {
            return Err(SequenceError::Epoch { epoch: producer.epoch, current: entry.epoch });
        }
        let sequence = producer.base_sequence;
        if producer.epoch != entry.epoch {
            return if sequence == 0 {
                Ok(None)
            } else {
                Err(SequenceError::Sequence { sequence, last: -1 })
            };
        }
        // After a marker alone the last is -1, and 0 follows (Kafka: `ProducerAppendInfo`).
        let last = entry.last_sequence();
        let follows = sequence == last.wrapping_add(1) & i32::MAX;
        if follows { Ok(None) } else { Err(SequenceError::Sequence { sequence, last }) }
    }

    /// Remembers a batch that was appended at `header.base_offset`.
    pub fn on_appended(&mut self, header: &BatchHeader) {
        let Some(producer) = header.producer else { return };
        let entry = self.entry(producer);
        entry.last_timestamp = header.max_timestamp;
        entry.remember(header);
        // A control batch that is no marker opens nothing.
        let is_data = !header.attributes.is_control();
        if is_data
            && header.attributes.is_transactional()
            && entry.transaction_first_offset.is_none()
        {
            entry.transaction_first_offset = Some(header.base_offset);
            self.open.insert(header.base_offset, producer.id);
        }
    }

    /// Ends a transaction by a marker that was appended at `header.base_offset`; gives the
    /// aborted transaction if it was one.
    pub fn on_marker(
        &mut self,
        header: &BatchHeader,
        marker: Marker,
    ) -> Option<AbortedTransaction> {
        let producer = header.producer?;
        let entry = self.entry(producer);
        entry.last_timestamp = header.max_timestamp;
        entry.coordinator_epoch = entry.coordinator_epoch.max(marker.coordinator_epoch);
        let first_offset = entry.transaction_first_offset.take()?;
        self.open.remove(&first_offset);
        let last_stable_offset = self.first_unstable_offset().unwrap_or(header.next_offset());
        (!marker.is_commit).then_some(AbortedTransaction {
            producer_id: producer.id,
            first_offset,
            last_offset: header.base_offset,
            last_stable_offset,
        })
    }

    /// Checks that no newer instance of a producer is known.
    ///
    /// # Errors
    /// One is.
    pub fn check_epoch(&self, producer: Producer) -> Result<(), SequenceError> {
        match self.producers.get(&producer.id) {
            Some(entry) if producer.epoch < entry.epoch => {
                Err(SequenceError::Epoch { epoch: producer.epoch, current: entry.epoch })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks a marker: neither its producer nor its coordinator may be replaced by now. With
    /// transactions v2 each transaction ends with an epoch of its own, so a marker that comes late
    /// is told from the one that the open transaction waits for (KIP-890).
    pub(crate) fn check_marker(
        &self,
        producer: Producer,
        marker: Marker,
        transaction_version: i8,
    ) -> Result<(), AppendError> {
        let Some(entry) = self.producers.get(&producer.id) else { return Ok(()) };
        let is_late = transaction_version >= TRANSACTIONS_V2
            && producer.epoch == entry.epoch
            && entry.transaction_first_offset.is_some();
        if producer.epoch < entry.epoch || is_late {
            let (epoch, current) = (producer.epoch, entry.epoch);
            return Err(SequenceError::Epoch { epoch, current }.into());
        }
        if marker.coordinator_epoch < entry.coordinator_epoch {
            let (epoch, current) = (marker.coordinator_epoch, entry.coordinator_epoch);
            return Err(TransactionError::CoordinatorFenced { epoch, current }.into());
        }
        Ok(())
    }

    /// Whether the marker of this producer and epoch is here already.
    pub(crate) fn is_ended(&self, producer: Producer, transaction_version: i8) -> bool {
        transaction_version >= TRANSACTIONS_V2
            && self.producers.get(&producer.id).is_some_and(|entry| {
                entry.epoch == producer.epoch && entry.transaction_first_offset.is_none()
            })
    }

    /// Whether a producer has a transaction open, in this epoch.
    #[must_use]
    pub fn is_in_transaction(&self, producer: Producer) -> bool {
        self.producers.get(&producer.id).is_some_and(|entry| {
            entry.epoch == producer.epoch && entry.transaction_first_offset.is_some()
        })
    }

    fn entry(&mut self, producer: Producer) -> &mut ProducerEntry {
        let entry =
            self.producers.entry(producer.id).or_insert_with(|| ProducerEntry::new(producer.epoch));
        if producer.epoch > entry.epoch {
            entry.epoch = producer.epoch;
            entry.batches.clear();
        }
        entry
    }

    /// Where the oldest open transaction begins.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        if is_seeded(SeededBug::LastStableOffsetIgnoresOpenTransaction) {
            return None;
        }
        self.open.keys().next().copied()
    }

    /// Whether a transaction is open whose producer last wrote before `since`, as far as its
    /// records have times.
    #[must_use]
    pub fn has_transaction_before(&self, since: Timestamp) -> bool {
        let is_before = |id| {
            let last = self.producers.get(id).map(|producer| producer.last_timestamp);
            last.is_some_and(|last| last.0 > 0 && last < since)
        };
        self.open.values().any(is_before)
    }

    /// Forgets producers that have not written for `expiration_ms`; one in a transaction stays.
    pub fn expire(&mut self, wall: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.transaction_first_offset.is_some()
                || wall.0.saturating_sub(entry.last_timestamp.0) < expiration_ms
        });
    }

    /// Where a producer's open transaction begins.
    #[must_use]
    pub fn open_transaction(&self, id: ProducerId) -> Option<Offset> {
        self.producers.get(&id)?.transaction_first_offset
    }

    /// The producers.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    pub(crate) fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first_offset) = entry.transaction_first_offset {
            self.open.insert(first_offset, id);
        }
        self.producers.insert(id, entry);
    }
}

#[cfg(test)]
mod tests;
