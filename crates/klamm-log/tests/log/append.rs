//! What an append and a read at the end cost, and when a segment ends.

use crate::batches::*;
use crate::disk::MemoryDisk;
use klamm_log::{AtLeastOne, FollowError, Limits, LogConfig, ReadError};
use klamm_model::{Offset, Timestamp};

fn all(upper: Offset) -> Limits {
    Limits { bytes_max: u32::MAX, at_least_one: AtLeastOne::Batch, upper }
}

#[test]
fn an_append_is_one_write_and_no_index_is_written_before_the_seal() {
    let disk = MemoryDisk::new();
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 100, ..config() };
    let mut log = create(&disk, config);
    fill(&mut log, 1);
    let (writes, opens) = (disk.counts.of(|c| &c.writes), disk.counts.of(|c| &c.opens));
    fill(&mut log, 100);
    assert_eq!(disk.counts.of(|c| &c.writes), writes + 100);
    assert_eq!(disk.counts.of(|c| &c.opens), opens);
    assert!(!disk.names().iter().any(|name| name.ends_with("index")));
    log.roll(NOW).unwrap();
    assert!(disk.bytes(&path("00000000000000000000.index")).unwrap().len() > 8 * 40);
}

#[test]
fn a_reader_at_the_end_reads_no_file_to_find_its_place() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { segment_bytes: 1 << 20, ..config() });
    fill(&mut log, 300);
    let reads = disk.counts.of(|c| &c.reads);
    for back in 1..=200 {
        let upper = log.log_end_offset();
        let read = log.view().read(upper.plus(-back), all(upper)).unwrap();
        let first = read.slice.unwrap();
        assert!(first.len > 0);
        let bounded = log.view().read(upper.plus(-back), all(upper.plus(-back + 1))).unwrap();
        assert!(bounded.slice.unwrap().len <= first.len);
    }
    assert_eq!(disk.counts.of(|c| &c.reads), reads);
}

#[test]
fn limits_hold_and_a_larger_batch_is_given_only_to_whoever_must_progress() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 3);
    let upper = Offset(3);
    let size = |limits| log.view().read(Offset(0), limits).unwrap().slice.map(|slice| slice.len);
    let whole = size(all(upper)).unwrap();
    let one = size(Limits { bytes_max: 1, ..all(upper) }).unwrap();
    assert_eq!(one * 3, whole);
    let nothing = Limits { bytes_max: 1, at_least_one: AtLeastOne::Nothing, upper };
    assert_eq!(size(nothing), None);
    assert_eq!(size(all(Offset(2))), Some(one * 2));
    assert_eq!(size(all(Offset(0))), None);
    let outside = log.view().read(Offset(4), all(upper));
    assert!(matches!(outside, Err(ReadError::OutOfRange { .. })));
    assert!(log.view().read(Offset(3), all(upper)).unwrap().slice.is_none());
}

#[test]
fn a_segment_ends_by_size_by_time_and_by_a_full_index() {
    let count_after = |config: LogConfig, gap_ms: i64| {
        let disk = MemoryDisk::new();
        let mut log = create(&disk, config);
        for i in 0..40 {
            append(&mut log, &values(["x"]).at(&[NOW.0 + i * gap_ms])).unwrap();
        }
        log.view().segment_count()
    };
    let wide = LogConfig { segment_bytes: 1 << 20, ..config() };
    assert_eq!(count_after(wide.clone(), 1), 1);
    assert_eq!(count_after(LogConfig { segment_bytes: 10 * 69, ..wide.clone() }, 1), 4);
    // Of 40 batches 10 ms apart every segment holds what is at most 100 ms after its first.
    assert_eq!(count_after(LogConfig { segment_ms: 100, ..wide.clone() }, 10), 4);
    let small = LogConfig { segment_index_bytes: 64, index_interval_bytes: 1, ..wide };
    assert!(count_after(small, 1) > 5);
}

#[test]
fn with_a_jitter_segments_of_the_same_age_end_at_different_times_and_none_too_late() {
    let config =
        LogConfig { segment_bytes: 1 << 20, segment_ms: 1_000, segment_jitter_ms: 500, ..config() };
    let ages = (0..20).map(|partition| {
        let dir = std::path::PathBuf::from(format!("/data/topic-{partition}"));
        let disk = as_disk(&MemoryDisk::new());
        let mut log = klamm_log::Log::create(&disk, &dir, None, config.clone(), NOW).unwrap();
        let mut age_ms = 0;
        while log.view().segment_count() == 1 {
            age_ms += 10;
            append(&mut log, &values(["x"]).at(&[NOW.0 + age_ms])).unwrap();
        }
        age_ms
    });
    let ages: std::collections::BTreeSet<i64> = ages.collect();
    assert!(ages.len() > 10, "{ages:?}");
    // The first record came at 10 ms.
    assert!(ages.first() > Some(&510) && ages.last() <= Some(&1_020), "{ages:?}");
}

#[test]
fn an_offset_too_far_for_an_index_begins_a_segment() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { segment_bytes: 1 << 20, ..config() });
    let far = 1_i64 << 33;
    let mut bytes = values(["a"]).bytes_at(5);
    bytes.extend_from_slice(&values(["b"]).bytes_at(far));
    assert_eq!(log.append_as_follower(&bytes, NOW).unwrap(), Offset(far + 1));
    assert_eq!(log.append_as_follower(&values(["c"]).bytes_at(far + 1), NOW).unwrap().0, far + 2);
    assert_eq!(log.view().segment_bases(), [Offset(0), Offset(6), Offset(far)]);
    let expected = [(5, "a".to_owned()), (far, "b".to_owned()), (far + 1, "c".to_owned())];
    assert_eq!(records(log.view()), expected);
}

#[test]
fn a_follower_takes_whole_batches_and_refuses_what_is_wrong() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    let mut bytes = values(["a", "b"]).epoch(3).bytes_at(0);
    let next = values(["c"]).epoch(4).bytes_at(2);
    bytes.extend_from_slice(&next[..next.len() - 1]);
    assert_eq!(log.append_as_follower(&bytes, NOW).unwrap(), Offset(2));
    assert_eq!(log.append_as_follower(&next, NOW).unwrap(), Offset(3));
    assert_eq!(log.view().latest_epoch().unwrap().0, 4);
    let again = log.append_as_follower(&next, NOW);
    assert!(matches!(again, Err(FollowError::Offset { .. })));
    for at in [16, 17, 30, 61] {
        let mut flipped = values(["d"]).epoch(4).bytes_at(3);
        flipped[at] ^= 1;
        let result = log.append_as_follower(&flipped, NOW);
        assert!(matches!(result, Err(FollowError::Batch { .. })), "byte {at}: {result:?}");
    }
    assert_eq!(log.log_end_offset(), Offset(3));
    assert_eq!(log.append_as_follower(&values(["d"]).epoch(4).bytes_at(3), NOW).unwrap().0, 4);
}

#[test]
fn a_log_is_not_made_where_one_is() {
    let disk = MemoryDisk::new();
    fill(&mut create(&disk, config()), 1);
    let error = klamm_log::Log::create(&as_disk(&disk), &dir(), None, config(), NOW).unwrap_err();
    assert!(error.to_string().contains("00000000000000000000.log: a log is here already"));
}

#[test]
fn a_record_is_found_by_its_time_exactly() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    let gzip = klamm_records::Compression::from(klamm_records::Codec::Gzip);
    // Offsets 0..=2, out of order within and across batches, then many segments.
    append(&mut log, &values(["a", "b", "c"]).at(&[100, 300, 200])).unwrap();
    let spec = values(["d", "e"]).at(&[150, 400]);
    append(&mut log, &Spec { compression: gzip, ..spec }).unwrap();
    for i in 0..200 {
        append(&mut log, &values(["x"]).at(&[500 + 10 * i])).unwrap();
    }
    append(&mut log, &values(["late"]).at(&[50])).unwrap();
    let check = |log: &klamm_log::Log| {
        let view = log.view();
        let end = view.log_end_offset();
        let at = |t| view.offset_for_timestamp(Timestamp(t), end).unwrap().map(|f| f.offset.0);
        assert_eq!(at(0), Some(0));
        assert_eq!(at(101), Some(1), "the first of the batch that is late enough");
        assert_eq!(at(300), Some(1));
        assert_eq!(at(301), Some(4));
        assert_eq!(at(401), Some(5));
        for i in 0..200 {
            assert_eq!(at(500 + 10 * i), Some(5 + i));
            assert_eq!(at(491 + 10 * i), Some(5 + i));
        }
        assert_eq!(at(2491), None);
        let bounded = view.offset_for_timestamp(Timestamp(301), Offset(4)).unwrap();
        assert_eq!(bounded, None);
        let max = view.max_timestamp(end).unwrap().unwrap();
        assert_eq!((max.offset.0, max.timestamp.0), (204, 2490));
        assert_eq!(view.max_timestamp(Offset(204)).unwrap(), None);
    };
    assert!(log.view().segment_count() > 3);
    check(&log);
    log.close_clean().unwrap();
    check(&open(&disk, clean()).0);
    check(&open(&disk, unclean(0)).0);
    check(&open(&disk, unclean(100)).0);
}
