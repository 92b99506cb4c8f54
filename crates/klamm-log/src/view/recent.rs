//! Where the last batches of a log are, so that whoever reads at its end asks no file.

use std::collections::VecDeque;
use std::sync::Mutex;

use klamm_model::Offset;
use klamm_records::BatchHeader;

/// Batches whose places are remembered.
const RECENT_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(crate) struct RecentBatch {
    base_offset: Offset,
    last_offset: Offset,
    segment_base: Offset,
    pub(crate) position: u64,
    pub(crate) size: u32,
}

/// The last batches that were appended since the log was opened or cut.
#[derive(Debug, Default)]
pub(crate) struct RecentBatches {
    batches: Mutex<VecDeque<RecentBatch>>,
}

/// What is remembered of an offset.
pub(crate) enum Recent {
    Batch(RecentBatch),
    /// It is behind all that the segment holds.
    Behind,
    Unknown,
}

impl RecentBatches {
    /// A batch was written at `position` of the segment at `segment_base`.
    pub(crate) fn remember(&self, header: &BatchHeader, segment_base: Offset, position: u64) {
        let mut recent = self.batches.lock().expect("no holder of this lock can panic");
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(RecentBatch {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            segment_base,
            position,
            size: u32::try_from(header.size_in_bytes()).expect("batches are below 2 GiB"),
        });
    }

    pub(crate) fn clear(&self) {
        self.batches.lock().expect("no holder of this lock can panic").clear();
    }

    /// The places of batches in segments up to the one at `segment_base` are forgotten.
    pub(crate) fn forget_up_to(&self, segment_base: Offset) {
        let mut recent = self.batches.lock().expect("no holder of this lock can panic");
        while recent.front().is_some_and(|batch| batch.segment_base <= segment_base) {
            recent.pop_front();
        }
    }

    /// The remembered batch of the segment at `segment_base` that holds `offset`, or is the first
    /// after it. `log_end_offset` is asked for where nothing is remembered.
    pub(crate) fn find(
        &self,
        (segment_base, offset): (Offset, Offset),
        log_end_offset: impl FnOnce() -> Offset,
    ) -> Recent {
        let recent = self.batches.lock().expect("no holder of this lock can panic");
        let Some(front) = recent.front() else {
            // Nothing was appended since the log was opened or cut, so its size does not move.
            let is_behind = offset >= log_end_offset();
            return if is_behind { Recent::Behind } else { Recent::Unknown };
        };
        if front.base_offset > offset {
            return Recent::Unknown;
        }
        let n = recent.partition_point(|batch| batch.last_offset < offset);
        match recent.get(n) {
            Some(batch) if batch.segment_base == segment_base => Recent::Batch(*batch),
            Some(batch) if batch.segment_base < segment_base => Recent::Unknown,
            Some(_) | None => Recent::Behind,
        }
    }
}
