//! What is remembered of idempotent producers, so that a batch sent twice is stored once and
//! never out of order (Kafka: `ProducerStateManager`, KIP-98, KIP-360).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use klamm_model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{BatchHeader, Producer};

use crate::append::{AppendError, TransactionError};
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::transaction_index::AbortedTransaction;

/// Batches remembered of each producer; a client has no more in flight.
pub(crate) const BATCHES_MAX: usize = 5;

/// From this transaction protocol on each transaction has an epoch of its own.
pub(crate) const TRANSACTIONS_V2: i8 = 2;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedBatch {
    /// The sequence number of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Last offset less first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl RememberedBatch {
    /// The sequence number of its first record.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        // Sequence numbers wrap from the largest i32 to 0.
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }

    /// The offset of its first record.
    #[must_use]
    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Its last batches, oldest first.
    pub batches: VecDeque<RememberedBatch>,
    /// When it last wrote.
    pub last_timestamp: Timestamp,
    /// Where its open transaction begins in this partition.
    pub transaction_first_offset: Option<Offset>,
    /// The epoch of the coordinator that last ended a transaction of it; -1 before.
    pub coordinator_epoch: i32,
}

impl ProducerEntry {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: Timestamp(-1),
            transaction_first_offset: None,
            coordinator_epoch: -1,
        }
    }

    /// The sequence number of its last record; -1 if none is remembered.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceError {
    /// INVALID_PRODUCER_EPOCH: a newer instance of the producer exists.
    Epoch {
        /// Of the batch.
        epoch: ProducerEpoch,
        /// The newest.
        current: ProducerEpoch,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before this one is missing.
    Sequence {
        /// Of the batch's first record.
        sequence: i32,
        /// Of the last record that is stored; -1 for none.
        last: i32,
    },
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch, current } => {
                write!(
                    f,
                    "producer epoch {epoch} is older than {current}: another instance took over"
                )
            }
            Self::Sequence { sequence, last } => {
                write!(f, "sequence number {sequence} does not follow {last}: a batch is missing")
            }
        }
    }
}

impl std::error::Error for SequenceError {}

/// A batch that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whether the transaction is committed.
    pub is_commit: bool,
    /// The epoch of the coordinator that says so.
    pub coordinator_epoch: i32,
}

impl From<klamm_records::EndTxnMarker> for Marker {
    fn from(marker: klamm_records::EndTxnMarker) -> Self {
        Self { is_commit: !marker.is_abort, coordinator_epoch: marker.coordinator_epoch }
    }
}

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
        if let Some(known) = duplicate(entry, header, producer) {
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
        if let Some(last_sequence) = header.last_sequence() {
            let lost = usize::from(is_seeded(SeededBug::DuplicateWindowOffByOne));
            if entry.batches.len() == BATCHES_MAX - lost {
                entry.batches.pop_front();
            }
            entry.batches.push_back(RememberedBatch {
                last_sequence,
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: header.max_timestamp,
            });
        }
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

fn duplicate(
    entry: &ProducerEntry,
    header: &BatchHeader,
    producer: Producer,
) -> Option<RememberedBatch> {
    if producer.epoch != entry.epoch || producer.base_sequence < 0 {
        return None;
    }
    let last_sequence = header.last_sequence()?;
    let is_same = |known: &&RememberedBatch| {
        known.first_sequence() == producer.base_sequence && known.last_sequence == last_sequence
    };
    entry.batches.iter().find(is_same).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::LeaderEpoch;
    use klamm_records::Attributes;

    #[test]
    fn only_open_transactions_of_producers_that_are_silent_are_late() {
        let mut state = ProducerState::default();
        let mut header = batch(0, 0, 1, 0);
        header.attributes = header.attributes.transactional();
        header.max_timestamp = Timestamp(1000);
        state.on_appended(&header);
        assert!(state.has_transaction_before(Timestamp(1001)));
        assert!(!state.has_transaction_before(Timestamp(1000)));
        state.on_marker(&header, Marker { is_commit: true, coordinator_epoch: 0 });
        assert!(!state.has_transaction_before(Timestamp(1001)), "it has ended");
        header.max_timestamp = Timestamp(-1);
        state.on_appended(&header);
        assert!(!state.has_transaction_before(Timestamp(1001)), "its records have no time");
    }

    fn batch(epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(base_offset),
            batch_length: 100,
            partition_leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: count - 1,
            base_timestamp: Timestamp(0),
            max_timestamp: Timestamp(0),
            producer: Some(Producer {
                id: ProducerId(7),
                epoch: ProducerEpoch(epoch),
                base_sequence: sequence,
            }),
            record_count: count,
        }
    }

    fn state(batches: &[BatchHeader]) -> ProducerState {
        let mut state = ProducerState::default();
        for header in batches {
            assert_eq!(state.check(header), Ok(None));
            state.on_appended(header);
        }
        state
    }

    #[test]
    fn a_batch_sent_twice_is_answered_with_the_first_append() {
        let state = state(&[batch(0, 0, 3, 100), batch(0, 3, 2, 103)]);
        let known = state.check(&batch(0, 0, 3, 999)).unwrap().unwrap();
        assert_eq!((known.first_offset(), known.last_offset), (Offset(100), Offset(102)));
        assert!(state.check(&batch(0, 3, 2, 0)).unwrap().is_some());
    }

    #[test]
    fn the_last_five_batches_are_remembered_and_no_more() {
        let batches: Vec<BatchHeader> = (0..6).map(|i| batch(0, i, 1, i64::from(i))).collect();
        let state = state(&batches);
        assert!(state.check(&batches[1]).unwrap().is_some());
        assert_eq!(state.check(&batches[0]), Err(SequenceError::Sequence { sequence: 0, last: 5 }));
    }

    #[test]
    fn a_gap_or_a_step_back_is_refused() {
        let state = state(&[batch(0, 0, 3, 0)]);
        assert_eq!(
            state.check(&batch(0, 4, 1, 0)),
            Err(SequenceError::Sequence { sequence: 4, last: 2 })
        );
        assert_eq!(
            state.check(&batch(0, 2, 1, 0)),
            Err(SequenceError::Sequence { sequence: 2, last: 2 })
        );
        assert_eq!(state.check(&batch(0, 3, 1, 0)), Ok(None));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut state = state(&[batch(0, 0, 3, 0)]);
        assert_eq!(
            state.check(&batch(1, 3, 1, 3)),
            Err(SequenceError::Sequence { sequence: 3, last: -1 })
        );
        state.on_appended(&batch(1, 0, 1, 3));
        let error = SequenceError::Epoch { epoch: ProducerEpoch(0), current: ProducerEpoch(1) };
        assert_eq!(state.check(&batch(0, 3, 1, 4)), Err(error));
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        let state = state(&[batch(0, i32::MAX - 1, 2, 0)]);
        assert_eq!(state.check(&batch(0, 0, 1, 2)), Ok(None));
        let wrapping = self::state(&[batch(0, i32::MAX - 1, 4, 0)]);
        assert!(wrapping.check(&batch(0, i32::MAX - 1, 4, 9)).unwrap().is_some());
        assert_eq!(wrapping.check(&batch(0, 2, 1, 4)), Ok(None));
    }

    #[test]
    fn a_producer_that_is_not_known_may_begin_anywhere() {
        assert_eq!(ProducerState::default().check(&batch(3, 55, 1, 0)), Ok(None));
    }

    #[test]
    fn an_open_transaction_holds_back_the_stable_offset_until_its_marker() {
        let mut state = ProducerState::default();
        let mut data = batch(0, 0, 2, 10);
        data.attributes = data.attributes.transactional();
        state.on_appended(&data);
        assert_eq!(state.first_unstable_offset(), Some(Offset(10)));
        let mut end = batch(0, -1, 1, 12);
        end.attributes = end.attributes.transactional().control();
        let aborted =
            state.on_marker(&end, Marker { is_commit: false, coordinator_epoch: 0 }).unwrap();
        assert_eq!((aborted.first_offset, aborted.last_offset), (Offset(10), Offset(12)));
        assert_eq!(aborted.last_stable_offset, Offset(13));
        assert_eq!(state.first_unstable_offset(), None);
    }

    #[test]
    fn silent_producers_are_forgotten_but_not_within_a_transaction() {
        let mut state = state(&[batch(0, 0, 1, 0)]);
        state.expire(Timestamp(99), 100);
        assert_eq!(state.len(), 1);
        state.expire(Timestamp(100), 100);
        assert_eq!(state.len(), 0);
        let mut data = batch(0, 0, 1, 0);
        data.attributes = data.attributes.transactional();
        state.on_appended(&data);
        state.expire(Timestamp(100_000), 100);
        assert_eq!(state.len(), 1);
    }
}
