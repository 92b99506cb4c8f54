//! What the campaigns have found, each as a short story of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{Cleanup, Log, LogConfig, Opening, read_partition_metadata};
use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, Uuid};
use klamm_records::{
    BatchBuilder, BatchOptions, EndTxnMarker, Producer, RecordToAppend, ValidBatch,
};
use klamm_sim::{Call, Fate, SimDisk};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

fn config() -> LogConfig {
    LogConfig { index_interval_bytes: 0, retention_ms: None, ..LogConfig::default() }
}

fn create(disk: &SimDisk) -> Log {
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    Log::create(&disk.as_disk(), &dir(), Some(Uuid(5)), config(), NOW).unwrap()
}

fn open(disk: &SimDisk, opening: Opening) -> Log {
    Log::open(&disk.as_disk(), &dir(), config(), opening, NOW).unwrap().0
}

fn after_crash(recovery_point: i64) -> Opening {
    Opening {
        was_clean: false,
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset::ZERO,
        mark: None,
        cleaned_to: None,
    }
}

fn after_stop() -> Opening {
    Opening { was_clean: true, ..after_crash(0) }
}

/// Appends a record; of a producer's transaction if there is a sequence number.
fn append(log: &mut Log, leader_epoch: i32, sequence: Option<i32>) {
    let producer = sequence.map(|base_sequence| Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(0),
        base_sequence,
    });
    let is_transactional = producer.is_some();
    let mut builder =
        BatchBuilder::new(BatchOptions { producer, is_transactional, ..BatchOptions::default() });
    let value = Some(&b"some value"[..]);
    builder.push(RecordToAppend { timestamp: NOW, value, ..RecordToAppend::default() });
    let bytes = builder.build().unwrap();
    let batch = ValidBatch::own(&bytes).unwrap();
    log.append_as_leader(batch, LeaderEpoch(leader_epoch), klamm_log::Origin::Client, NOW).unwrap();
}

fn abort(log: &mut Log) {
    let marker = EndTxnMarker { is_abort: true, coordinator_epoch: 0 };
    let bytes = marker.batch(ProducerId(7), ProducerEpoch(0), NOW);
    let batch = ValidBatch::own(&bytes).unwrap();
    log.append_as_leader(batch, LeaderEpoch(0), klamm_log::Origin::Broker, NOW).unwrap();
}

fn sync(log: &mut Log, disk: &SimDisk) {
    let ticket = log.sync_ticket().unwrap().expect("there is something to sync");
    ticket.sync(disk).unwrap();
    log.on_synced(ticket.up_to);
}

#[test]
fn what_a_killed_process_wrote_is_synced_before_the_next_one_says_so() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    log.roll(NOW).unwrap();
    append(&mut log, 0, None);
    let disk = disk.kill();
    let mut log = open(&disk, after_crash(0));
    assert_eq!(log.log_end_offset(), Offset(2));
    sync(&mut log, &disk);
    assert_eq!(log.recovery_point(), Offset(2));
    let disk = disk.crash_with(Fate::Nothing, 1);
    assert_eq!(open(&disk, after_crash(2)).log_end_offset(), Offset(2));
    let topic_id = read_partition_metadata(&disk, &dir()).unwrap();
    assert_eq!(topic_id, Some(Uuid(5)));
}

#[test]
fn after_an_orderly_stop_the_power_may_go() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, Some(0));
    abort(&mut log);
    log.close_clean().unwrap();
    let disk = disk.crash_with(Fate::Nothing, 1);
    let names: Vec<String> = disk.list(&dir()).unwrap().into_iter().map(|e| e.name).collect();
    for suffix in [".index", ".timeindex", ".txnindex", ".snapshot"] {
        assert!(names.iter().any(|name| name.ends_with(suffix)), "{suffix} of {names:?}");
    }
    let log = open(&disk, after_stop());
    assert_eq!(log.view().aborted_transactions(Offset(0), Offset(9)).len(), 1);
    assert_eq!(log.view().max_timestamp(Offset(9)).unwrap().unwrap().timestamp, NOW);
}

#[test]
fn what_was_cut_off_does_not_come_back_behind_what_was_appended_next() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    for _ in 0..4 {
        append(&mut log, 0, None);
        log.roll(NOW).unwrap();
    }
    sync(&mut log, &disk);
    log.lower_to(Offset(1));
    log.truncate_to(Offset(1), NOW).unwrap();
    let disk = disk.crash_with(Fate::Nothing, 1);
    assert_eq!(open(&disk, after_crash(1)).log_end_offset(), Offset(1));
}

#[test]
fn a_cut_that_is_interrupted_leaves_no_gap() {
    for changes in 0..40 {
        for seed in 0..8 {
            let disk = SimDisk::new(1);
            let mut log = create(&disk);
            for _ in 0..5 {
                append(&mut log, 0, None);
                log.roll(NOW).unwrap();
            }
            sync(&mut log, &disk);
            log.lower_to(Offset(1));
            disk.power_off_after(changes);
            let _interrupted = log.truncate_to(Offset(1), NOW);
            let disk = disk.crash_with(Fate::Something, seed);
            let log = open(&disk, after_crash(1));
            let end = log.log_end_offset().0;
            assert!((1..=5).contains(&end));
            let bases: Vec<i64> = log.view().segment_bases().iter().map(|base| base.0).collect();
            let whole: Vec<i64> = (0..bases.len() as i64).collect();
            assert_eq!(bases, whole, "after {changes} changes, seed {seed}");
        }
    }
}

#[test]
fn producers_of_deleted_batches_are_known_even_if_a_crash_took_the_snapshot() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, Some(0));
    log.roll(NOW).unwrap();
    append(&mut log, 0, None);
    sync(&mut log, &disk);
    let snapshot = dir().join("00000000000000000001.snapshot");
    let disk = disk.kill();
    disk.put(&snapshot, &[]).unwrap();
    let mut log = open(&disk, after_crash(0));
    sync(&mut log, &disk);
    log.reconfigure(LogConfig { retention_bytes: Some(1), ..config() });
    assert!(log.delete_old_segments(NOW, Offset(2)).unwrap() > 0);
    let disk = disk.crash_with(Fate::Nothing, 1);
    let log = open(&disk, after_crash(0));
    assert!(log.log_start_offset() > Offset(0));
    assert_eq!(log.producers().open_transaction(ProducerId(7)), Some(Offset(0)));
}

#[test]
fn a_snapshot_of_batches_that_were_lost_is_not_believed() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, Some(0));
    log.roll(NOW).unwrap();
    let snapshot = dir().join("00000000000000000001.snapshot");
    let stale = disk.bytes(&snapshot).expect("a roll takes a snapshot");

    let disk = SimDisk::new(2);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    sync(&mut log, &disk);
    let disk = disk.kill();
    disk.put(&snapshot, &stale).unwrap();
    let mut log = open(&disk, after_crash(0));
    assert!(log.producers().is_empty());
    log.close_clean().unwrap();
    assert!(open(&disk, after_stop()).producers().is_empty());
}

#[test]
fn leader_epochs_of_batches_that_were_lost_are_not_believed() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 3, None);
    drop(log);
    let disk = disk.kill();
    let text = b"0\n2\n1 0\n3 7\n";
    disk.put(&dir().join("leader-epoch-checkpoint"), text).unwrap();
    let log = open(&disk, after_crash(0));
    assert_eq!(log.view().epoch_at(Offset(0)), Some(LeaderEpoch(3)));
}

#[test]
fn a_ticket_that_is_honoured_after_a_failed_one_acknowledges_nothing() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    let first = log.sync_ticket().unwrap().unwrap();
    append(&mut log, 0, None);
    let second = log.sync_ticket().unwrap().unwrap();
    disk.fail(Call::Sync, 1, std::io::ErrorKind::Other);
    first.sync(&disk).unwrap_err();
    log.on_sync_failed();
    second.sync(&disk).expect("after a failed sync the next one succeeds, and says nothing");
    log.on_synced(second.up_to);
    assert_eq!(log.recovery_point(), Offset(0));
}

#[test]
fn a_log_that_does_not_end_where_it_was_closed_is_checked() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    for _ in 0..3 {
        append(&mut log, 0, None);
    }
    log.close_clean().unwrap();
    let path = dir().join("00000000000000000000.log");
    let mut bytes = disk.bytes(&path).unwrap();
    let last = bytes.len() / 3 * 2;
    bytes[last + klamm_records::layout::LAST_OFFSET_DELTA + 1] ^= 1;
    disk.put(&path, &bytes).unwrap();
    let opening = Opening { recovery_point: Offset(3), ..after_stop() };
    let disk: Arc<dyn Disk> = disk.as_disk();
    let error = Log::open(&disk, &dir(), config(), opening, NOW).unwrap_err().to_string();
    assert!(error.contains(&format!("corrupt at byte {last}")), "{error}");
    assert!(error.contains("restore the file"), "{error}");
}

#[test]
fn a_directory_whose_topic_id_was_lost_is_told_again() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    sync(&mut log, &disk);
    let path = dir().join("partition.metadata");
    disk.remove(&path).unwrap();
    let mut log = open(&disk, after_crash(0));
    log.assign_topic_id(Uuid(5)).unwrap();
    sync(&mut log, &disk);
    let disk = disk.crash_with(Fate::Nothing, 1);
    assert_eq!(read_partition_metadata(&disk, &dir()).unwrap(), Some(Uuid(5)));
}

#[test]
fn a_sync_that_fails_for_want_of_room_is_a_failed_sync() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    // The first sync of a directory is that of the leader epochs' file.
    disk.fail(Call::SyncDir, 1, std::io::ErrorKind::StorageFull);
    log.sync_ticket().unwrap_err();
    assert!(log.sync_ticket().is_err() && log.close_clean().is_err());
}

#[test]
fn a_mark_is_given_up_before_a_cut_that_writes_the_indexes_anew() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    for _ in 0..3 {
        append(&mut log, 0, None);
    }
    log.prepare_checkpoint(1).unwrap();
    sync(&mut log, &disk);
    assert!(log.mark().is_some());
    log.lower_to(Offset(3));
    assert!(log.mark().is_none(), "its entries are not those of the files after the cut");
}

#[test]
fn what_a_kill_left_half_renamed_is_not_there_again_once_the_log_was_opened() {
    for changes in 1..30 {
        let disk = SimDisk::new(1);
        let mut log = create(&disk);
        append(&mut log, 0, None);
        log.roll(NOW).unwrap();
        append(&mut log, 0, None);
        sync(&mut log, &disk);
        log.lower_to(Offset(0));
        disk.power_off_after(changes);
        let _interrupted = log.truncate_fully_and_start_at(Offset(9), NOW);
        let disk = disk.kill();
        let end = open(&disk, after_crash(0)).log_end_offset();
        let again = open(&disk.crash_with(Fate::Nothing, 1), after_crash(0));
        assert_eq!(again.log_end_offset(), end, "killed after {changes} changes");
    }
}

#[test]
fn a_compacted_log_ends_where_bytes_never_reached_the_disk() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    append(&mut log, 0, None);
    log.roll(NOW).unwrap();
    append(&mut log, 0, None);
    drop(log);
    let disk = disk.kill();
    let path = dir().join("00000000000000000000.log");
    let bytes = disk.bytes(&path).unwrap();
    disk.put(&path, &bytes[..bytes.len() / 2]).unwrap();
    let cleanup = Cleanup { delete: false, compact: true };
    let open = |cleaned_to| {
        let disk = disk.kill();
        let opening = Opening { cleaned_to, ..after_crash(0) };
        let config = LogConfig { cleanup, ..config() };
        Log::open(&disk.as_disk(), &dir(), config, opening, NOW).unwrap().0.log_end_offset()
    };
    assert_eq!(open(None), Offset(1));
    assert_eq!(open(Some(Offset(1))), Offset(1), "compaction had not come so far");
    assert_eq!(open(Some(Offset(2))), Offset(3), "Kafka's cleaner leaves such gaps");
}

#[test]
fn a_log_that_could_not_wake_takes_nothing_more() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 0, None);
    log.close_clean().unwrap();
    let closed = log.closed().unwrap();
    let mut log = Log::asleep(&disk.as_disk(), &dir(), config(), &closed, NOW);
    disk.fail(Call::Read, 1, std::io::ErrorKind::Other);
    log.roll(NOW).unwrap_err();
    assert!(log.is_closed_for_writing());
    log.delete_records(Offset(1)).unwrap_err();
}

#[test]
fn a_topic_id_of_which_only_the_beginning_reached_the_disk_is_none() {
    let disk = SimDisk::new(1);
    drop(create(&disk));
    let path = dir().join("partition.metadata");
    let whole = disk.bytes(&path).unwrap();
    for n in 0..whole.len() {
        disk.put(&path, &whole[..n]).unwrap();
        assert_eq!(read_partition_metadata(&disk, &dir()).unwrap(), None, "{n} bytes");
    }
    disk.put(&path, b"version: 0\ntopic_id: no id").unwrap();
    read_partition_metadata(&disk, &dir()).unwrap_err();
}

#[test]
fn a_log_that_sleeps_writes_its_topic_id_again_if_it_was_lost() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    log.close_clean().unwrap();
    let closed = log.closed().unwrap();
    disk.put(&dir().join("partition.metadata"), &[0; 43]).unwrap();
    let mut log = Log::asleep(&disk.as_disk(), &dir(), config(), &closed, NOW);
    assert!(log.is_asleep());
    log.keep_topic_id(Some(Uuid(5)));
    append(&mut log, 0, None);
    assert!(!log.is_asleep());
    sync(&mut log, &disk);
    let disk = disk.crash_with(Fate::Nothing, 1);
    assert_eq!(read_partition_metadata(&disk, &dir()).unwrap(), Some(Uuid(5)));
}
