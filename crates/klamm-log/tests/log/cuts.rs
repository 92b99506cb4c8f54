//! Cuts at either end: truncation, deleted records, retention.

use std::sync::Arc;

use klamm_log::{Log, LogConfig};
use klamm_model::{Offset, Timestamp};

use crate::batches::*;
use crate::disk::MemoryDisk;

fn filled(n: usize) -> (Arc<MemoryDisk>, Log) {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, n);
    (disk, log)
}

#[test]
fn a_log_can_be_cut_anywhere_and_goes_on_from_there() {
    let (_, log) = filled(150);
    let bases = log.view().segment_bases();
    assert!(bases.len() > 2);
    let around = |base: &Offset| [base.0 - 1, base.0, base.0 + 1];
    let cuts = bases.iter().flat_map(around).chain([149, 150, 151]).filter(|at| *at >= 0);
    for at in cuts {
        let (disk, mut log) = filled(150);
        let expected = records(log.view());
        sync(&mut log, &disk);
        log.truncate_to(Offset(at), NOW).unwrap();
        let at = usize::try_from(at.min(150)).unwrap();
        assert_eq!(records(log.view()), expected[..at]);
        assert_eq!(log.recovery_point().0, at as i64);
        fill(&mut log, 40);
        let after = records(log.view());
        assert_eq!((&after[..at], after.len()), (&expected[..at], at + 40));
        assert_eq!(records(open(&disk.copy(), unclean(0)).0.view()), after);
        log.close_clean().unwrap();
        assert_eq!(records(open(&disk.copy(), clean()).0.view()), after);
        log.remove_doomed(Timestamp(NOW.0 + 60_000)).unwrap();
        assert!(!disk.names().iter().any(|name| name.ends_with(".deleted")));
    }
}

#[test]
fn a_cut_inside_a_batch_takes_all_of_it_but_nothing_below_the_start() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a", "b", "c"])).unwrap();
    append(&mut log, &values(["d", "e", "f"])).unwrap();
    log.truncate_to(Offset(4), NOW).unwrap();
    assert_eq!(log.log_end_offset(), Offset(3));
    log.delete_records(Offset(2)).unwrap();
    log.truncate_to(Offset(2), NOW).unwrap();
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (2, 2));
    assert!(log.truncate_to(Offset(1), NOW).is_err());
    fill(&mut log, 1);
    assert_eq!(records(log.view()).len(), 1);
}

#[test]
fn a_ticket_from_before_a_cut_covers_nothing_behind_it() {
    let (disk, mut log) = filled(20);
    let ticket = log.sync_ticket().unwrap().unwrap();
    assert_eq!(ticket.up_to, Offset(20));
    log.truncate_to(Offset(10), NOW).unwrap();
    fill(&mut log, 30);
    ticket.sync(disk.as_ref()).unwrap();
    log.on_synced(ticket.up_to);
    assert_eq!(log.recovery_point(), Offset(10));
    sync(&mut log, &disk);
    assert_eq!(log.recovery_point(), Offset(40));
    log.on_synced(Offset(1000));
    assert_eq!(log.recovery_point(), Offset(40), "nobody had such a ticket");
}

#[test]
fn a_ticket_under_way_covers_no_segment_that_was_sealed_after_it() {
    let (disk, mut log) = filled(10);
    let first = log.sync_ticket().unwrap().unwrap();
    log.roll(NOW).unwrap();
    fill(&mut log, 5);
    let second = log.sync_ticket().unwrap().unwrap();
    assert_eq!(second.files.len(), 2, "both segments");
    assert!(second.paths.len() >= 2, "the sealed one's indexes: {:?}", second.paths);
    // Reported in the wrong order, the second's files are all synced.
    second.sync(disk.as_ref()).unwrap();
    log.on_synced(second.up_to);
    assert_eq!(log.recovery_point(), Offset(15));
    first.sync(disk.as_ref()).unwrap();
    log.on_synced(first.up_to);
    assert_eq!(log.recovery_point(), Offset(15));
    assert!(log.sync_ticket().unwrap().is_none());
    let crashed = disk.crash(|n| n - 1);
    assert_eq!(open(&crashed, unclean(15)).0.log_end_offset(), Offset(15));
}

#[test]
fn a_new_file_is_synced_with_its_name() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    sync(&mut log, &disk);
    fill(&mut log, 3);
    sync(&mut log, &disk);
    // Only synced names survive.
    let crashed = disk.crash(|n| n.min(2) - 1);
    assert_eq!(open(&crashed, unclean(0)).0.log_end_offset(), Offset(3));
}

#[test]
fn old_segments_go_by_time_and_the_last_one_leaves_its_offset() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { retention_ms: Some(1000), ..config() });
    for i in 0..100 {
        append(&mut log, &values(["x"]).at(&[NOW.0 + i])).unwrap();
    }
    let end = Offset(100);
    let bases = log.view().segment_bases();
    assert_eq!(log.delete_old_segments(Timestamp(NOW.0 + 1000), end).unwrap(), 0);
    let at = Timestamp(NOW.0 + 1000 + bases[1].0);
    assert_eq!(log.delete_old_segments(at, Offset(bases[1].0 - 1)).unwrap(), 0, "not committed");
    assert_eq!(log.delete_old_segments(at, end).unwrap(), 1);
    assert_eq!(log.log_start_offset(), bases[1]);
    let late = Timestamp(NOW.0 + 5000);
    assert_eq!(log.delete_old_segments(late, end).unwrap(), bases.len() - 1);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (end, end));
    assert_eq!(log.delete_old_segments(late, end).unwrap(), 0);
    // No checkpoint says where the log starts, and yet it goes on where it was.
    log.remove_doomed(Timestamp(late.0 + 60_000)).unwrap();
    assert_eq!(log.next_deletion(), None);
    let (log, _) = open(&disk, unclean(0));
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (end, end));
}

#[test]
fn files_of_old_segments_stay_for_file_delete_delay_ms_as_it_was_when_they_were_renamed() {
    let (disk, mut log) = filled(300);
    let doomed = || disk.names().iter().filter(|name| name.ends_with(".deleted")).count();
    let first = log.view().segment_bases()[1];
    let own = LogConfig { file_delete_delay_ms: 500, retention_bytes: Some(0), ..config() };
    log.reconfigure(own.clone());
    assert_eq!(log.delete_old_segments(NOW, first).unwrap(), 1);
    assert!(doomed() > 0);
    log.reconfigure(LogConfig { file_delete_delay_ms: 0, ..own });
    log.remove_doomed(Timestamp(NOW.0 + 499)).unwrap();
    assert!(doomed() > 0);
    log.remove_doomed(Timestamp(NOW.0 + 500)).unwrap();
    assert_eq!(doomed(), 0);
    log.delete_old_segments(NOW, Offset(300)).unwrap();
    log.remove_doomed(NOW).unwrap();
    assert_eq!(doomed(), 0, "the new delay holds at once");
}

#[test]
fn old_segments_go_by_size_and_no_more_than_needed() {
    let (_, log) = filled(300);
    let total = log.view().size_bytes();
    let first = log.view().segment_bases()[1];
    for (keep, deleted) in [(total, 0), (total - 1, 0), (total - 4096, 1), (0, usize::MAX)] {
        let (_, mut log) = filled(300);
        let all = log.view().segment_count();
        log.reconfigure(LogConfig { retention_bytes: Some(keep), ..config() });
        let n = log.delete_old_segments(NOW, Offset(300)).unwrap();
        assert_eq!(n, deleted.min(all), "keep {keep} of {total}");
        assert!(log.view().size_bytes() >= keep);
        if n == 1 {
            assert_eq!(log.log_start_offset(), first);
        }
    }
}

#[test]
fn deleted_records_stay_deleted_and_their_segments_go() {
    let (disk, mut log) = filled(150);
    let bases = log.view().segment_bases();
    log.delete_records(bases[1].plus(2)).unwrap();
    assert!(log.delete_records(Offset(151)).is_err());
    log.delete_records(Offset(3)).unwrap();
    assert_eq!(records(log.view()).len(), 148 - bases[1].0 as usize);
    assert_eq!(log.delete_old_segments(NOW, Offset(150)).unwrap(), 1);
    assert_eq!(log.view().segment_bases()[0], bases[1]);
    log.close_clean().unwrap();
    let opening = klamm_log::Opening { log_start_offset: log.log_start_offset(), ..unclean(0) };
    let (reopened, _) = open(&disk, opening);
    assert_eq!(records(reopened.view()), records(log.view()));
    assert_eq!(reopened.view().epoch_at(bases[1].plus(2)).unwrap().0, 0);
}

#[test]
fn a_follower_that_fell_behind_begins_anew_where_its_leader_begins() {
    let (disk, mut log) = filled(150);
    sync(&mut log, &disk);
    for start in [500, 10] {
        log.truncate_fully_and_start_at(Offset(start), NOW).unwrap();
        assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (start, start));
        assert_eq!(log.recovery_point().0, start);
        assert_eq!(log.view().latest_epoch(), None);
        log.append_as_follower(&values(["a"]).epoch(9).bytes_at(start), NOW).unwrap();
        assert_eq!(records(log.view()), [(start, "a".to_owned())]);
        let (log, _) = open(&disk.copy(), unclean(0));
        assert_eq!(records(log.view()), [(start, "a".to_owned())]);
        assert_eq!(log.view().latest_epoch().unwrap().0, 9);
    }
}
