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
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// Segments of 100 bytes and 10 offsets each; the last is active.
    fn segments(n: i64) -> Vec<SegmentFacts> {
        let segment = |i: i64| SegmentFacts {
            base_offset: Offset(i * 10),
            size: 100,
            max_timestamp: Timestamp(1000 * (i + 1)),
        };
        (0..n).map(segment).collect()
    }

    fn facts(segments: &[SegmentFacts]) -> LogFacts<'_> {
        let end = Offset(segments.len() as i64 * 10);
        LogFacts {
            segments,
            log_start_offset: Offset(0),
            log_end_offset: end,
            last_stable_offset: end,
            cleaned_to: None,
            now: NOW,
        }
    }

    fn range(facts: &LogFacts<'_>, config: &LogConfig) -> (i64, i64) {
        let found = facts.assess(config, &[]);
        (found.first_dirty_offset.0, found.first_uncleanable_offset.0)
    }

    #[test]
    fn all_but_the_active_segment_is_cleanable() {
        let segments = segments(5);
        let found = facts(&segments).assess(&LogConfig::default(), &[]);
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (0, 400));
        assert_eq!(range(&facts(&segments), &LogConfig::default()), (0, 40));
        assert!(found.is_due());
    }

    #[test]
    fn what_was_cleaned_is_not_dirty() {
        let segments = segments(5);
        let log = LogFacts { cleaned_to: Some(Offset(30)), ..facts(&segments) };
        let found = log.assess(&LogConfig::default(), &[]);
        assert_eq!((found.clean_bytes, found.cleanable_bytes), (300, 100));
        assert!((found.ratio() - 0.25).abs() < f64::EPSILON && !found.is_due());
        let all = LogFacts { cleaned_to: Some(Offset(40)), ..facts(&segments) };
        let found = all.assess(&LogConfig::default(), &[]);
        assert_eq!((found.clean_bytes, found.cleanable_bytes, found.is_due()), (400, 0, false));
    }

    #[test]
    fn a_checkpoint_outside_the_log_counts_for_nothing() {
        let segments = segments(5);
        let ahead = LogFacts { cleaned_to: Some(Offset(51)), ..facts(&segments) };
        assert_eq!(range(&ahead, &LogConfig::default()), (0, 40));
        let behind = LogFacts {
            cleaned_to: Some(Offset(5)),
            log_start_offset: Offset(12),
            ..facts(&segments)
        };
        assert_eq!(range(&behind, &LogConfig::default()), (12, 40));
    }

    #[test]
    fn the_segment_with_the_last_stable_offset_stays() {
        let segments = segments(5);
        for (stable, end) in [(50, 40), (40, 40), (39, 30), (30, 30), (25, 20), (3, 0), (0, 0)] {
            let log = LogFacts { last_stable_offset: Offset(stable), ..facts(&segments) };
            assert_eq!(range(&log, &LogConfig::default()), (0, end), "stable up to {stable}");
        }
    }

    #[test]
    fn young_segments_stay() {
        let segments = segments(5);
        let config = LogConfig { min_compaction_lag_ms: NOW.0 - 2000, ..LogConfig::default() };
        assert_eq!(range(&facts(&segments), &config), (0, 20));
    }

    #[test]
    fn what_is_dirty_for_too_long_is_due_whatever_the_ratio() {
        let segments = segments(5);
        let log = LogFacts { cleaned_to: Some(Offset(30)), ..facts(&segments) };
        let config = LogConfig { max_compaction_lag_ms: 1000, ..LogConfig::default() };
        let old = log.assess(&config, &[Timestamp(NOW.0 - 1001)]);
        assert_eq!((old.overdue_ms, old.is_due()), (1, true));
        let young = log.assess(&config, &[Timestamp(NOW.0 - 1000)]);
        assert_eq!((young.overdue_ms, young.is_due()), (0, false));
        let none = log.assess(&config, &[Timestamp(-1)]);
        assert!(!none.is_due(), "a batch without a time is never overdue");
    }

    #[test]
    fn the_filthiest_log_that_is_due_comes_first() {
        let log = |clean_bytes, cleanable_bytes| Assessment {
            first_dirty_offset: Offset(0),
            first_uncleanable_offset: Offset(1),
            last_stable_offset: Offset(1),
            clean_bytes,
            cleanable_bytes,
            overdue_ms: 0,
            min_ratio: 0.5,
        };
        assert_eq!(filthiest(&[log(10, 11), log(10, 30), log(10, 0), log(0, 0)]), Some(1));
        assert_eq!(filthiest(&[log(10, 10), log(0, 0)]), None);
        let overdue = Assessment { overdue_ms: 1, ..log(10, 1) };
        assert_eq!(filthiest(&[log(10, 10), overdue]), Some(1));
        assert_eq!(filthiest(&[]), None);
    }

    fn joinable(sizes: &[u64]) -> Vec<Joinable> {
        let segment = |(i, size): (usize, &u64)| Joinable {
            base_offset: Offset(i as i64 * 10),
            end_offset: Offset(i as i64 * 10 + 10),
            size: *size,
            index_bytes: 8,
            time_index_bytes: 12,
        };
        sizes.iter().enumerate().map(segment).collect()
    }

    #[test]
    fn segments_join_up_to_the_size_of_one() {
        let config = LogConfig { segment_bytes: 100, ..LogConfig::default() };
        assert_eq!(group(&joinable(&[40, 60, 1, 99, 200, 0, 0]), &config), [2, 2, 1, 2]);
        assert_eq!(group(&[], &config), Vec::<usize>::new());
        let config = LogConfig { segment_index_bytes: 24, ..LogConfig::default() };
        assert_eq!(group(&joinable(&[1; 5]), &config), [2, 2, 1], "the time indexes fill up");
        assert_eq!(group(&joinable(&[1; 65]), &LogConfig::default()), [64, 1]);
    }

    #[test]
    fn a_group_spans_no_more_offsets_than_an_index_can_name() {
        let mut segments = joinable(&[1, 1]);
        segments[1].end_offset = Offset(i64::from(i32::MAX) + 1);
        assert_eq!(group(&segments, &LogConfig::default()), [2]);
        segments[1].end_offset = Offset(i64::from(i32::MAX) + 2);
        assert_eq!(group(&segments, &LogConfig::default()), [1, 1]);
        segments[1].size = 0;
        assert_eq!(group(&segments, &LogConfig::default()), [2]);
    }
}
