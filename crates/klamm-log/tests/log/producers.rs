//! Producers and transactions across restarts, cuts and segments.

use klamm_log::{AppendError, Log, SequenceError};
use klamm_model::{Offset, Timestamp};

use crate::batches::*;
use crate::disk::MemoryDisk;

fn is_duplicate(log: &mut Log, spec: &Spec) -> bool {
    append(log, spec).unwrap().is_duplicate
}

fn is_out_of_order(log: &mut Log, spec: &Spec) -> bool {
    matches!(append(log, spec), Err(AppendError::Sequence(SequenceError::Sequence { .. })))
}

#[test]
fn a_batch_sent_twice_is_stored_once_even_after_a_restart_or_a_roll() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a", "b"]).by(7, 0, 0)).unwrap();
    assert!(is_duplicate(&mut log, &values(["a", "b"]).by(7, 0, 0)));
    log.roll(NOW).unwrap();
    assert!(is_duplicate(&mut log, &values(["a", "b"]).by(7, 0, 0)));
    append(&mut log, &values(["c"]).by(7, 0, 2)).unwrap();
    log.close_clean().unwrap();
    for opening in [clean(), unclean(0), unclean(2), unclean(3)] {
        let (mut log, _) = open(&disk.copy(), opening);
        let appended = append(&mut log, &values(["c"]).by(7, 0, 2)).unwrap();
        assert!(appended.is_duplicate, "{opening:?}");
        assert_eq!((appended.base_offset, appended.last_offset), (Offset(2), Offset(2)));
        assert!(is_out_of_order(&mut log, &values(["e"]).by(7, 0, 4)));
        append(&mut log, &values(["d"]).by(7, 0, 3)).unwrap();
        assert_eq!(log.log_end_offset(), Offset(4));
    }
}

#[test]
fn what_a_cut_took_away_is_not_remembered_and_may_come_again() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    for i in 0..4 {
        append(&mut log, &values(["x"]).by(7, 0, i)).unwrap();
        if i == 1 {
            log.roll(NOW).unwrap();
        }
    }
    log.truncate_to(Offset(3), NOW).unwrap();
    assert!(is_duplicate(&mut log, &values(["x"]).by(7, 0, 2)));
    log.truncate_to(Offset(1), NOW).unwrap();
    assert!(is_out_of_order(&mut log, &values(["x"]).by(7, 0, 2)));
    assert!(!is_duplicate(&mut log, &values(["x"]).by(7, 0, 1)));
    assert_eq!(log.log_end_offset(), Offset(2));
}

#[test]
fn snapshots_are_kept_at_segments_and_at_the_end_only() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a"]).by(7, 0, 0)).unwrap();
    log.close_clean().unwrap();
    for i in 1..4 {
        log = open(&disk, clean()).0;
        append(&mut log, &values(["a"]).by(7, 0, i)).unwrap();
        log.close_clean().unwrap();
    }
    log = open(&disk, clean()).0;
    log.roll(NOW).unwrap();
    fill(&mut log, 1);
    log.close_clean().unwrap();
    drop(open(&disk, clean()));
    let snapshots: Vec<String> =
        disk.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, ["00000000000000000004.snapshot", "00000000000000000005.snapshot"]);
}

#[test]
fn silent_producers_are_forgotten() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a"]).by(7, 0, 0)).unwrap();
    log.expire_producers(Timestamp(NOW.0 + 24 * 3_600_000 - 1));
    assert_eq!(log.producers().len(), 1);
    log.expire_producers(Timestamp(NOW.0 + 24 * 3_600_000));
    assert!(log.producers().is_empty());
}

/// Producer 1 aborts, 2 commits, 3 aborts in another segment, 4 stays open.
fn with_transactions() -> (std::sync::Arc<MemoryDisk>, Log) {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a1"]).by(1, 0, 0).transactional()).unwrap(); // 0
    append(&mut log, &values(["c1"]).by(2, 0, 0).transactional()).unwrap(); // 1
    end(&mut log, 1, 0, true).unwrap(); // 2
    append(&mut log, &values(["a3"]).by(3, 0, 0).transactional()).unwrap(); // 3
    end(&mut log, 2, 0, false).unwrap(); // 4
    log.roll(NOW).unwrap();
    append(&mut log, &values(["open"]).by(4, 0, 0).transactional()).unwrap(); // 5
    end(&mut log, 3, 0, true).unwrap(); // 6
    (disk, log)
}

fn aborted(log: &Log) -> Vec<(i64, i64, i64)> {
    let all = log.view().aborted_transactions(Offset(0), Offset(i64::MAX));
    all.iter().map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0)).collect()
}

#[test]
fn aborted_and_open_transactions_are_known_after_any_restart() {
    let (disk, mut log) = with_transactions();
    let check = |log: &Log| {
        assert_eq!(aborted(log), [(1, 0, 2), (3, 3, 6)]);
        assert_eq!(log.view().first_unstable_offset(), Some(Offset(5)));
        let some = log.view().aborted_transactions(Offset(3), Offset(5));
        assert_eq!(some.len(), 1);
    };
    check(&log);
    check(&open(&disk.copy(), unclean(0)).0);
    log.close_clean().unwrap();
    for opening in [clean(), unclean(0), unclean(5), unclean(7)] {
        check(&open(&disk.copy(), opening).0);
    }
    // Above the recovery point the indexes are not believed.
    disk.put(&path("00000000000000000000.txnindex"), &[]);
    disk.put(&path("00000000000000000005.txnindex"), &[0; 34]);
    check(&open(&disk.copy(), unclean(0)).0);
}

#[test]
fn an_abort_that_was_cut_off_hides_nothing_of_what_comes_in_its_place() {
    let (disk, mut log) = with_transactions();
    log.truncate_to(Offset(6), NOW).unwrap();
    assert_eq!(aborted(&log), [(1, 0, 2)]);
    assert_eq!(log.view().first_unstable_offset(), Some(Offset(3)));
    end(&mut log, 3, 0, false).unwrap();
    log.truncate_to(Offset(2), NOW).unwrap();
    assert_eq!(aborted(&log), []);
    fill(&mut log, 10);
    assert_eq!(aborted(&log), []);
    log.close_clean().unwrap();
    assert_eq!(aborted(&open(&disk, clean()).0), []);
}

#[test]
fn a_torn_marker_leaves_its_transaction_open() {
    let (disk, _log) = with_transactions();
    let name = path("00000000000000000005.log");
    let bytes = disk.bytes(&name).unwrap();
    disk.put(&name, &bytes[..bytes.len() - 1]);
    let (mut log, _) = open(&disk, unclean(0));
    assert_eq!(aborted(&log), [(1, 0, 2)]);
    assert_eq!(log.view().first_unstable_offset(), Some(Offset(3)));
    end(&mut log, 3, 0, false).unwrap();
    log.close_clean().unwrap();
    assert_eq!(aborted(&open(&disk, clean()).0), [(1, 0, 2)]);
}

#[test]
fn a_transaction_whose_begin_was_deleted_still_holds_readers_back_and_can_abort() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a"]).by(1, 0, 0).transactional()).unwrap();
    append(&mut log, &values(["b"]).by(1, 0, 1).transactional()).unwrap();
    log.delete_records(Offset(1)).unwrap();
    assert_eq!(log.view().first_unstable_offset(), Some(Offset(1)));
    end(&mut log, 1, 0, true).unwrap();
    assert_eq!(aborted(&log), [(1, 0, 2)]);
    assert_eq!(log.view().first_unstable_offset(), None);
}

#[test]
fn nothing_of_a_transaction_is_stable_before_its_marker_is_committed() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 2);
    append(&mut log, &values(["a"]).by(1, 0, 0).transactional()).unwrap(); // 2
    fill(&mut log, 2);
    let stable =
        |log: &Log, high_watermark| log.view().last_stable_offset(Offset(high_watermark)).0;
    assert_eq!((stable(&log, 1), stable(&log, 5)), (1, 2));
    end(&mut log, 1, 0, false).unwrap(); // 5
    assert_eq!((stable(&log, 1), stable(&log, 4), stable(&log, 5)), (1, 2, 2));
    log.truncate_to(Offset(5), NOW).unwrap();
    assert_eq!(stable(&log, 5), 2, "the marker was cut off, the transaction is open again");
    end(&mut log, 1, 0, false).unwrap();
    assert_eq!(stable(&open(&disk.copy(), unclean(0)).0, 5), 2);
    assert_eq!(stable(&log, 6), 6);
}

#[test]
fn after_a_marker_alone_a_sequence_begins_at_zero() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    end(&mut log, 1, 3, true).unwrap();
    assert!(is_out_of_order(&mut log, &values(["a"]).by(1, 3, 5)));
    assert!(!is_duplicate(&mut log, &values(["a"]).by(1, 3, 0)));
}
