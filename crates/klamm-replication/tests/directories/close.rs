//! An orderly stop with many partitions: they are synced together, or not called sound.

use std::io::ErrorKind;
use std::sync::Arc;

use klamm_log::{Durability, LogConfig};
use klamm_model::Timestamp;
use klamm_replication::{NewPartition, Partition, Partitions};

use crate::disk::Call;
use crate::node::*;

const COUNT: i32 = 100;

/// Nothing of it is synced before somebody asks.
fn lazy(partition: i32) -> NewPartition {
    let config = LogConfig {
        durability: Durability::PageCache,
        flush_ms: Some(1_000),
        ..LogConfig::default()
    };
    NewPartition { config, ..wanted("many", partition, None) }
}

fn all(partitions: &Partitions) -> Vec<Arc<Partition>> {
    (0..COUNT).map(|i| lead(partitions, lazy(i))).collect()
}

fn filled(storage: &Storage) -> Partitions {
    let partitions = storage.open(1);
    for (i, partition) in all(&partitions).iter().enumerate() {
        append_at(partition, &format!("value {i}"), NOW).unwrap();
    }
    partitions
}

/// Starts again and expects every record; gives whether the stop was believed to be orderly, and
/// how many files the start has opened below the partitions.
fn restart(storage: &Storage) -> (bool, usize) {
    let opens = |i: i32| storage.disk.opens_below(&storage.path(0).join(format!("many-{i}")));
    let before: usize = (0..COUNT).map(opens).sum();
    let partitions = storage.open(1);
    let was_clean = partitions.directories().all()[0].log_dir().was_clean();
    let all = all(&partitions);
    let opened = (0..COUNT).map(opens).sum::<usize>() - before;
    for (i, partition) in all.iter().enumerate() {
        assert_eq!(values(partition), [format!("value {i}")]);
    }
    (was_clean, opened)
}

#[test]
fn many_partitions_are_synced_together_and_the_next_start_opens_none() {
    let storage = Storage::new("together", 1);
    let partitions = filled(&storage);
    let syncs = storage.disk.syncs();
    partitions.close(1);
    drop(partitions);
    assert_eq!(storage.disk.whole_syncs(), 2, "once for the files, once for names");
    // The checkpoints, and the marker.
    let single = storage.disk.syncs() - syncs;
    assert!(single < 20, "{single} files were synced one by one");
    assert_eq!(restart(&storage), (true, 0));
}

#[test]
fn where_a_file_system_cannot_be_synced_as_a_whole_every_file_is() {
    let storage = Storage::new("one-by-one", 1);
    let partitions = filled(&storage);
    storage.disk.fail(Call::SyncFileSystem, &storage.path(0), ErrorKind::Unsupported);
    let syncs = storage.disk.syncs();
    partitions.close(1);
    drop(partitions);
    assert_eq!(storage.disk.whole_syncs(), 0);
    let single = storage.disk.syncs() - syncs;
    assert!(single >= 5 * COUNT as u64, "only {single} syncs");
    assert_eq!(restart(&storage), (true, 0));
}

#[test]
fn a_stop_whose_sync_failed_is_not_called_orderly() {
    let storage = Storage::new("failed-stop", 1);
    let partitions = filled(&storage);
    storage.disk.fail(Call::SyncFileSystem, &storage.path(0), ErrorKind::Other);
    partitions.close(1);
    assert!(partitions.directories().all()[0].is_offline());
    drop(partitions);
    storage.disk.mend();
    let (was_clean, opened) = restart(&storage);
    assert!(!was_clean);
    assert!(opened >= COUNT as usize, "every log is recovered");
}

#[test]
fn a_partition_that_cannot_be_written_at_the_stop_has_all_recovered() {
    let storage = Storage::new("failed-file", 1);
    let partitions = filled(&storage);
    storage.disk.fail(Call::Write, &storage.path(0).join("many-7"), ErrorKind::Other);
    partitions.close(1);
    drop(partitions);
    storage.disk.mend();
    assert!(!restart(&storage).0);
}

#[test]
fn flush_ms_has_synced_what_nobody_waits_for() {
    let storage = Storage::new("flush-ms", 1);
    let partitions = storage.open(1);
    let (flushed, other) = (lead(&partitions, lazy(0)), lead(&partitions, lazy(1)));
    append_at(&flushed, "a", NOW).unwrap();
    let end = flushed.view().log_end_offset();
    let wall = storage.env().clock.wall();
    partitions.flush_by_time(Timestamp(wall.0 + 60_000));
    // The flusher's thread tells of it in its own time.
    while flushed.view().synced_offset() < end {
        std::thread::yield_now();
    }
    assert_eq!(other.view().synced_offset(), other.view().log_end_offset());
}
