//! The orderly end of a log, alone and with others; syncs by time.

use std::sync::Arc;

use crate::batches::*;
use crate::disk::MemoryDisk;
use klamm_log::{Durability, Log, LogConfig};
use klamm_model::{Offset, Timestamp};

fn filled(disk: &Arc<MemoryDisk>) -> Log {
    let mut log = create(disk, config());
    for i in 0..40 {
        append(&mut log, &values(["value"]).by(7, 0, i).epoch(i / 10)).unwrap();
    }
    append(&mut log, &values(["open"]).by(8, 0, 0).transactional().epoch(4)).unwrap();
    log
}

#[test]
fn a_log_that_is_closed_with_others_leaves_the_same_files_as_one_that_is_closed_alone() {
    let (alone, together) = (MemoryDisk::new(), MemoryDisk::new());
    filled(&alone).close_clean().unwrap();
    let mut log = filled(&together);
    let closing = log.begin_close().unwrap().unwrap();
    assert!(closing.has_files_to_name());
    log.name_closed(&closing).unwrap();
    log.end_close(&closing);
    assert_eq!(alone.names(), together.names());
    for name in alone.names() {
        assert_eq!(alone.bytes(&path(&name)), together.bytes(&path(&name)), "{name}");
    }
    let (reopened, _) = open(&together, clean());
    assert_eq!(reopened.log_end_offset(), Offset(41));
    assert_eq!(reopened.recovery_point(), Offset(41));
}

#[test]
fn nothing_counts_as_synced_before_the_end_of_a_common_close() {
    let disk = MemoryDisk::new();
    let mut log = filled(&disk);
    let closing = log.begin_close().unwrap().unwrap();
    log.name_closed(&closing).unwrap();
    assert_eq!(log.recovery_point(), Offset(0));
    assert_eq!(log.closed(), None);
    log.end_close(&closing);
    assert_eq!(log.recovery_point(), Offset(41));
    assert!(log.begin_close().unwrap().is_none(), "there is nothing left to do");
}

#[test]
fn a_log_whose_common_close_was_given_up_is_closed_alone() {
    let disk = MemoryDisk::new();
    let mut log = filled(&disk);
    log.begin_close().unwrap().unwrap();
    log.close_clean().unwrap();
    assert_eq!(log.recovery_point(), Offset(41));
    // What was not synced is lost.
    let (reopened, _) = open(&disk.crash(|_| 1), clean());
    assert_eq!(reopened.log_end_offset(), Offset(41));
}

#[test]
fn a_log_that_cannot_be_written_is_not_closed_with_others() {
    let calls = 12;
    let mut refused = 0;
    for n in 0..calls {
        let disk = MemoryDisk::new();
        let mut log = filled(&disk);
        disk.fail_after(n);
        let closed = log.begin_close().and_then(|closing| {
            let closing = closing.expect("there are records");
            log.name_closed(&closing).map(|()| log.end_close(&closing))
        });
        assert_eq!(closed.is_err(), disk.has_failed(), "call {n}");
        assert!(log.closed().is_none(), "it has several segments, and may have failed");
        assert_eq!(log.is_closed_for_writing(), disk.has_failed(), "call {n}");
        refused += i64::from(disk.has_failed());
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn a_log_that_was_never_written_has_nothing_to_close() {
    let disk = as_disk(&MemoryDisk::new());
    let id = Some(klamm_model::Uuid(7));
    let mut log = Log::create(&disk, &dir(), id, config(), NOW).unwrap();
    assert!(log.begin_close().unwrap().is_none());
}

fn by_time(flush_ms: u64) -> LogConfig {
    let durability = Durability::PageCache;
    LogConfig { flush_ms: Some(flush_ms), durability, ..config() }
}

fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

#[test]
fn flush_ms_asks_for_a_sync_of_what_is_not_synced_and_no_oftener_than_it_says() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, by_time(1000));
    assert!(!log.take_flush_due(later(5_000)), "there is nothing to sync");
    append(&mut log, &values(["a"])).unwrap();
    assert!(!log.take_flush_due(later(999)));
    assert!(log.take_flush_due(later(1_000)));
    assert!(!log.take_flush_due(later(1_999)), "it was just asked for");
    assert!(log.take_flush_due(later(2_000)), "it is still not synced");
    log.close_clean().unwrap();
    assert!(!log.take_flush_due(later(9_000)), "everything is synced");
}

#[test]
fn flush_ms_holds_as_soon_as_it_is_changed_and_a_clock_that_was_set_back_delays_nothing() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { flush_ms: None, ..by_time(0) });
    append(&mut log, &values(["a"])).unwrap();
    assert!(!log.take_flush_due(later(i64::MAX - NOW.0)), "nobody asked for it");
    log.reconfigure(by_time(500));
    assert!(!log.take_flush_due(later(499)));
    assert!(log.take_flush_due(later(500)));
    assert!(log.take_flush_due(later(-3_600_000)));
}
