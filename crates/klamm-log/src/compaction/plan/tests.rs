//! Which logs are cleaned, which first, and which segments become one.

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
    let behind =
        LogFacts { cleaned_to: Some(Offset(5)), log_start_offset: Offset(12), ..facts(&segments) };
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
