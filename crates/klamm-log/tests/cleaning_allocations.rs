//! A ratchet: what a run of the cleaner allocates, on the real disk. Alone in its process, so
//! that nobody else's allocations are counted.

use std::alloc::System;
use std::path::PathBuf;
use std::sync::Mutex;

use klamm_env::real;
use klamm_log::{
    Cleaner, CleanerOptions, Cleanup, KeySecret, Log, LogConfig, LogOwner, Origin, Pace, Stopped,
};
use klamm_model::{LeaderEpoch, Timestamp};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, ValidBatch};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const SEGMENTS: u64 = 4;
const BATCHES_A_SEGMENT: u64 = 256;
const RECORDS_A_BATCH: u64 = 128;
const KEYS: u64 = 10_000;

/// These only go down. Nothing is allocated for a batch or a record.
const ALLOCATIONS_A_SEGMENT_MAX: usize = 100;
/// A table that begins with 65,536 slots of 24 bytes, half a megabyte of buffers, and indexes.
const BYTES_MAX: usize = 2_300_000;

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

struct AtOnce;

impl Pace for AtOnce {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

fn fill(log: &Mutex<Log>) {
    let mut state: u64 = 1;
    for n in 0..SEGMENTS * BATCHES_A_SEGMENT {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..RECORDS_A_BATCH {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("key-{:08}", (state >> 33) % KEYS);
            let (key, value) = (Some(key.as_bytes()), Some(&[7; 100][..]));
            builder.push(RecordToAppend { timestamp: NOW, key, value, headers: &[] });
        }
        let bytes = builder.build().expect("nothing is compressed");
        let batch = ValidBatch::own(&bytes).expect("it was just built");
        log.with_log(|log| log.append_as_leader(batch, LeaderEpoch(0), Origin::Broker, NOW))
            .expect("the disk has room");
        if n % BATCHES_A_SEGMENT == BATCHES_A_SEGMENT - 1 {
            log.with_log(|log| log.roll(NOW)).expect("the disk has room");
        }
    }
}

#[test]
fn a_run_allocates_for_its_table_its_buffers_and_its_files_and_not_for_what_it_reads() {
    let env = real::env();
    let name = format!("klamm-cleaning-allocations-{}", std::process::id());
    let directory = Directory(std::env::temp_dir().join(name));
    let config =
        LogConfig { cleanup: Cleanup { delete: false, compact: true }, ..LogConfig::default() };
    let log = Log::create(&env.disk, &directory.0.join("topic-0"), None, config, NOW);
    let log = Mutex::new(log.expect("the directory is new"));
    fill(&log);
    let candidate = log.with_log(|log| log.compaction_candidate()).expect("it has segments");
    let end = log.with_log(|log| log.log_end_offset());
    let plan = candidate.assess(end, NOW).expect("nothing is read");
    let options = CleanerOptions { keys_bytes: 128 << 20, load_factor: 0.9, io_bytes: 512 << 10 };
    let region = Region::new(ALLOCATOR);
    let report = Cleaner::new(KeySecret::new(env.random.as_ref()), options)
        .clean(&log, (&candidate, &plan), NOW, &mut AtOnce)
        .expect("the log is sound");
    let used = region.change();
    assert_eq!(report.records_before, SEGMENTS * BATCHES_A_SEGMENT * RECORDS_A_BATCH);
    assert_eq!(report.records_after, KEYS);
    let count = used.allocations + used.reallocations;
    assert!(count <= ALLOCATIONS_A_SEGMENT_MAX * SEGMENTS as usize, "{count} allocations");
    assert!(used.bytes_allocated <= BYTES_MAX, "{} bytes", used.bytes_allocated);
}
