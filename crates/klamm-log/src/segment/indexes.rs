//! The indexes of one segment in memory, and how much of them is in their files. Never touches a
//! file itself.

use klamm_model::{Offset, Timestamp};
use klamm_records::BatchHeader;

use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::index::{ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeIndexEntry, relative};

/// The indexes of a segment that is or was appended to in this life.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    pub(crate) offsets: Vec<IndexEntry>,
    pub(crate) times: Vec<TimeIndexEntry>,
    /// How many of each are in their files.
    pub(crate) offsets_saved: usize,
    pub(crate) times_saved: usize,
}

impl Indexes {
    /// As they were read from their files.
    pub(crate) fn saved(offsets: Vec<IndexEntry>, times: Vec<TimeIndexEntry>) -> Self {
        let (offsets_saved, times_saved) = (offsets.len(), times.len());
        Self { offsets, times, offsets_saved, times_saved }
    }

    /// Entries for a batch at `position` of the segment at `base_offset`: where it is, and the
    /// largest timestamp up to its end.
    pub(crate) fn add_entries(
        &mut self,
        base_offset: Offset,
        (header, position): (&BatchHeader, u64),
        max_timestamp: (Timestamp, Offset),
    ) {
        let relative_offset = relative(header.last_offset(), base_offset);
        if let (Some(mut relative_offset), Ok(position)) =
            (relative_offset, u32::try_from(position))
        {
            if is_seeded(SeededBug::IndexEntryOffByOne) {
                relative_offset -= 1;
            }
            self.offsets.push(IndexEntry { relative_offset, position });
            self.add_time_entry(base_offset, max_timestamp);
        }
    }

    /// The largest timestamp so far, if it is larger than the last entry's.
    pub(crate) fn add_time_entry(
        &mut self,
        base_offset: Offset,
        (timestamp, offset): (Timestamp, Offset),
    ) {
        let is_new = self.times.last().is_none_or(|last| timestamp > last.timestamp);
        if let Some(relative_offset) = relative(offset, base_offset)
            && timestamp.0 >= 0
            && is_new
        {
            self.times.push(TimeIndexEntry { timestamp, relative_offset });
        }
    }

    /// Whether their files could become larger than `bytes_max` with the next batch.
    pub(crate) fn is_full(&self, bytes_max: u64) -> bool {
        let bytes = self.offsets.len() * ENTRY_BYTES;
        let time_bytes = self.times.len() * TIME_ENTRY_BYTES;
        // Room for one more entry of either, and for the last timestamp at the seal.
        let room = 2 * TIME_ENTRY_BYTES;
        (bytes.max(time_bytes) + room) as u64 > bytes_max
    }

    /// Whether entries are in memory only.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.offsets.len() > self.offsets_saved || self.times.len() > self.times_saved
    }

    /// Nothing in the files counts.
    pub(crate) fn forget_saved(&mut self) {
        self.offsets_saved = 0;
        self.times_saved = 0;
    }

    /// What the offset index's file lacks, and from which byte on.
    pub(crate) fn unsaved_offsets(&self) -> (usize, Vec<u8>) {
        let from = self.offsets_saved;
        let bytes = self.offsets[from..].iter().flat_map(|e| e.to_bytes()).collect();
        (from * ENTRY_BYTES, bytes)
    }

    /// What the time index's file lacks, and from which byte on.
    pub(crate) fn unsaved_times(&self) -> (usize, Vec<u8>) {
        let from = self.times_saved;
        let bytes = self.times[from..].iter().flat_map(|e| e.to_bytes()).collect();
        (from * TIME_ENTRY_BYTES, bytes)
    }

    /// Everything is in the files.
    pub(crate) fn on_saved(&mut self) {
        self.offsets_saved = self.offsets.len();
        self.times_saved = self.times.len();
    }
}

/// Which batches of a segment get an entry: the first, each time that more than
/// `index.interval.bytes` were passed (Kafka: `LogSegment.append`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IndexInterval {
    bytes_passed: u64,
}

impl IndexInterval {
    /// So many bytes were passed since the last entry.
    pub(crate) fn after(bytes_passed: u64) -> Self {
        Self { bytes_passed }
    }

    /// Passes a batch, and tells whether it gets an entry.
    pub(crate) fn is_due(&mut self, batch_bytes: u64, interval_bytes: u64) -> bool {
        let is_due = self.bytes_passed > interval_bytes;
        if is_due {
            self.bytes_passed = 0;
        }
        self.bytes_passed += batch_bytes;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gets_an_entry_when_more_than_the_interval_was_passed_before_it() {
        let mut interval = IndexInterval::default();
        let due: Vec<bool> = (0..6).map(|_| interval.is_due(60, 100)).collect();
        assert_eq!(due, [false, false, true, false, true, false]);
        assert!(IndexInterval::after(101).is_due(1, 100));
        assert!(!IndexInterval::after(100).is_due(1, 100), "the interval itself is not more");
    }

    #[test]
    fn only_what_the_files_lack_is_to_be_written() {
        let mut indexes = Indexes::saved(
            vec![IndexEntry { relative_offset: 1, position: 100 }],
            vec![TimeIndexEntry { timestamp: Timestamp(5), relative_offset: 1 }],
        );
        assert!(!indexes.has_unsaved());
        indexes.add_time_entry(Offset(10), (Timestamp(5), Offset(12)));
        assert!(!indexes.has_unsaved(), "no timestamp is larger than the last");
        indexes.add_time_entry(Offset(10), (Timestamp(6), Offset(12)));
        assert!(indexes.has_unsaved());
        assert_eq!(indexes.unsaved_offsets(), (ENTRY_BYTES, Vec::new()));
        let entry = TimeIndexEntry { timestamp: Timestamp(6), relative_offset: 2 };
        assert_eq!(indexes.unsaved_times(), (TIME_ENTRY_BYTES, entry.to_bytes().to_vec()));
        indexes.on_saved();
        assert!(!indexes.has_unsaved());
        indexes.forget_saved();
        assert!(indexes.has_unsaved());
    }
}
