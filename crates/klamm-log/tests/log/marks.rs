//! Recovery marks: after a crash only what came after the last one is read, and what one vouches
//! for is never cut.

use std::sync::Arc;

use klamm_log::{Log, LogConfig, LogError, Opening, RecoveryMark, names::segment_file};
use klamm_model::Offset;

use crate::batches::*;
use crate::disk::MemoryDisk;

fn large() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, ..config() }
}

fn marked(recovery_point: i64, mark: Option<RecoveryMark>) -> Opening {
    Opening { mark, ..unclean(recovery_point) }
}

fn log_file(base: i64) -> std::path::PathBuf {
    path(&segment_file(Offset(base), ".log"))
}

fn next_sequence(log: &Log, id: i64) -> i32 {
    let producer = log.producers().iter().find(|(known, _)| known.0 == id);
    producer.map_or(0, |(_, entry)| entry.last_sequence() + 1)
}

/// `n` batches of a producer, every tenth transaction of another aborted.
fn work(log: &mut Log, n: i32) {
    let first = next_sequence(log, 1);
    for i in 0..n {
        append(log, &values(["some value", "another"]).by(1, 0, first + 2 * i)).unwrap();
        if i % 10 == 0 {
            let sequence = next_sequence(log, 2);
            append(log, &values(["open"]).by(2, 0, sequence).transactional()).unwrap();
            end(log, 2, 0, i % 20 == 0).unwrap();
        }
    }
}

/// A segment with a mark in its middle; gives the mark, and what was synced in all.
fn one_segment() -> (Arc<MemoryDisk>, Log, RecoveryMark) {
    marked_after(100)
}

fn marked_after(batches: i32) -> (Arc<MemoryDisk>, Log, RecoveryMark) {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, large());
    work(&mut log, batches);
    assert!(log.prepare_checkpoint(1).unwrap());
    sync(&mut log, &disk);
    let mark = log.mark().unwrap();
    assert_eq!(mark.offset, log.log_end_offset());
    assert!(log.take_new_mark() && !log.take_new_mark());
    work(&mut log, 50);
    (disk, log, mark)
}

fn everything(log: &Log) -> impl PartialEq + std::fmt::Debug + Clone + use<> {
    let view = log.view();
    let aborted = view.aborted_transactions(Offset(0), Offset(i64::MAX));
    // Kafka's snapshots hold a producer's last batch only.
    let last = |entry: &klamm_log::ProducerEntry| {
        (entry.epoch, entry.batches.back().copied(), entry.transaction_first_offset)
    };
    let mut producers: Vec<String> =
        log.producers().iter().map(|(id, entry)| format!("{id:?} {:?}", last(entry))).collect();
    producers.sort();
    (records(view), aborted, producers, view.synced_offset() <= view.log_end_offset())
}

#[test]
fn after_a_crash_only_what_came_after_the_mark_is_read() {
    let (disk, log, mark) = marked_after(2_000);
    let crashed = disk.copy();
    let before = crashed.counts.of(|c| &c.read_bytes);
    let (recovered, report) = open(&crashed, marked(0, Some(mark)));
    let read = crashed.counts.of(|c| &c.read_bytes) - before;
    let size = log.view().size_bytes();
    assert_eq!(report.bytes_checked, size - mark.position);
    assert_eq!((report.segments_checked, report.bytes_cut), (1, 0));
    assert!(read < size / 4, "{read} of {size} bytes were read");
    assert_eq!(everything(&recovered), everything(&log));
    assert!(recovered.recovery_point() >= mark.offset);
    // Found again by offset and time in the part that was not read, too.
    for offset in (0..log.log_end_offset().0).step_by(701) {
        assert_eq!(
            records_below(log.view(), Offset(offset)),
            records_below(recovered.view(), Offset(offset))
        );
    }
}

#[test]
fn without_anything_after_the_mark_no_batch_is_read() {
    let (disk, mut log, _) = one_segment();
    log.prepare_checkpoint(1).unwrap();
    sync(&mut log, &disk);
    let (recovered, report) = open(&disk.copy(), marked(0, log.mark()));
    assert_eq!(report, klamm_log::RecoveryReport::default());
    assert_eq!(everything(&recovered), everything(&log));
    assert_eq!(recovered.mark(), log.mark(), "it still holds in the next life");
}

#[test]
fn every_synced_batch_moves_the_mark_and_no_other_does() {
    let (disk, mut log, mark) = one_segment();
    assert_eq!(log.mark(), Some(mark));
    let ticket = log.sync_ticket().unwrap().unwrap();
    assert_eq!(log.mark(), Some(mark), "nothing is vouched for before it is synced");
    ticket.sync(disk.as_ref()).unwrap();
    fill(&mut log, 3);
    log.on_synced(ticket.up_to);
    let moved = log.mark().unwrap();
    assert_eq!((moved.offset, moved.index_entries), (ticket.up_to, mark.index_entries));
    assert!(!log.take_new_mark(), "the checkpoint is not worth writing for batches alone");
}

#[test]
fn a_tail_behind_the_mark_is_cut_where_it_is_torn() {
    let (disk, log, mark) = one_segment();
    let expected = records(log.view());
    let whole = disk.bytes(&log_file(0)).unwrap();
    for len in (mark.position as usize..whole.len()).step_by(97) {
        let disk = disk.copy();
        disk.put(&log_file(0), &whole[..len]);
        let (mut log, report) = open(&disk, marked(mark.offset.0, Some(mark)));
        let found = records(log.view());
        assert_eq!(found[..], expected[..found.len()], "cut to {len}");
        assert!(log.log_end_offset() >= mark.offset);
        assert_eq!(log.view().size_bytes() + report.bytes_cut, len as u64);
        fill(&mut log, 1);
        assert_eq!(records(log.view()).len(), found.len() + 1);
    }
}

#[test]
fn a_mark_that_does_not_fit_the_files_is_ignored_and_nothing_is_lost() {
    let (disk, log, mark) = one_segment();
    let expected = everything(&log);
    for wrong in [
        RecoveryMark { position: mark.position + 1, ..mark },
        RecoveryMark { position: mark.position - 1, ..mark },
        RecoveryMark { position: 1 << 40, ..mark },
        RecoveryMark { offset: mark.offset.plus(1), ..mark },
        RecoveryMark { offset: mark.offset.plus(-1), ..mark },
        RecoveryMark { segment_base: Offset(7), ..mark },
        RecoveryMark { index_entries: 1 << 20, ..mark },
        RecoveryMark { time_entries: 1 << 20, ..mark },
    ] {
        let (recovered, report) = open(&disk.copy(), marked(0, Some(wrong)));
        assert_eq!(report.bytes_checked, log.view().size_bytes(), "{wrong:?}");
        assert_eq!(everything(&recovered), expected, "{wrong:?}");
    }
    for lost in [".index", ".timeindex"] {
        let disk = disk.copy();
        disk.remove(&path(&segment_file(Offset(0), lost)));
        let (recovered, _) = open(&disk, marked(mark.offset.0, Some(mark)));
        assert_eq!(everything(&recovered), expected, "without {lost}");
    }
    // Without the snapshot the producers are found in the batches.
    let disk = disk.copy();
    disk.remove(&path(&segment_file(mark.snapshot.unwrap(), ".snapshot")));
    assert_eq!(everything(&open(&disk, marked(0, Some(mark))).0), expected);
}

#[track_caller]
fn refused(disk: &Arc<MemoryDisk>, opening: Opening) -> (u64, String) {
    let before = disk.bytes(&log_file(0)).unwrap();
    let error = Log::open(&as_disk(disk), &dir(), large(), opening, NOW).unwrap_err();
    assert_eq!(disk.bytes(&log_file(0)).unwrap(), before, "nothing is cut");
    match &error {
        LogError::Corrupt { position, .. } => (*position, error.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn damage_below_the_recovery_point_or_a_mark_is_named_with_its_cure_and_never_cut() {
    let (disk, log, mark) = one_segment();
    let mut bytes = disk.bytes(&log_file(0)).unwrap();
    let at = bytes.len() / 2;
    assert!((at as u64) < mark.position);
    bytes[at] ^= 0x10;
    disk.put(&log_file(0), &bytes);
    // Without its index the segment is checked as a whole.
    disk.remove(&path(&segment_file(Offset(0), ".index")));
    for opening in [marked(mark.offset.0, None), marked(0, Some(mark))] {
        let (position, text) = refused(&disk, opening);
        assert!((position as usize) <= at && at - (position as usize) < 200, "{position} {at}");
        let cure = format!("truncate --size={position} ");
        for part in ["00000000000000000000.log", "corrupt at byte", "replica or a backup", &cure] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        // The cure is one.
        let cured = disk.copy();
        cured.put(&log_file(0), &bytes[..position as usize]);
        let (recovered, report) = open(&cured, opening);
        assert_eq!(report.bytes_cut, 0);
        let found = records(recovered.view());
        assert_eq!(found[..], records(log.view())[..found.len()]);
    }
    // Nothing vouches for it: then it is where the log ends.
    let (recovered, report) = open(&disk, marked(0, None));
    assert!(report.bytes_cut > 0 && recovered.log_end_offset() < mark.offset);
}

#[test]
fn a_segment_missing_its_end_below_the_recovery_point_is_damage_too() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, large());
    work(&mut log, 30);
    log.roll(NOW).unwrap();
    let second = log.log_end_offset();
    work(&mut log, 30);
    log.roll(NOW).unwrap();
    work(&mut log, 30);
    sync(&mut log, &disk);
    let file = log_file(second.0);
    let whole = disk.bytes(&file).unwrap();
    disk.put(&file, &whole[..whole.len() - 5]);
    // Sealed below the mark, it is not looked at; the gap is found when somebody reads there.
    open(&disk.copy(), marked(0, log.mark()));
    let within = Opening { recovery_point: second.plus(1), ..unclean(0) };
    let (recovered, report) = open(&disk.copy(), within);
    assert!(report.bytes_cut > 0 && recovered.log_end_offset() > second, "above it is a tear");
}

#[test]
fn a_cut_of_the_log_takes_its_mark_and_recovery_point_down_first() {
    let (disk, mut log, mark) = one_segment();
    sync(&mut log, &disk);
    log.lower_to(Offset(100));
    assert_eq!((log.mark(), log.recovery_point()), (None, Offset(100)));
    log.truncate_to(Offset(100), NOW).unwrap();
    work(&mut log, 5);
    sync(&mut log, &disk);
    let lowered = log.mark().unwrap();
    assert!(lowered.offset < mark.offset);
    let (recovered, report) = open(&disk.copy(), marked(lowered.offset.0, Some(lowered)));
    assert_eq!((everything(&recovered), report.bytes_cut), (everything(&log), 0));
}

#[test]
fn snapshots_inside_of_segments_go_when_a_written_mark_needs_them_no_more() {
    let (disk, mut log, first) = one_segment();
    let snapshots = |disk: &MemoryDisk| -> Vec<String> {
        disk.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect()
    };
    log.prepare_checkpoint(1).unwrap();
    sync(&mut log, &disk);
    let second = log.mark().unwrap();
    log.on_mark_written(first).unwrap();
    let file = |mark: RecoveryMark| segment_file(mark.snapshot.unwrap(), ".snapshot");
    assert_eq!(snapshots(&disk), [file(first), file(second)]);
    log.on_mark_written(second).unwrap();
    assert_eq!(snapshots(&disk), [file(second)]);
}
