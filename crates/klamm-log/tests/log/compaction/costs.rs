//! A ratchet: what a run asks of the disk for each megabyte that it cleans. Nothing is timed.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use klamm_log::{CleanReport, Cleaner, CleanerOptions, KeySecret, Log, LogConfig};
use klamm_model::Timestamp;

use super::support::*;
use crate::batches::{NOW, create, sync};
use crate::disk::{Counts, MemoryDisk};

const SEGMENTS: u64 = 4;
const BATCHES_A_SEGMENT: u64 = 256;
const RECORDS_A_BATCH: u64 = 128;
const KEYS: u64 = 100_000;
const FEW_KEYS: u64 = 100;
/// As `log.cleaner.io.buffer.size` is by default; half of it is for reading.
const IO_BYTES: usize = 512 << 10;

/// These only go down: of what is cleaned, what is read if hardly a batch is superseded as a
/// whole, and if nearly all are.
const READ_BYTES_MAX: f64 = 2.01;
const READ_BYTES_OF_FEW_KEYS_MAX: f64 = 1.02;
/// Calls beyond those that fill the buffer: a look at each segment's first header, and its last
/// part.
const MORE_READS_A_SEGMENT_MAX: u64 = 4;
/// The batches, three indexes.
const SYNCS_A_SEGMENT_MAX: u64 = 4;
const MORE_WRITES_A_SEGMENT_MAX: u64 = 4;
const OPENS_A_SEGMENT_MAX: u64 = 4;

/// A log of a megabyte of 100-byte values a segment, all of it dirty and synced.
fn filled(disk: &Arc<MemoryDisk>, keys: u64) -> Mutex<Log> {
    let segment_bytes = 64 << 20;
    let log = Mutex::new(create(disk, LogConfig { segment_bytes, ..compacted() }));
    let mut state: u64 = 1;
    for n in 0..SEGMENTS * BATCHES_A_SEGMENT {
        let records = (0..RECORDS_A_BATCH).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (Some(format!("key-{:08}", (state >> 33) % keys)), Some("v".repeat(100)))
        });
        append(&log, &Keyed { records: records.collect(), ..Keyed::default() });
        if n % BATCHES_A_SEGMENT == BATCHES_A_SEGMENT - 1 {
            roll(&log);
        }
    }
    sync(&mut log.lock().unwrap(), disk);
    log
}

fn clean(log: &Mutex<Log>) -> CleanReport {
    // No two segments become one.
    let config = LogConfig { segment_bytes: 1 << 20, ..compacted() };
    log.lock().unwrap().reconfigure(config);
    let candidate = log.lock().unwrap().compaction_candidate().unwrap();
    let plan = candidate.assess(log.lock().unwrap().log_end_offset(), Timestamp(NOW.0)).unwrap();
    let options = CleanerOptions { keys_bytes: 128 << 20, load_factor: 0.9, io_bytes: IO_BYTES };
    Cleaner::new(KeySecret::new(&Fixed), options)
        .clean(log, (&candidate, &plan), NOW, &mut AtOnce)
        .unwrap()
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    reads: u64,
    read_bytes: u64,
    writes: u64,
    syncs: u64,
    opens: u64,
}

fn counts(disk: &MemoryDisk) -> Moment {
    let counted = |counter: fn(&Counts) -> &AtomicU64| disk.counts.of(counter);
    Moment {
        reads: counted(|c| &c.reads),
        read_bytes: counted(|c| &c.read_bytes),
        writes: counted(|c| &c.writes),
        syncs: counted(|c| &c.syncs),
        opens: counted(|c| &c.opens),
    }
}

#[test]
fn a_run_reads_the_dirty_part_twice_in_large_pieces_and_writes_what_stays_once() {
    let disk = MemoryDisk::new();
    let log = filled(&disk, KEYS);
    let before = counts(&disk);
    let report = clean(&log);
    let after = counts(&disk);
    assert!(report.bytes_before > 12 << 20 && report.bytes_after < report.bytes_before);
    let read = after.read_bytes - before.read_bytes;
    assert!((read as f64) < report.bytes_before as f64 * READ_BYTES_MAX, "{read}, {report:?}");
    let pieces = |bytes: u64| bytes.div_ceil(IO_BYTES as u64 / 2);
    let reads_max = pieces(report.bytes_before * 2) + SEGMENTS * MORE_READS_A_SEGMENT_MAX;
    assert!(after.reads - before.reads <= reads_max, "{before:?}, {after:?}, {reads_max}");
    let writes_max = pieces(report.bytes_after) + SEGMENTS * MORE_WRITES_A_SEGMENT_MAX;
    assert!(after.writes - before.writes <= writes_max, "{before:?}, {after:?}, {writes_max}");
    assert!(after.syncs - before.syncs <= SEGMENTS * SYNCS_A_SEGMENT_MAX, "{before:?}, {after:?}");
    assert!(after.opens - before.opens <= SEGMENTS * OPENS_A_SEGMENT_MAX, "{before:?}, {after:?}");
}

#[test]
fn what_is_superseded_as_a_whole_is_read_once() {
    let disk = MemoryDisk::new();
    let log = filled(&disk, FEW_KEYS);
    let before = counts(&disk);
    let report = clean(&log);
    let read = counts(&disk).read_bytes - before.read_bytes;
    assert_eq!(report.records_after, FEW_KEYS);
    assert_eq!(report.records_before, SEGMENTS * BATCHES_A_SEGMENT * RECORDS_A_BATCH);
    let most = report.bytes_before as f64 * READ_BYTES_OF_FEW_KEYS_MAX;
    assert!((read as f64) < most, "{read}, {report:?}");
}
