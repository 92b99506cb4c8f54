//! Readers while the log is appended to, rolled, cut and deleted: they see whole batches below
//! their bound, and never an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use klamm_log::{AtLeastOne, Limits, LogConfig, LogView, Read, ReadError};
use klamm_model::{Offset, Timestamp};
use klamm_records::batches;

use crate::batches::*;
use crate::disk::MemoryDisk;

/// Reads from a random place up to `bound`; gives how many batches were seen.
fn read_once(view: &LogView, from: i64, bound: i64) -> usize {
    let limits = Limits { bytes_max: 2000, at_least_one: AtLeastOne::Batch, upper: Offset(bound) };
    let read = match view.read(Offset(from), limits) {
        Ok(read) => read,
        Err(ReadError::OutOfRange { .. }) => return 0,
        Err(error) => panic!("{error}"),
    };
    // A cut may shorten the file before the slice is read.
    let Some(Ok(bytes)) = read.slice.map(|slice| slice.read()) else { return 0 };
    let mut next = from;
    let mut n = 0;
    for batch in batches(&bytes).map_while(Result::ok) {
        batch.check_crc().unwrap();
        assert!(batch.header().last_offset().0 >= next, "no step back");
        assert!(batch.header().base_offset.0 < bound, "nothing above the bound");
        next = batch.header().next_offset().0;
        n += 1;
    }
    n
}

#[test]
fn readers_see_whole_batches_below_their_bound_while_the_log_changes() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { retention_bytes: Some(20_000), ..config() });
    let view = Arc::clone(log.view());
    let (done, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let readers: Vec<_> = (0..2_i64)
        .map(|reader| {
            let view = Arc::clone(&view);
            let (done, committed) = (Arc::clone(&done), Arc::clone(&committed));
            std::thread::spawn(move || {
                let mut seen = 0;
                let mut step = reader;
                while !done.load(Ordering::Acquire) {
                    step += 1;
                    let bound = committed.load(Ordering::Acquire);
                    let start = view.log_start_offset().0;
                    let back = [1, 5, 60, bound - start, 3][step as usize % 5];
                    seen += read_once(&view, bound - back, bound);
                    let end = view.log_end_offset();
                    view.offset_for_timestamp(Timestamp(NOW.0), end).unwrap();
                    view.max_timestamp(end).unwrap();
                }
                seen
            })
        })
        .collect();
    for round in 0..3000_i64 {
        fill(&mut log, 3);
        let end = log.log_end_offset().0;
        // One batch is always above the bound.
        committed.store(end - 1, Ordering::Release);
        match round % 50 {
            10 => log.roll(NOW).unwrap(),
            20 => {
                log.delete_old_segments(NOW, Offset(end - 1)).unwrap();
                log.remove_doomed(Timestamp(NOW.0 + 60_000)).unwrap();
            }
            30 => {
                committed.store(end - 40, Ordering::Release);
                log.truncate_to(Offset(end - 40), NOW).unwrap();
            }
            _ => {}
        }
    }
    done.store(true, Ordering::Release);
    let seen: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(seen > 100, "{seen} batches seen");
}

#[test]
fn a_reader_that_comes_late_does_not_bring_a_deleted_segment_back() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { retention_ms: Some(1), ..config() });
    fill(&mut log, 100);
    log.close_clean().unwrap();
    let (mut log, _) = open(&disk, clean());
    log.reconfigure(LogConfig { retention_ms: Some(1), ..config() });
    let late = Timestamp(NOW.0 + 1000);
    log.delete_old_segments(late, Offset(100)).unwrap();
    log.remove_doomed(Timestamp(late.0 + 60_000)).unwrap();
    let limits = Limits { bytes_max: 100, at_least_one: AtLeastOne::Batch, upper: Offset(100) };
    let read = log.view().read(Offset(0), limits);
    assert!(matches!(read, Err(ReadError::OutOfRange { .. })));
    assert_eq!(disk.names().iter().filter(|name| name.ends_with(".log")).count(), 1);
}

#[test]
fn who_does_not_want_to_wait_gets_what_is_in_memory_and_hears_of_the_rest() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 1000);
    let limits = Limits { bytes_max: 500, at_least_one: AtLeastOne::Batch, upper: Offset(1000) };
    let view = log.view();
    let range = |read: Option<Read>| {
        read.map(|read| read.slice.map_or((0, 0), |slice| (slice.position, slice.len)))
    };
    for offset in 0..=1000 {
        let patient = range(Some(view.read(Offset(offset), limits).unwrap()));
        assert_eq!(range(view.read_cached(Offset(offset), limits).unwrap()), patient);
        disk.counts.is_cold.store(true, Ordering::SeqCst);
        let reads = disk.counts.of(|counts| &counts.reads);
        let cold = range(view.read_cached(Offset(offset), limits).unwrap());
        assert_eq!(disk.counts.of(|counts| &counts.reads), reads, "it waits for {offset}");
        // The places of the last batches are remembered, so no file is asked.
        let is_remembered = offset >= 1000 - 256;
        assert_eq!(cold, patient.filter(|_| is_remembered), "{offset}");
        disk.counts.is_cold.store(false, Ordering::SeqCst);
    }
}
