//! One idempotent producer and its last batches, by which one that is sent twice is known.

use std::collections::VecDeque;

use klamm_model::{Offset, ProducerEpoch, Timestamp};
use klamm_records::{BatchHeader, Producer};

use crate::seeded_bugs::{SeededBug, is_seeded};

/// Batches remembered of each producer; a client has no more in flight.
pub(crate) const BATCHES_MAX: usize = 5;

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
    pub(crate) fn new(epoch: ProducerEpoch) -> Self {
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

    /// Remembers a batch that was appended, if it has sequence numbers.
    pub(crate) fn remember(&mut self, header: &BatchHeader) {
        let Some(last_sequence) = header.last_sequence() else { return };
        let lost = usize::from(is_seeded(SeededBug::DuplicateWindowOffByOne));
        if self.batches.len() == BATCHES_MAX - lost {
            self.batches.pop_front();
        }
        self.batches.push_back(RememberedBatch {
            last_sequence,
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
    }

    /// The remembered batch that this one is.
    pub(crate) fn duplicate(
        &self,
        header: &BatchHeader,
        producer: Producer,
    ) -> Option<RememberedBatch> {
        if producer.epoch != self.epoch || producer.base_sequence < 0 {
            return None;
        }
        let last_sequence = header.last_sequence()?;
        let is_same = |known: &&RememberedBatch| {
            known.first_sequence() == producer.base_sequence && known.last_sequence == last_sequence
        };
        self.batches.iter().find(is_same).copied()
    }
}
