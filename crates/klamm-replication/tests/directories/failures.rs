//! Failed writes, failed syncs, no room.

use std::io;

use klamm_log::{AppendError, LogError};
use klamm_model::Timestamp;
use klamm_replication::AppendRefused;

use crate::disk::Call;
use crate::node::*;

#[test]
fn a_failed_sync_ends_all_writing_in_its_directory_and_what_was_synced_is_still_read() {
    let storage = Storage::new("failed-sync", 2);
    let partitions = storage.open(2);
    let failing = lead(&partitions, wanted("a", 0, Some(0)));
    let neighbour = lead(&partitions, wanted("a", 1, Some(0)));
    let elsewhere = lead(&partitions, wanted("a", 2, Some(1)));
    for partition in [&failing, &neighbour, &elsewhere] {
        assert!(commit(partition, "synced"));
    }
    storage.disk.fail(Call::Sync, &storage.path(0), io::ErrorKind::Other);
    assert!(!commit(&failing, "never synced"), "nothing is acknowledged after the failure");
    // The disk would work again, but nobody asks it: what it has is unknown.
    storage.disk.mend();
    let syncs = storage.disk.syncs();
    for partition in [&failing, &neighbour] {
        assert!(partition.is_offline());
        let refused = append_at(partition, "more", NOW);
        assert!(matches!(refused, Err(AppendRefused::Offline)), "{refused:?}");
        assert_eq!(values(partition), ["synced"]);
    }
    assert!(commit(&elsewhere, "more"), "the other directory goes on");
    assert_eq!(values(&elsewhere), ["synced", "more"]);
    assert!(storage.disk.syncs() > syncs, "only there");
    partitions.close(1);
    drop((partitions, failing, neighbour, elsewhere));

    let partitions = storage.open(2);
    let clean: Vec<bool> =
        partitions.directories().all().iter().map(|d| d.log_dir().was_clean()).collect();
    assert_eq!(clean, [false, true], "the failed directory is recovered");
    let failing = lead(&partitions, wanted("a", 0, Some(0)));
    assert!(commit(&failing, "after the restart"));
    assert_eq!(values(&failing)[0], "synced");
}

#[test]
fn a_failed_write_ends_all_writing_in_its_directory_and_the_torn_batch_is_never_read() {
    let storage = Storage::new("failed-write", 2);
    let partitions = storage.open(2);
    let failing = lead(&partitions, wanted("a", 0, Some(0)));
    let neighbour = lead(&partitions, wanted("a", 1, Some(0)));
    let elsewhere = lead(&partitions, wanted("a", 2, Some(1)));
    assert!(commit(&failing, "synced") && commit(&neighbour, "synced"));
    storage.disk.fail(Call::Write, &storage.path(0), io::ErrorKind::Other);
    let refused = append_at(&failing, "torn", NOW);
    assert!(matches!(refused, Err(AppendRefused::Log(AppendError::Disk(LogError::Io { .. })))));
    storage.disk.mend();
    for partition in [&failing, &neighbour] {
        let refused = append_at(partition, "more", NOW);
        assert!(matches!(refused, Err(AppendRefused::Offline)), "{refused:?}");
        assert_eq!(values(partition), ["synced"]);
    }
    assert!(commit(&elsewhere, "synced"));
    drop((partitions, failing, neighbour, elsewhere));

    let partitions = storage.open(2);
    let failing = lead(&partitions, wanted("a", 0, Some(0)));
    assert!(commit(&failing, "again"));
    assert_eq!(values(&failing), ["synced", "again"]);
}

#[test]
fn a_write_without_room_is_refused_and_the_next_one_with_room_is_not() {
    let storage = Storage::new("no-room", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "first"));
    storage.disk.fail(Call::Write, &storage.path(0), io::ErrorKind::StorageFull);
    storage.disk.say_space(1_000_000, 0);
    let refused = append_at(&partition, "torn", NOW);
    assert!(matches!(refused, Err(AppendRefused::Log(AppendError::Disk(LogError::Full { .. })))));
    let refused = append_at(&partition, "early", NOW);
    assert!(matches!(refused, Err(AppendRefused::NearlyFull(_))), "{refused:?}");
    assert!(!partition.is_offline());
    assert_eq!(values(&partition), ["first"]);
    storage.disk.mend();
    storage.disk.say_space(1_000_000, 500_000);
    // The disk is asked again after a second.
    assert!(append_at(&partition, "soon", Timestamp(NOW.0 + 999)).is_err());
    append_at(&partition, "second", Timestamp(NOW.0 + 1_000)).unwrap();
    assert!(commit(&partition, "third"));
    assert_eq!(values(&partition), ["first", "second", "third"]);
}

#[test]
fn producers_are_refused_before_the_disk_is_full_and_the_message_says_what_to_do() {
    let storage = Storage::new("nearly-full", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    storage.disk.say_space(1_000_000, 9_999);
    let refused = append_at(&partition, "early", NOW).unwrap_err().to_string();
    for part in ["9999 bytes are free", "10000 are kept", "klamm.storage.min.free.bytes", "delete"]
    {
        assert!(refused.contains(part), "{part:?} is not in: {refused}");
    }
    // What is exactly the limit is not enough once there was a shortage.
    storage.disk.say_space(1_000_000, 12_499);
    assert!(append_at(&partition, "still", Timestamp(NOW.0 + 2_000)).is_err());
    storage.disk.say_space(1_000_000, 12_500);
    append_at(&partition, "enough", Timestamp(NOW.0 + 4_000)).unwrap();
}

#[test]
fn a_topic_that_is_deleted_while_it_is_synced_fails_nothing() {
    let storage = Storage::new("deleted", 1);
    let partitions = storage.open(1);
    let other = lead(&partitions, wanted("other", 0, None));
    for round in 0..20 {
        let topic = format!("deleted-{round}");
        let partition = lead(&partitions, wanted(&topic, 0, None));
        append_at(&partition, "x", NOW).unwrap();
        // Somebody waits, so that the flusher is at it.
        drop(partition.committed_past(klamm_model::Offset(0)));
        partitions.delete_topic(&topic, topic_id(&topic));
        partitions.prepare_checkpoints();
        assert_eq!(partition.clean_up(NOW).unwrap(), 0);
    }
    assert!(commit(&other, "the directory is as sound as before"));
}
