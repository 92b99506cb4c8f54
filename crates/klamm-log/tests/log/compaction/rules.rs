//! What stays and what goes, and when.

use std::sync::{Arc, Mutex};

use klamm_log::{CleanError, Log, LogConfig, LogError};
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, Codec};

use super::support::*;
use crate::batches::{NOW, as_disk, clean, dir, path, sync, unclean};
use crate::disk::MemoryDisk;

/// Two keys written three times, in batches of two; the last batch stays dirty.
fn filled(codec: Codec) -> (Arc<MemoryDisk>, Mutex<Log>) {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    for value in ["1", "2", "3"] {
        append(&log, &keyed(&[("a", value), ("b", value)]).codec(codec));
    }
    append(&log, &keyed(&[("c", "only"), ("a", "4")]).codec(codec));
    roll(&log);
    append(&log, &keyed(&[("b", "dirty")]).codec(codec));
    (disk, log)
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset_with_every_codec() {
    for codec in Codec::ALL {
        let (disk, log) = filled(codec);
        let report = clean_at(&log, 0).unwrap();
        let expected =
            [row(5, "b", "3"), row(6, "c", "only"), row(7, "a", "4"), row(8, "b", "dirty")];
        assert_eq!(rows(&log), expected, "{codec}");
        assert_eq!((report.records_before, report.records_after), (8, 3));
        assert_eq!(report.cleaned_to, Offset(8));
        assert!(report.bytes_after < report.bytes_before);
        assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(8)));
        log.lock().unwrap().close_clean().unwrap();
        for opening in [clean(), unclean(0)] {
            let opened = Log::open(&as_disk(&disk.copy()), &dir(), compacted(), opening, NOW);
            assert_eq!(rows(&Mutex::new(opened.unwrap().0)), expected, "{codec}");
        }
    }
}

#[test]
fn a_batch_of_which_everything_survives_is_the_same_bytes_and_another_keeps_its_header() {
    let (disk, log) = filled(Codec::None);
    let file = path("00000000000000000000.log");
    let before = disk.bytes(&file).unwrap();
    let headers = read(log.lock().unwrap().view());
    clean_at(&log, 0).unwrap();
    let after = disk.bytes(&file).unwrap();
    let whole = headers[3].0.size_in_bytes();
    assert_eq!(after[after.len() - whole..], before[before.len() - whole..]);
    let (cut, rows) = read(log.lock().unwrap().view()).remove(0);
    let old = headers[2].0;
    assert_eq!((cut.base_offset, cut.last_offset()), (old.base_offset, old.last_offset()));
    assert_eq!((cut.base_timestamp, cut.attributes), (old.base_timestamp, old.attributes));
    assert_eq!(cut.max_timestamp, Timestamp(NOW.0 + 1), "that of the record that is left");
    assert_eq!(rows, [row(5, "b", "3")]);
}

#[test]
fn a_log_in_which_nothing_falls_out_is_not_replaced() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1"), ("b", "1")]));
    roll(&log);
    append(&log, &keyed(&[("c", "1")]));
    let before = disk.names();
    clean_at(&log, 0).unwrap();
    assert_eq!(disk.names(), before);
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(2)));
}

#[test]
fn a_tombstone_hides_its_key_until_its_horizon_and_goes_then() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1"), ("b", "1")]));
    append(&log, &tombstone("a"));
    roll(&log);
    append(&log, &keyed(&[("c", "1")]));
    clean_at(&log, 0).unwrap();
    let deleted = (2, Some("a".to_owned()), None);
    assert_eq!(rows(&log), [row(1, "b", "1"), deleted.clone(), row(3, "c", "1")]);
    let (header, _) = read(log.lock().unwrap().view()).remove(1);
    assert_eq!(header.delete_horizon(), Some(Timestamp(NOW.0 + RETENTION_MS)));
    assert_eq!(header.max_timestamp, NOW, "the record's own time is what it was");
    // The horizon is that of the first run, whatever later ones find.
    roll(&log);
    append(&log, &keyed(&[("c", "2")]));
    clean_at(&log, RETENTION_MS - 1).unwrap();
    assert_eq!(rows(&log), [row(1, "b", "1"), deleted, row(3, "c", "1"), row(4, "c", "2")]);
    roll(&log);
    append(&log, &keyed(&[("d", "1")]));
    clean_at(&log, RETENTION_MS).unwrap();
    assert_eq!(rows(&log), [row(1, "b", "1"), row(4, "c", "2"), row(5, "d", "1")]);
}

#[test]
fn a_tombstone_that_is_followed_by_a_value_goes_at_once() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &tombstone("a"));
    append(&log, &keyed(&[("a", "again")]));
    roll(&log);
    clean_at(&log, 0).unwrap();
    assert_eq!(rows(&log), [row(1, "a", "again")]);
}

#[test]
fn records_without_a_key_have_no_place() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    let mut batch = keyed(&[("a", "1")]);
    batch.records.push((None, Some("lost".to_owned())));
    append(&log, &batch);
    roll(&log);
    append(&log, &batch);
    let report = clean_at(&log, 0).unwrap();
    assert_eq!(report.without_key, 1);
    assert_eq!(rows(&log).len(), 3, "above the dirty part nothing is looked at");
}

#[test]
fn aborted_records_go_and_their_marker_when_none_is_left_and_its_horizon_is_over() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1")]));
    append(&log, &keyed(&[("a", "aborted"), ("x", "aborted")]).by(7, 0, 0).transactional());
    assert_eq!(end(&log, 7, true), 3);
    append(&log, &keyed(&[("a", "later")]).by(7, 0, 2).transactional());
    assert_eq!(end(&log, 7, false), 5);
    append(&log, &keyed(&[("y", "1")]).by(7, 0, 3));
    roll(&log);
    append(&log, &keyed(&[("b", "1")]));
    clean_at(&log, 0).unwrap();
    let left = [row(4, "a", "later"), row(6, "y", "1"), row(7, "b", "1")];
    assert_eq!(rows(&log), left);
    let aborted = || log.lock().unwrap().view().aborted_transactions(Offset(0), Offset(100)).len();
    assert_eq!((markers(&log), aborted()), (vec![3, 5], 1), "for one more round");
    // The marker has nothing left to end: it gets a horizon, and goes when that is over.
    for (ms, expected) in [(0, vec![3, 5]), (RETENTION_MS, vec![5])] {
        roll(&log);
        append(&log, &keyed(&[("b", "2")]));
        clean_at(&log, ms).unwrap();
        assert_eq!((markers(&log), aborted()), (expected, 0));
        assert_eq!(rows(&log)[..2], left[..2]);
    }
}

#[test]
fn nothing_of_an_open_transaction_is_touched() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1"), ("a", "2")]));
    roll(&log);
    append(&log, &keyed(&[("a", "3")]).by(7, 0, 0).transactional());
    append(&log, &keyed(&[("a", "4"), ("a", "5")]));
    roll(&log);
    clean_at(&log, 0).unwrap();
    let left = [row(1, "a", "2"), row(2, "a", "3"), row(3, "a", "4"), row(4, "a", "5")];
    assert_eq!(rows(&log), left);
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(2)));
    end(&log, 7, true);
    append(&log, &keyed(&[("b", "1")]));
    clean_at(&log, 0).unwrap();
    assert_eq!(rows(&log), [row(4, "a", "5"), row(6, "b", "1")]);
}

#[test]
fn the_last_batch_of_a_producer_stays_so_that_its_sequence_is_known_after_any_crash() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    let first = keyed(&[("a", "1"), ("a", "2")]).by(9, 0, 0);
    append(&log, &first);
    append(&log, &keyed(&[("a", "3")]));
    roll(&log);
    append(&log, &keyed(&[("a", "4")]));
    clean_at(&log, 0).unwrap();
    let kept = read(log.lock().unwrap().view());
    assert_eq!((kept[0].0.last_sequence(), kept[0].0.record_count), (Some(1), 0));
    sync(&mut log.lock().unwrap(), &disk);
    let copy = disk.copy();
    for name in disk.names().iter().filter(|name| name.ends_with(".snapshot")) {
        copy.remove(&path(name));
    }
    let opened = Log::open(&as_disk(&copy), &dir(), compacted(), unclean(0), NOW).unwrap().0;
    let opened = Mutex::new(opened);
    assert_eq!(append(&opened, &first), 0, "known, and not stored again");
    assert_eq!(append(&opened, &keyed(&[("b", "1")]).by(9, 0, 2)), 4);
}

#[test]
fn a_batch_that_a_producer_needs_stays_among_others_that_are_not_even_read_again() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    let long = "superseded ".repeat(20);
    append(&log, &keyed(&[("a", &long)]));
    append(&log, &keyed(&[("a", &long)]).by(9, 0, 0));
    append(&log, &keyed(&[("a", &long)]));
    append(&log, &keyed(&[("a", "last")]));
    roll(&log);
    clean_at(&log, 0).unwrap();
    let kept = read(log.lock().unwrap().view());
    let facts = |(header, _): &(BatchHeader, Vec<Row>)| (header.base_offset.0, header.record_count);
    assert_eq!(kept.iter().map(facts).collect::<Vec<_>>(), [(1, 0), (3, 1)]);
    assert_eq!(kept[0].0.last_sequence(), Some(0));
}

#[test]
fn a_producer_whose_last_batches_are_cut_off_is_known_by_the_last_that_was_committed() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1")]).by(7, 0, 0));
    append(&log, &keyed(&[("a", "2")]));
    roll(&log);
    append(&log, &keyed(&[("b", "1")]));
    sync(&mut log.lock().unwrap(), &disk);
    append(&log, &keyed(&[("b", "2")]).by(7, 0, 1));
    let candidate = log.lock().unwrap().compaction_candidate().unwrap();
    let plan = candidate.assess(Offset(3), NOW).unwrap();
    cleaner(1 << 20).clean(&log, (&candidate, &plan), NOW, &mut AtOnce).unwrap();
    assert_eq!(rows(&log)[0], row(1, "a", "2"), "its record is gone");
    log.lock().unwrap().lower_to(Offset(3));
    log.lock().unwrap().truncate_to(Offset(3), NOW).unwrap();
    disk.remove(&path("00000000000000000002.snapshot"));
    let opened = Log::open(&as_disk(&disk.copy()), &dir(), compacted(), unclean(0), NOW);
    let log = Mutex::new(opened.unwrap().0);
    assert_eq!(append(&log, &keyed(&[("b", "2")]).by(7, 0, 1)), 3, "the next in its sequence");
}

#[test]
fn what_decided_a_transaction_is_on_the_disk_before_anything_goes_for_it() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    let durability = klamm_log::Durability::PageCache;
    log.lock().unwrap().reconfigure(LogConfig { durability, ..compacted() });
    append(&log, &keyed(&[("a", "old")]));
    append(&log, &keyed(&[("a", "new")]).by(7, 0, 0).transactional());
    roll(&log);
    sync(&mut log.lock().unwrap(), &disk);
    end(&log, 7, false);
    clean_at(&log, 0).unwrap();
    assert_eq!(rows(&log), [row(1, "a", "new")]);
    let opened = Log::open(&as_disk(&disk.crash(|_| 1)), &dir(), compacted(), unclean(0), NOW);
    let log = Mutex::new(opened.unwrap().0);
    assert_eq!(markers(&log), [2], "else the new one could still be aborted");
}

#[test]
fn segments_that_have_become_small_become_one_and_end_where_the_next_begins() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    for i in 0..60 {
        append(&log, &keyed(&[("k", &format!("a value that fills a segment {i}"))]));
    }
    let before = log.lock().unwrap().view().segment_bases();
    assert!(before.len() > 4);
    clean_at(&log, 0).unwrap();
    append(&log, &keyed(&[("k", "last")]));
    roll(&log);
    clean_at(&log, 0).unwrap();
    let bases = log.lock().unwrap().view().segment_bases();
    assert!(bases.len() < before.len(), "{bases:?}");
    let view = Arc::clone(log.lock().unwrap().view());
    for (i, base) in bases.iter().enumerate().skip(1) {
        let ends: Vec<Offset> = read(&view).iter().map(|(h, _)| h.next_offset()).collect();
        assert!(ends.contains(base), "segment {i} begins at {base}, nothing ends there");
    }
    assert_eq!(rows(&log), [row(60, "k", "last")]);
}

#[test]
fn a_table_that_is_too_small_cleans_what_it_can_and_the_rest_the_next_time() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    let mut expected = Vec::new();
    for round in ["old", "new"] {
        for i in 0..50_i64 {
            append(&log, &keyed(&[(&format!("key {i}"), round)]));
        }
    }
    expected.extend((0..50_i64).map(|i| row(50 + i, &format!("key {i}"), "new")));
    roll(&log);
    // Room for 17 keys.
    let report = clean_with(&log, &log, (24 * 20, 0)).unwrap();
    assert!(report.cleaned_to < Offset(50) && report.cleaned_to > Offset(10));
    for _ in 0..8 {
        append(&log, &keyed(&[("another", "1")]));
        roll(&log);
        clean_with(&log, &log, (24 * 20, 0)).unwrap();
    }
    let rows = rows(&log);
    assert_eq!(rows[..50], expected);
    let no_room = clean_with(&log, &log, (24, 0));
    assert!(no_room.is_err() || rows.len() == 51, "{no_room:?}");
}

#[test]
fn a_table_without_room_for_one_key_says_what_to_raise() {
    let (_, log) = filled(Codec::None);
    let error = clean_with(&log, &log, (0, 0)).unwrap_err();
    assert!(error.to_string().contains("log.cleaner.dedupe.buffer.size"), "{error}");
}

#[test]
fn a_damaged_batch_is_named_and_nothing_is_replaced() {
    // A bit of a record's shape, one of the base offset, which no checksum covers, and one of the
    // last record's value, which nothing but the checksum does.
    for at in [70, 3, usize::MAX] {
        let (disk, log) = filled(Codec::None);
        let file = path("00000000000000000000.log");
        let mut bytes = disk.bytes(&file).unwrap();
        let second = read(log.lock().unwrap().view())[0].0.size_in_bytes();
        bytes[second + at.min(second - 2)] ^= 1;
        disk.put(&file, &bytes);
        let log = Log::open(&as_disk(&disk), &dir(), compacted(), clean(), NOW).unwrap().0;
        let log = Mutex::new(log);
        let names = disk.names();
        match clean_at(&log, 0).unwrap_err() {
            CleanError::Log(LogError::Corrupt { path, position, .. }) => {
                assert_eq!((path, position), (file.clone(), second as u64));
            }
            other => panic!("{other}"),
        }
        assert_eq!((disk.names(), disk.bytes(&file).unwrap()), (names, bytes));
    }
}

#[test]
fn a_log_is_no_candidate_while_its_policy_does_not_say_compact() {
    let (_, log) = filled(Codec::None);
    let mut log = log.lock().unwrap();
    assert!(log.compaction_candidate().is_some());
    for compact in [false, true] {
        let mut config = compacted();
        config.cleanup.compact = compact;
        log.reconfigure(config);
        assert_eq!(log.compaction_candidate().is_some(), compact);
    }
    log.close_for_deletion();
    assert!(log.compaction_candidate().is_none());
}

#[test]
fn both_policies_act_and_none_does_neither() {
    for (delete, compact) in [(true, true), (false, false)] {
        let (_, log) = filled(Codec::None);
        let mut config = LogConfig { retention_ms: Some(500), ..compacted() };
        config.cleanup = klamm_log::Cleanup { delete, compact };
        log.lock().unwrap().reconfigure(config);
        if compact {
            clean_at(&log, 0).unwrap();
            assert_eq!(rows(&log).len(), 4);
        }
        let wall = Timestamp(NOW.0 + 10_000);
        let deleted = log.lock().unwrap().delete_old_segments(wall, Offset(9)).unwrap();
        assert_eq!(deleted, if delete { 2 } else { 0 });
    }
}

#[test]
fn the_active_segment_is_sealed_when_its_records_have_been_dirty_for_too_long() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    log.lock().unwrap().reconfigure(LogConfig { max_compaction_lag_ms: 2, ..compacted() });
    append(&log, &keyed(&[("a", "1")]));
    append(&log, &keyed(&[("a", "2"), ("b", "1"), ("c", "1")]));
    assert_eq!(log.lock().unwrap().view().segment_count(), 1, "no later than two milliseconds");
    append(&log, &keyed(&[("a", "2"), ("b", "1"), ("c", "1"), ("d", "1")]));
    assert_eq!(log.lock().unwrap().view().segment_count(), 2);
    let config = LogConfig { max_compaction_lag_ms: 2, ..LogConfig::default() };
    log.lock().unwrap().reconfigure(config);
    append(&log, &keyed(&[("k", "v"); 20]));
    assert_eq!(log.lock().unwrap().view().segment_count(), 2, "it counts for compacted logs only");
}
