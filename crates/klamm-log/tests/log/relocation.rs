//! A log is copied into another directory and replaced by its copy: the same batches, producers,
//! transactions and epochs, under the view that readers have.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::{Disk, OpenMode};
use klamm_log::{CopyError, FollowError, Log, LogConfig};
use klamm_model::{LeaderEpoch, Offset, Timestamp};

use crate::batches::*;
use crate::disk::MemoryDisk;

const ALL: u64 = u64::MAX;

fn future() -> PathBuf {
    PathBuf::from("/other/topic-0.00000000000000000000000000000007-future")
}

fn destination() -> PathBuf {
    PathBuf::from("/other/topic-0")
}

fn copy_to(disk: &Arc<MemoryDisk>, config: LogConfig) -> Log {
    Log::create(&as_disk(disk), &future(), None, config, NOW).unwrap()
}

/// Copies the rest, and has the copy take the log's place.
fn replace(log: &mut Log, copy: &mut Log) {
    while !copy.follow(log.view(), ALL, NOW).unwrap().has_caught_up {}
    assert!(copy.copy_rest(log.view(), ALL, NOW).unwrap());
    log.take_over(copy, &destination(), None).unwrap();
    assert_eq!(log.dir(), destination());
}

#[test]
fn a_copy_has_the_batches_producers_transactions_and_epochs_of_its_log() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 100);
    append(&mut log, &values(["a", "b"]).by(7, 0, 0).transactional().epoch(2)).unwrap();
    end(&mut log, 7, 0, true).unwrap();
    append(&mut log, &values(["c"]).by(8, 0, 0).transactional().epoch(5)).unwrap();
    append(&mut log, &values(["d"]).by(9, 0, 0).epoch(5)).unwrap();
    let expected = records(log.view());
    let seen = |log: &Log| {
        let (view, end) = (log.view(), log.log_end_offset());
        let epochs: Vec<_> = [0, 2, 5, 9].map(|e| view.end_of_epoch(LeaderEpoch(e))).into();
        let aborted = view.aborted_transactions(Offset(0), end);
        (view.first_unstable_offset(), end, view.log_start_offset(), epochs, aborted)
    };
    let expected_state = seen(&log);
    let view = Arc::clone(log.view());
    // In steps, with more appended in between.
    let mut copy = copy_to(&disk, config());
    assert!(!copy.follow(&view, 1, NOW).unwrap().has_caught_up);
    assert!(copy.log_end_offset() > Offset(0));
    replace(&mut log, &mut copy);
    assert!(Arc::ptr_eq(&view, log.view()), "readers keep their view");
    assert_eq!((records(&view), seen(&log)), (expected.clone(), expected_state.clone()));
    assert_eq!(view.synced_offset(), Offset(0), "nothing of the copy was synced");
    sync(&mut log, &disk);
    assert_eq!(view.synced_offset(), log.log_end_offset());
    for opening in [unclean(0), unclean(log.log_end_offset().0)] {
        let (mut log, _) = open_at(&disk.copy(), &destination(), opening);
        assert_eq!((records(log.view()), seen(&log)), (expected.clone(), expected_state.clone()));
        assert!(append(&mut log, &values(["d"]).by(9, 0, 0).epoch(5)).unwrap().is_duplicate);
    }
    assert!(append(&mut log, &values(["d"]).by(9, 0, 0).epoch(5)).unwrap().is_duplicate);
    end(&mut log, 8, 0, false).unwrap();
    assert_eq!(log.view().first_unstable_offset(), None);
    log.roll(NOW).unwrap();
    log.close_clean().unwrap();
    let expected = records(log.view());
    let (log, report) = open_at(&disk.copy(), &destination(), clean());
    assert_eq!((report.bytes_cut, records(log.view())), (0, expected));
}

#[test]
fn producers_of_which_no_batch_is_left_move_too() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["gone"]).by(7, 0, 0)).unwrap();
    log.roll(NOW).unwrap();
    fill(&mut log, 3);
    log.delete_records(Offset(1)).unwrap();
    assert_eq!(log.delete_old_segments(NOW, Offset(4)).unwrap(), 1);
    let mut copy = copy_to(&disk, config());
    replace(&mut log, &mut copy);
    assert_eq!(log.log_start_offset(), Offset(1));
    sync(&mut log, &disk);
    let mark = log.mark();
    let opening = klamm_log::Opening { mark, ..unclean(4) };
    let (mut restarted, _) = open_at(&disk.copy(), &destination(), opening);
    for log in [&mut log, &mut restarted] {
        assert!(append(log, &values(["gone"]).by(7, 0, 0)).unwrap().is_duplicate);
    }
}

#[test]
fn a_copy_follows_a_log_that_is_cut_deleted_from_and_goes_on_differently() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 50);
    let mut copy = copy_to(&disk, config());
    while !copy.follow(log.view(), ALL, NOW).unwrap().has_caught_up {}
    log.truncate_to(Offset(20), NOW).unwrap();
    for _ in 0..60 {
        append(&mut log, &values(["another"]).epoch(3)).unwrap();
    }
    assert!(!copy.copy_rest(log.view(), ALL, NOW).unwrap(), "they differ from offset 20 on");
    while !copy.follow(log.view(), ALL, NOW).unwrap().has_caught_up {}
    assert_eq!(records(copy.view()), records(log.view()));
    // All that the copy has is deleted, in the middle of a batch.
    append(&mut log, &values(["x", "y", "z"]).epoch(3)).unwrap();
    log.delete_records(Offset(81)).unwrap();
    log.delete_old_segments(NOW, log.log_end_offset()).unwrap();
    let expected = records(log.view());
    replace(&mut log, &mut copy);
    assert_eq!(log.log_start_offset(), Offset(81));
    assert_eq!(records(log.view()), expected);
}

#[test]
fn a_log_without_a_record_is_replaced_where_it_stands() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 5);
    log.truncate_fully_and_start_at(Offset(500), NOW).unwrap();
    let mut copy = copy_to(&disk, config());
    replace(&mut log, &mut copy);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(500), Offset(500)));
    fill(&mut log, 1);
    assert_eq!(records(log.view()), [(500, "value 500".to_owned())]);
}

#[test]
fn damage_is_not_copied() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { segment_bytes: 1 << 20, ..config() });
    fill(&mut log, 10);
    let file = disk.open(&path("00000000000000000000.log"), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[IoSlice::new(b"?")], 200).unwrap();
    let mut copy = copy_to(&disk, config());
    let refused = copy.follow(log.view(), ALL, NOW);
    assert!(matches!(refused, Err(CopyError::Copy(FollowError::Batch { .. }))), "{refused:?}");
}

#[test]
fn a_log_is_not_compacted_while_it_is_copied() {
    let disk = MemoryDisk::new();
    let mut compacted = config();
    (compacted.cleanup.compact, compacted.cleanup.delete) = (true, false);
    let mut log = create(&disk, compacted);
    fill(&mut log, 100);
    assert!(log.compaction_candidate().is_some());
    log.pause_compaction().unwrap();
    assert!(log.compaction_candidate().is_none());
    log.resume_compaction();
    assert!(log.compaction_candidate().is_some());
    assert_eq!(log.next_deletion(), None::<Timestamp>);
}
