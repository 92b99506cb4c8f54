//! Which records of a batch stay (Kafka: `Cleaner.shouldRetainRecord`), and where they are.
//!
//! ```text
//! every record superseded ──▶ none stays, and none is looked at
//! known of every record   ──▶ a walk over the records, a bit each
//! not known               ──▶ the table is asked for their keys, many at a time
//! ```

use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, RawRecord, RawRecords, RecordsError, TimestampType};

use super::keys::{AT_ONCE, KeyOffsets};
use super::rewrite::Survivors;
use super::rules::{Rules, Seen};
use crate::seeded_bugs::{SeededBug, is_seeded};

/// A record whose fate is asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Question {
    hash: Option<u128>,
    offset: Offset,
    /// Where it is in the body.
    start: usize,
    end: usize,
    timestamp: Timestamp,
    is_tombstone: bool,
}

impl Survivors {
    fn clear(&mut self) {
        self.ranges.clear();
        (self.count, self.max_timestamp) = (0, Timestamp(-1));
    }

    #[inline]
    fn add(&mut self, record: &Question) {
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        match self.ranges.last_mut().filter(|last| last.end == record.start) {
            Some(last) => last.end = record.end,
            None => self.ranges.push(record.start..record.end),
        }
    }
}

/// A walk over the records of one batch.
pub(super) struct Walk<'a> {
    header: &'a BatchHeader,
    /// The time of all records, if it is that of their arrival.
    append_time: Option<Timestamp>,
    keys: &'a KeyOffsets,
    drops_tombstones: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(header: &'a BatchHeader, rules: &Rules, keys: &'a KeyOffsets) -> Self {
        let append_time = (header.attributes.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(header.max_timestamp);
        let drops_tombstones = header.delete_horizon().is_some_and(|at| at <= rules.now)
            || is_seeded(SeededBug::TombstoneDroppedEarly);
        Self { header, append_time, keys, drops_tombstones }
    }

    /// Whether a newer record of its key has come after each record.
    pub(super) fn is_superseded_whole(&self) -> bool {
        // A bit is of a record, and a batch holds all records between its offsets.
        self.keys.has_decided(self.header)
            && self.keys.superseded().count(self.header)
                == u64::from(self.header.record_count.unsigned_abs())
    }

    /// Finds the survivors in `body`; gives whether a tombstone is among them.
    pub(super) fn survivors(
        &self,
        body: &[u8],
        found: &mut Survivors,
        seen: &mut Seen,
    ) -> Result<bool, RecordsError> {
        found.clear();
        if self.keys.has_decided(self.header) {
            self.by_bits(body, found, seen)
        } else {
            self.by_keys(body, found, seen)
        }
    }

    fn by_bits(
        &self,
        body: &[u8],
        found: &mut Survivors,
        seen: &mut Seen,
    ) -> Result<bool, RecordsError> {
        let (mut at, mut has_tombstones) = (0, false);
        for record in RawRecords::new(body, self.header.record_count) {
            let record = record?;
            let start = at;
            at += record.bytes.len();
            if self.keys.superseded().has(self.offset(&record)) {
                continue;
            }
            if record.key.is_none() {
                seen.without_key += 1;
                continue;
            }
            if record.is_tombstone && self.drops_tombstones {
                continue;
            }
            has_tombstones |= record.is_tombstone;
            found.add(&self.question(&record, start, None));
        }
        Ok(has_tombstones)
    }

    fn by_keys(
        &self,
        body: &[u8],
        found: &mut Survivors,
        seen: &mut Seen,
    ) -> Result<bool, RecordsError> {
        let (mut at, mut has_tombstones) = (0, false);
        let mut records = RawRecords::new(body, self.header.record_count);
        let mut some = [Question::default(); AT_ONCE];
        loop {
            let mut n = 0;
            for record in records.by_ref() {
                let record = record?;
                some[n] = self.question(&record, at, record.key.map(|key| self.keys.hash(key)));
                at = some[n].end;
                n += 1;
                if n == AT_ONCE {
                    break;
                }
            }
            self.keys.touch(some[..n].iter().filter_map(|question| question.hash));
            for question in &some[..n] {
                if self.survives(question, seen) {
                    has_tombstones |= question.is_tombstone;
                    found.add(question);
                }
            }
            if n < AT_ONCE {
                return Ok(has_tombstones);
            }
        }
    }

    #[inline]
    fn offset(&self, record: &RawRecord<'_>) -> Offset {
        self.header.base_offset.plus(i64::from(record.offset_delta))
    }

    #[inline]
    fn question(&self, record: &RawRecord<'_>, start: usize, hash: Option<u128>) -> Question {
        let own_time = self.header.base_timestamp.0.wrapping_add(record.timestamp_delta);
        Question {
            hash,
            offset: self.offset(record),
            start,
            end: start + record.bytes.len(),
            timestamp: self.append_time.unwrap_or(Timestamp(own_time)),
            is_tombstone: record.is_tombstone,
        }
    }

    #[inline]
    fn survives(&self, question: &Question, seen: &mut Seen) -> bool {
        if question.offset > self.keys.latest_offset() {
            return true;
        }
        let Some(hash) = question.hash else {
            seen.without_key += 1;
            return false;
        };
        if question.is_tombstone && self.drops_tombstones {
            return false;
        }
        self.keys.last_offset(hash).is_none_or(|last| question.offset >= last)
    }
}
