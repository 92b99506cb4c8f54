//! Many logs and few open files.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_log::{Log, OpenFiles};

use crate::batches::*;
use crate::disk::MemoryDisk;

const LIMIT: usize = 5;
const LOGS: usize = 40;

fn dir_of(i: usize) -> PathBuf {
    PathBuf::from(format!("/data/topic-{i}"))
}

fn many(disk: &Arc<MemoryDisk>, open_files: &Arc<OpenFiles>) -> Vec<Log> {
    let create = |i| {
        let mut log = Log::create(&as_disk(disk), &dir_of(i), None, config(), NOW).unwrap();
        log.bound_open_files(open_files);
        log
    };
    (0..LOGS).map(create).collect()
}

#[test]
fn files_of_many_logs_take_turns_and_nothing_is_lost() {
    let (disk, open_files) = (MemoryDisk::new(), OpenFiles::new(LIMIT));
    let mut logs = many(&disk, &open_files);
    for round in 1..=3 {
        for log in &mut logs {
            fill(log, 40);
            sync(log, &disk);
            assert!(open_files.len() <= LIMIT + 1, "{} are open", open_files.len());
        }
        // Readers come in another order.
        for log in logs.iter().rev() {
            let found = records(log.view());
            assert_eq!(found.len(), 40 * round);
            assert!(found.iter().all(|(offset, value)| *value == format!("value {offset}")));
        }
    }
    let ends: Vec<_> = logs.iter().map(Log::log_end_offset).collect();
    drop(logs);
    for (i, end) in ends.into_iter().enumerate() {
        let (log, report) = open_at(&disk, &dir_of(i), unclean(end.0));
        assert_eq!((log.log_end_offset(), report.bytes_cut), (end, 0));
    }
}

#[test]
fn a_file_with_unsynced_bytes_stays_open_until_they_are_synced() {
    let (disk, open_files) = (MemoryDisk::new(), OpenFiles::new(LIMIT));
    let mut logs = many(&disk, &open_files);
    logs.iter_mut().for_each(|log| fill(log, 1));
    assert_eq!(open_files.len(), LOGS);
    logs.iter_mut().for_each(|log| sync(log, &disk));
    assert!(open_files.len() <= 2 * LIMIT, "{} are open", open_files.len());
    for log in &mut logs {
        fill(log, 1);
        sync(log, &disk);
    }
    let crashed = disk.crash(|_| 0);
    for (i, log) in logs.iter().enumerate() {
        let (recovered, _) = open_at(&crashed, &dir_of(i), unclean(0));
        assert_eq!(records(recovered.view()), records(log.view()), "log {i}");
    }
}
