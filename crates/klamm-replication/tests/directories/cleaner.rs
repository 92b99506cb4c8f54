//! Which partition is compacted when, and what is remembered of it.

use std::sync::Arc;

use klamm_log::{CleanerOptions, Cleanup, LogConfig, Pace, Stopped, names};
use klamm_model::{Offset, Uuid};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, ValidBatch};
use klamm_replication::{LogCleaner, NewPartition, Partition, Partitions, Turn};

use crate::node::*;

const OPTIONS: CleanerOptions =
    CleanerOptions { keys_bytes: 1 << 20, load_factor: 0.9, io_bytes: 1 << 16 };

struct AtOnce;

impl Pace for AtOnce {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

struct Never;

impl Pace for Never {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Err(Stopped)
    }
}

fn compacted(topic: &str) -> NewPartition {
    let cleanup = Cleanup { delete: false, compact: true };
    let config = LogConfig { segment_bytes: 1000, cleanup, ..LogConfig::default() };
    NewPartition { config, ..wanted(topic, 0, None) }
}

/// `n` records of three keys; waits until they are committed.
fn fill(partition: &Arc<Partition>, n: i64) {
    for i in 0..n {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let (key, value) = (format!("key {}", i % 3), format!("a value of some length {i}"));
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        builder.push(RecordToAppend { timestamp: NOW, key, value, headers: &[] });
        let bytes = builder.build().unwrap();
        let batch = ValidBatch::own(&bytes).unwrap();
        let appended = partition.append(batch, klamm_log::Origin::Client, NOW).unwrap();
        assert!(block_on(partition.committed_past(appended.last_offset)));
    }
}

fn cleaner(storage: &Storage, partitions: &Arc<Partitions>) -> LogCleaner {
    LogCleaner::new(storage.env(), Arc::clone(partitions))
}

fn turn(cleaner: &LogCleaner) -> Turn {
    cleaner.turn(0, OPTIONS, &mut AtOnce)
}

fn checkpoint(storage: &Storage) -> String {
    let path = storage.path(0).join(names::CLEANER_OFFSETS);
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_filthiest_log_comes_first_and_all_are_remembered_over_a_restart() {
    let storage = Storage::new("filthiest", 1);
    let partitions = Arc::new(storage.open(1));
    let (small, large) =
        (lead(&partitions, compacted("small")), lead(&partitions, compacted("large")));
    let plain = lead(&partitions, wanted("plain", 0, None));
    fill(&small, 40);
    fill(&plain, 40);
    let cleaner_ = cleaner(&storage, &partitions);
    assert_eq!(turn(&cleaner_), Turn::Cleaned);
    assert_eq!(turn(&cleaner_), Turn::Idle);
    // All of one is dirty, and less than all of the other.
    fill(&small, 40);
    fill(&large, 40);
    assert_eq!(turn(&cleaner_), Turn::Cleaned);
    assert_eq!(values(&plain).len(), 40);
    assert!(values(&large).len() < 20 && values(&small).len() > 40);
    assert_eq!(turn(&cleaner_), Turn::Cleaned);
    assert_eq!(turn(&cleaner_), Turn::Idle);
    assert!(values(&small).len() < 20);
    let figures = cleaner_.figures();
    assert!(figures.recopy_ratio > 0.0 && figures.recopy_ratio < 0.5, "{figures:?}");
    assert!(figures.max_keys_utilization > 0.0 && figures.max_dirty_ratio < 0.5);
    let said = checkpoint(&storage);
    assert!(said.starts_with("0\n2\nlarge 0 ") && said.contains("\nsmall 0 "), "{said}");
    drop((small, large, plain, cleaner_));
    partitions.close(1);
    drop(partitions);

    let partitions = Arc::new(storage.open(1));
    lead(&partitions, compacted("large"));
    let cleaner = cleaner(&storage, &partitions);
    assert_eq!(turn(&cleaner), Turn::Idle, "it is as clean as it was");
    partitions.write_cleaner_checkpoints();
    assert_eq!(checkpoint(&storage), said, "also of logs that nobody has asked for yet");
}

#[test]
fn a_topic_of_a_deleted_ones_name_begins_dirty() {
    let storage = Storage::new("dirty-namesake", 1);
    let partitions = Arc::new(storage.open(1));
    let first = lead(&partitions, compacted("a"));
    fill(&first, 40);
    let cleaner_ = cleaner(&storage, &partitions);
    assert_eq!(turn(&cleaner_), Turn::Cleaned);
    assert!(checkpoint(&storage).contains("a 0 "));
    partitions.delete_topic("a", topic_id("a"));
    assert_eq!(checkpoint(&storage), "0\n0\n");
    let second = lead(&partitions, NewPartition { topic_id: Uuid(77), ..compacted("a") });
    fill(&second, 80);
    assert_eq!(turn(&cleaner_), Turn::Cleaned);
    assert!(values(&second).len() < 20);
}

#[test]
fn a_log_that_cannot_be_cleaned_is_left_alone_until_it_is_gone_and_the_others_go_on() {
    let storage = Storage::new("uncleanable", 1);
    let partitions = Arc::new(storage.open(1));
    let (sound, damaged) =
        (lead(&partitions, compacted("sound")), lead(&partitions, compacted("damaged")));
    fill(&damaged, 40);
    let file = storage.path(0).join("damaged-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let cleaner = cleaner(&storage, &partitions);
    assert_eq!(turn(&cleaner), Turn::Idle);
    assert_eq!(cleaner.uncleanable_count(&storage.path(0)), 1);
    assert!(!damaged.is_offline(), "it is read and written as before");
    fill(&sound, 40);
    assert_eq!(turn(&cleaner), Turn::Cleaned);
    assert!(values(&sound).len() < 20);
    assert_eq!(turn(&cleaner), Turn::Idle);
    assert_eq!(
        std::fs::read(&file).unwrap()[..bytes.len().min(900)],
        bytes[..900.min(bytes.len())]
    );
    partitions.delete_topic("damaged", topic_id("damaged"));
    assert_eq!(turn(&cleaner), Turn::Idle);
    assert_eq!(cleaner.uncleanable_count(&storage.path(0)), 0);
}

#[test]
fn a_run_that_is_stopped_changes_nothing_and_the_log_is_cleaned_another_time() {
    let storage = Storage::new("stopped", 1);
    let partitions = Arc::new(storage.open(1));
    let partition = lead(&partitions, compacted("a"));
    fill(&partition, 40);
    let cleaner = cleaner(&storage, &partitions);
    assert_eq!(cleaner.turn(0, OPTIONS, &mut Never), Turn::Stopped);
    assert_eq!(values(&partition).len(), 40);
    assert_eq!(turn(&cleaner), Turn::Cleaned);
}

#[test]
fn two_threads_never_have_the_same_log() {
    struct Nested<'a>(&'a LogCleaner, bool);
    impl Pace for Nested<'_> {
        fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
            if !std::mem::replace(&mut self.1, true) {
                assert_eq!(self.0.turn(1, OPTIONS, &mut AtOnce), Turn::Idle);
            }
            Ok(())
        }
    }
    let storage = Storage::new("threads", 1);
    let partitions = Arc::new(storage.open(1));
    let partition = lead(&partitions, compacted("a"));
    fill(&partition, 40);
    let cleaner = cleaner(&storage, &partitions);
    assert_eq!(cleaner.turn(0, OPTIONS, &mut Nested(&cleaner, false)), Turn::Cleaned);
    assert!(partition.view().log_end_offset() == Offset(40) && values(&partition).len() < 20);
}
