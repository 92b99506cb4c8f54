//! What to clean: the dirty part of a log, the filthiest of several logs, and which segments
//! become one (Kafka: `LogCleanerManager`, `LogToClean`, `Cleaner.groupSegmentsBySize`). Decides
//! over numbers; never looks into a file.

use klamm_model::{Offset, Timestamp};

use crate::config::LogConfig;

/// Segments that become one at once: their files are renamed under the log's lock.
const GROUP_SEGMENTS_MAX: usize = 64;

/// A segment, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub(super) base_offset: Offset,
    pub(super) size: u64,
    /// The largest timestamp in it; -1 if there is none.
    pub(super) max_timestamp: Timestamp,
}

/// A log, in numbers. The last segment is the active one.
#[derive(Debug, Clone)]
pub(super) struct LogFacts<'a> {
    pub(super) segments: &'a [SegmentFacts],
    pub(super) log_start_offset: Offset,
    pub(super) log_end_offset: Offset,
    pub(super) last_stable_offset: Offset,
    /// What an earlier run has come to.
    pub(super) cleaned_to: Option<Offset>,
    pub(super) now: Timestamp,
}

/// How much of a log there is to clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assessment {
    /// Everything below was cleaned.
    pub first_dirty_offset: Offset,
    /// Nothing from here on may be cleaned yet; the start of a segment.
    pub first_uncleanable_offset: Offset,
    /// Up to here every transaction was decided, and records committed.
    pub last_stable_offset: Offset,
    /// Bytes of segments that begin below the first.
    pub clean_bytes: u64,
    /// Bytes of segments between the two.
    pub cleanable_bytes: u64,
    /// How long something has been dirty beyond `max.compaction.lag.ms` (KIP-354); 0 if nothing.
    pub overdue_ms: i64,
    /// What must be dirty before it is worth while: `min.cleanable.dirty.ratio`.
    pub min_ratio: f64,
}

impl Assessment {
    /// Which part of what can be cleaned is dirty.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether it should be cleaned now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        (self.overdue_ms > 0 && self.cleanable_bytes > 0) || self.ratio() > self.min_ratio
    }
}

/// The number of the log that should be cleaned first; `None` if none is due.
#[must_use]
pub fn filthiest(logs: &[Assessment]) -> Option<usize> {
    let due = logs.iter().enumerate().filter(|(_, log)| log.is_due());
    due.max_by(|(_, a), (_, b)| a.ratio().total_cmp(&b.ratio())).map(|(i, _)| i)
}

impl LogFacts<'_> {
    fn sealed(&self) -> &[SegmentFacts] {
        self.segments.split_last().map_or(&[], |(_, sealed)| sealed)
    }

    /// Where cleaning begins. A checkpoint from outside the log counts for nothing.
    pub(super) fn first_dirty_offset(&self) -> Offset {
        let is_inside =
            |offset: &Offset| (self.log_start_offset..=self.log_end_offset).contains(offset);
        self.cleaned_to.filter(is_inside).unwrap_or(self.log_start_offset)
    }

    /// The sealed segments with something dirty in them.
    pub(super) fn dirty_sealed(&self) -> &[SegmentFacts] {
        let (first, sealed) = (self.first_dirty_offset(), self.sealed());
        let from = self.segments.partition_point(|s| s.base_offset <= first).saturating_sub(1);
        &sealed[from.min(sealed.len())..]
    }

    /// The start of the first segment that must not be touched: the active one, one with
    /// undecided records, or one that is too young.
    fn first_uncleanable_offset(&self, config: &LogConfig) -> Offset {
        let first_dirty = self.first_dirty_offset();
        let active = self.segments.last().map_or(self.log_end_offset, |s| s.base_offset);
        let limit = self.now.0.saturating_sub(config.min_compaction_lag_ms.max(0));
        let is_young =
            |s: &&SegmentFacts| config.min_compaction_lag_ms > 0 && s.max_timestamp.0 > limit;
        let young = self.dirty_sealed().iter().find(is_young).map(|s| s.base_offset);
        let offset = self.last_stable_offset.min(active).min(young.unwrap_or(active));
        let offset = offset.max(first_dirty);
        let holder = self.segments.partition_point(|s| s.base_offset <= offset);
        let start = holder.checked_sub(1).map_or(offset, |i| self.segments[i].base_offset);
        start.min(active)
    }

    /// How much there is to clean. `first_timestamps` are those of the first batches of
    /// [`Self::dirty_sealed`]; they are asked for only if `max.compaction.lag.ms` is set.
    pub(super) fn assess(&self, config: &LogConfig, first_timestamps: &[Timestamp]) -> Assessment {
        let first_dirty_offset = self.first_dirty_offset();
        let first_uncleanable_offset = self.first_uncleanable_offset(config);
        let bytes = |is_meant: &dyn Fn(&SegmentFacts) -> bool| -> u64 {
            self.segments.iter().filter(|s| is_meant(s)).map(|s| s.size).sum()
        };
        let from = self.dirty_sealed().first().map_or(first_uncleanable_offset, |s| s.base_offset);
        let earliest = first_timestamps.iter().filter(|t| t.0 > 0).min();
        let clean_until = self.now.0.saturating_sub(config.max_compaction_lag_ms.max(0));
        Assessment {
            first_dirty_offset,
            first_uncleanable_offset,
            last_stable_offset: self.last_stable_offset,
            clean_bytes: bytes(&|s| s.base_offset < first_dirty_offset),
            cleanable_bytes: bytes(&|s| {
                s.base_offset >= from && s.base_offset < first_uncleanable_offset
            }),
            overdue_ms: earliest.map_or(0, |t| clean_until.saturating_sub(t.0).max(0)),
            min_ratio: config.min_cleanable_dirty_ratio,
        }
    }
}

/// A segment and its indexes, as far as they matter for joining it with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joinable {
    pub(super) base_offset: Offset,
    /// Where the next one begins.
    pub(super) end_offset: Offset,
    pub(super) size: u64,
    pub(super) index_bytes: u64,
    pub(super) time_index_bytes: u64,
}

/// How many segments become one, group by group: no group is larger than a segment may be, even
/// if nothing falls out.
pub(super) fn group(segments: &[Joinable], config: &LogConfig) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some((first, others)) = rest.split_first() {
        let mut sum = *first;
        let mut n = 1;
        for next in others {
            let joined = Joinable {
                base_offset: first.base_offset,
                end_offset: next.end_offset,
                size: sum.size + next.size,
                index_bytes: sum.index_bytes + next.index_bytes,
                time_index_bytes: sum.time_index_bytes + next.time_index_bytes,
            };
            // An empty segment has no offsets that an index would have to name.
            let is_near = next.size == 0
                || joined.end_offset.0 - 1 - joined.base_offset.0 <= i64::from(i32::MAX);
            let fits = joined.size <= config.segment_bytes
                && joined.index_bytes <= config.segment_index_bytes
                && joined.time_index_bytes <= config.segment_index_bytes;
            if !fits || !is_near || n == GROUP_SEGMENTS_MAX {
                break;
            }
            sum = joined;
            n += 1;
        }
        groups.push(n);
        rest = &rest[n..];
    }
    groups
}

#[cfg(test)]
mod tests;
