//! What the two sparse indexes of a segment say, compared with its batches as they come by. An
//! index may lack entries; those that it has must be true.

use std::path::{Path, PathBuf};

use klamm_model::{Offset, Timestamp};
use klamm_records::BatchHeader;

use super::{CURE_INDEX, Findings};
use crate::segment::index::{
    ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeIndexEntry, decode_index, decode_time_index,
};

/// The entries of a segment's indexes that no batch has confirmed yet.
#[derive(Debug)]
pub(super) struct Expected {
    base: Offset,
    index: PathBuf,
    time_index: PathBuf,
    offsets: Vec<IndexEntry>,
    times: Vec<TimeIndexEntry>,
    next_offset: usize,
    next_time: usize,
    /// The largest timestamps so far: of batches with records, and of all (Kafka counts a batch
    /// whose records compaction took when it makes an index anew).
    max_of_records: Timestamp,
    max_of_all: Timestamp,
}

/// Whether bytes behind the last entry are the zeros of a file that was allocated ahead.
fn is_unused(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}

impl Expected {
    /// The entries in the files' bytes; what is no entry is told of.
    pub(super) fn new(
        base: Offset,
        (index, index_bytes): (&Path, &[u8]),
        (time_index, time_bytes): (&Path, &[u8]),
        findings: &mut Findings,
    ) -> Self {
        let (offsets, times) = (decode_index(index_bytes), decode_time_index(time_bytes));
        let files = [
            (index, index_bytes, offsets.len() * ENTRY_BYTES),
            (time_index, time_bytes, times.len() * TIME_ENTRY_BYTES),
        ];
        for (path, bytes, used) in files {
            if !is_unused(&bytes[used..]) {
                let what = "what is there is no entry, or not behind the one before it".to_owned();
                findings.damage(path, Some(used as u64), (what, CURE_INDEX));
            }
        }
        Self {
            base,
            index: index.to_owned(),
            time_index: time_index.to_owned(),
            offsets,
            times,
            next_offset: 0,
            next_time: 0,
            max_of_records: Timestamp(-1),
            max_of_all: Timestamp(-1),
        }
    }

    /// A batch comes by.
    pub(super) fn on_batch(&mut self, header: &BatchHeader, position: u64, to: &mut Findings) {
        self.settle_times(header.base_offset, to);
        while let Some(entry) = self.offsets.get(self.next_offset).copied() {
            let at = u64::from(entry.position);
            if at > position {
                break;
            }
            let offset = self.base.plus(i64::from(entry.relative_offset));
            let place = (self.next_offset * ENTRY_BYTES) as u64;
            if at < position {
                let what = format!("it leads to byte {at}, where no batch begins");
                to.damage(&self.index, Some(place), (what, CURE_INDEX));
            } else if offset != header.last_offset() {
                let last = header.last_offset();
                let what = format!("the batch at byte {at} ends with offset {last}, not {offset}");
                to.damage(&self.index, Some(place), (what, CURE_INDEX));
            }
            self.next_offset += 1;
        }
        self.max_of_all = self.max_of_all.max(header.max_timestamp);
        if header.record_count > 0 {
            self.max_of_records = self.max_of_records.max(header.max_timestamp);
        }
    }

    /// Entries of the time index for what lies before `offset` are compared.
    fn settle_times(&mut self, offset: Offset, to: &mut Findings) {
        while let Some(entry) = self.times.get(self.next_time).copied() {
            let last = self.base.plus(i64::from(entry.relative_offset));
            if last >= offset {
                break;
            }
            if entry.timestamp != self.max_of_records && entry.timestamp != self.max_of_all {
                let what = format!(
                    "up to offset {last} the latest timestamp is {}, not {}",
                    self.max_of_records, entry.timestamp
                );
                let place = (self.next_time * TIME_ENTRY_BYTES) as u64;
                to.damage(&self.time_index, Some(place), (what, CURE_INDEX));
            }
            self.next_time += 1;
        }
    }

    /// The segment ends; `must_be_whole` if nothing is appended to it any more.
    pub(super) fn finish(mut self, must_be_whole: bool, to: &mut Findings) {
        let last = self.times.last().copied();
        self.settle_times(Offset(i64::MAX), to);
        if self.next_offset < self.offsets.len() {
            let place = (self.next_offset * ENTRY_BYTES) as u64;
            let what = "it leads beyond the last batch".to_owned();
            to.damage(&self.index, Some(place), (what, CURE_INDEX));
        }
        let is_short = last.is_none_or(|last| last.timestamp < self.max_of_records);
        if must_be_whole && is_short && self.max_of_records.0 >= 0 {
            let max = self.max_of_records;
            let what = format!("the segment's latest timestamp {max} is not in it");
            to.damage(&self.time_index, None, (what, CURE_INDEX));
        }
    }
}
