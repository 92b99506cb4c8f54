//! Replicas move from one log directory to another while they are used, and nothing acknowledged
//! is lost on the way.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klamm_log::{Pace, Stopped};
use klamm_model::{LeaderEpoch, Offset, TopicIdPartition, TopicPartition};
use klamm_replication::{LogMover, MoveRefused, MoveTurn, Partition, Partitions};

use crate::disk::Call;
use crate::node::*;

struct Unlimited;

impl Pace for Unlimited {
    fn spend(&mut self, _: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Calls something before the step with a number.
struct AtStep<F>(usize, F);

impl<F: FnMut() -> Result<(), Stopped>> Pace for AtStep<F> {
    fn spend(&mut self, _: u64) -> Result<(), Stopped> {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 { (self.1)() } else { Ok(()) }
    }
}

fn name(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn ask(storage: &Storage, partitions: &Partitions, to: usize) -> Result<(), MoveRefused> {
    partitions.move_to(&name("a", 0), &storage.path(to).display().to_string())
}

fn mover(storage: &Storage, partitions: &Arc<Partitions>) -> LogMover {
    LogMover::new(storage.env(), Arc::clone(partitions))
}

/// Moves `a-0`, which must work.
fn move_to(storage: &Storage, partitions: &Arc<Partitions>, to: usize) {
    ask(storage, partitions, to).unwrap();
    assert_eq!(mover(storage, partitions).turn(&mut Unlimited), MoveTurn::Done);
    let partition = partitions.by_name("a", 0).unwrap();
    assert_eq!(partition.directory().log_dir().path(), storage.path(to));
    assert!(partitions.futures().is_empty());
}

/// Names in a directory that begin like the partition's.
fn left(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> =
        entries.map(|name| name.into_string().unwrap()).filter(|n| n.starts_with("a-0")).collect();
    names.sort();
    names
}

fn commit_all(partition: &Arc<Partition>, values: &[&str]) {
    values.iter().for_each(|value| assert!(commit(partition, value), "{value}"));
}

fn opened(storage: &Storage) -> Arc<Partitions> {
    Arc::new(storage.open(2))
}

#[test]
fn a_replica_moves_with_all_that_is_in_it_and_goes_on_where_it_is_then() {
    let storage = Storage::new("moves", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one", "two"]);
    assert!(partitions.take_assignments(10).is_empty());
    move_to(&storage, &partitions, 1);
    commit_all(&partition, &["three"]);
    assert_eq!(values(&partition), ["one", "two", "three"]);
    assert_eq!(left(&storage.path(1)), ["a-0"]);
    assert!(left(&storage.path(0)).iter().all(|name| name.ends_with("-delete")));
    partitions.remove_doomed();
    assert!(left(&storage.path(0)).is_empty());
    let id = TopicIdPartition { topic_id: topic_id("a"), partition: 0 };
    assert_eq!(partitions.take_assignments(10), [(id, directory_id(1))]);
    partitions.close(1);
    drop((partitions, partition));
    // After a clean stop and a crash, with the old directory in the metadata and the new one.
    for (i, metadata) in [1, 0, 1, 0].into_iter().enumerate() {
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(metadata)));
        commit_all(&partition, &["more"]);
        assert_eq!(partition.directory().log_dir().path(), storage.path(1));
        assert_eq!(partitions.take_assignments(10).len(), usize::from(metadata == 0));
        assert_eq!(values(&partition).len(), 4 + i);
        if i < 2 {
            partitions.close(1);
        }
    }
}

#[test]
fn a_move_goes_on_after_a_stop_and_after_a_crash() {
    for stop in ["clean", "kill"] {
        let storage = Storage::new(&format!("moves-on-{stop}"), 2);
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(0)));
        let large = "x".repeat(1_100_000);
        commit_all(&partition, &[&large, &large, &large, "last"]);
        ask(&storage, &partitions, 1).unwrap();
        let mut stops = AtStep(1, || Err(Stopped));
        assert_eq!(mover(&storage, &partitions).turn(&mut stops), MoveTurn::Stopped);
        let [future] = &partitions.futures()[..] else { panic!("one is on its way") };
        assert_eq!(future.directory, storage.path(1));
        assert!(future.size_bytes > 1_100_000 && future.offset_lag > 0, "{future:?}");
        if stop == "clean" {
            partitions.close(1);
        }
        drop((partitions, partition));
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(0)));
        assert_eq!(partitions.futures().len(), 1, "{stop}");
        assert_eq!(partition.directory().log_dir().path(), storage.path(0));
        commit_all(&partition, &["more"]);
        assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Done);
        assert_eq!(partition.directory().log_dir().path(), storage.path(1));
        assert_eq!(values(&partition)[3..], ["last", "more"]);
    }
}

#[test]
fn a_move_is_called_off_by_asking_for_where_the_replica_is() {
    let storage = Storage::new("moves-off", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one"]);
    ask(&storage, &partitions, 1).unwrap();
    ask(&storage, &partitions, 1).unwrap();
    assert_eq!(partitions.futures().len(), 1, "asking twice is asking once");
    ask(&storage, &partitions, 0).unwrap();
    assert!(partitions.futures().is_empty());
    assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Idle);
    // While it is copied.
    ask(&storage, &partitions, 1).unwrap();
    let mut calls_off = AtStep(1, || {
        ask(&storage, &partitions, 0).unwrap();
        Ok(())
    });
    assert_eq!(mover(&storage, &partitions).turn(&mut calls_off), MoveTurn::Done);
    partitions.remove_doomed();
    assert_eq!((left(&storage.path(0)).len(), left(&storage.path(1)).len()), (1, 0));
    commit_all(&partition, &["two"]);
    move_to(&storage, &partitions, 1);
    assert_eq!(values(&partition), ["one", "two"]);
}

#[test]
fn what_cannot_be_moved_is_refused_and_a_partition_to_come_is_made_where_it_was_asked_for() {
    let storage = Storage::new("moves-refused", 3);
    let partitions = Arc::new(storage.open(3));
    let path = |i: usize| storage.path(i).display().to_string();
    let nowhere = partitions.move_to(&name("a", 0), "/nowhere");
    assert!(matches!(nowhere, Err(MoveRefused::NoSuchDirectory)), "{nowhere:?}");
    let long = partitions.move_to(&name(&"a".repeat(249), 0), &path(0));
    assert!(matches!(long, Err(MoveRefused::NameTooLong)), "{long:?}");
    let unknown = partitions.move_to(&name("a", 0), &path(2));
    assert!(matches!(unknown, Err(MoveRefused::UnknownPartition)), "{unknown:?}");
    let partition = lead(&partitions, wanted("a", 0, None));
    assert_eq!(partition.directory().log_dir().path(), storage.path(2));
    partitions.directories().cordon(&[path(1)]);
    let cordoned = partitions.move_to(&name("a", 0), &path(1));
    assert!(matches!(cordoned, Err(MoveRefused::Cordoned)), "{cordoned:?}");
    let other = lead(&partitions, wanted("b", 0, Some(0)));
    storage.disk.fail(Call::Write, &storage.path(0), io::ErrorKind::Other);
    assert!(append_at(&other, "x", NOW).is_err());
    let offline = partitions.move_to(&name("a", 0), &path(0));
    assert!(matches!(offline, Err(MoveRefused::Offline)), "{offline:?}");
    let offline = partitions.move_to(&name("b", 0), &path(2));
    assert!(matches!(offline, Err(MoveRefused::Offline)), "{offline:?}");
}

#[test]
fn a_destination_that_fails_ends_the_move_and_the_partition_goes_on() {
    for call in [Call::Write, Call::Sync] {
        let storage = Storage::new(&format!("moves-to-bad-{call:?}"), 2);
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(0)));
        commit_all(&partition, &["one"]);
        ask(&storage, &partitions, 1).unwrap();
        storage.disk.fail(call, &storage.path(1), io::ErrorKind::Other);
        assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Done);
        assert!(partitions.directories().is_offline(directory_id(1)));
        assert!(!partition.is_offline());
        commit_all(&partition, &["two"]);
        storage.disk.mend();
        drop((partitions, partition));
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(0)));
        assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Done);
        assert_eq!(partition.directory().log_dir().path(), storage.path(1));
        assert_eq!(values(&partition), ["one", "two"]);
    }
}

#[test]
fn a_source_that_fails_ends_the_move_and_keeps_both() {
    let storage = Storage::new("moves-from-bad", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one"]);
    ask(&storage, &partitions, 1).unwrap();
    storage.disk.fail(Call::Write, &storage.path(0), io::ErrorKind::Other);
    assert!(append_at(&partition, "lost", NOW).is_err());
    assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Done);
    assert_eq!(partition.directory().log_dir().path(), storage.path(0));
    storage.disk.mend();
    drop((partitions, partition));
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    assert_eq!(mover(&storage, &partitions).turn(&mut Unlimited), MoveTurn::Done);
    assert_eq!(partition.directory().log_dir().path(), storage.path(1));
    assert_eq!(values(&partition), ["one"]);
}

#[test]
fn a_destination_that_fails_after_the_copy_became_the_log_loses_nothing_acknowledged() {
    let storage = Storage::new("moves-late", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one"]);
    ask(&storage, &partitions, 1).unwrap();
    // The copy was synced three times by then, and is renamed next.
    let mut fails = AtStep(3, || {
        append_at(&partition, "not acknowledged", NOW).unwrap();
        storage.disk.fail(Call::Sync, &storage.path(1), io::ErrorKind::Other);
        Ok(())
    });
    assert_eq!(mover(&storage, &partitions).turn(&mut fails), MoveTurn::Done);
    // Unless the sync that the first asked for has failed by now, the second's does.
    if let Ok(offset) = append_at(&partition, "nor this", NOW) {
        assert!(!block_on(partition.committed_past(Offset(offset))));
    }
    assert!(partition.is_offline());
    assert_eq!((left(&storage.path(0)).len(), left(&storage.path(1)).len()), (1, 1));
    partitions.close(1);
    storage.disk.mend();
    drop((partitions, partition));
    let partitions = opened(&storage);
    let clean: Vec<bool> =
        partitions.directories().all().iter().map(|d| d.log_dir().was_clean()).collect();
    assert_eq!(clean, [false, false], "both are recovered");
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["two"]);
    assert_eq!(values(&partition)[0], "one");
    partitions.remove_doomed();
    assert_eq!(left(&storage.path(0)).len() + left(&storage.path(1)).len(), 1);
}

#[test]
fn of_two_that_a_crash_has_left_the_one_that_reaches_further_is_taken() {
    for further in [0_u8, 1] {
        let storage = Storage::new(&format!("moves-twins-{further}"), 2);
        let partitions = opened(&storage);
        let partition = lead(&partitions, wanted("a", 0, Some(u128::from(further))));
        commit_all(&partition, &["one"]);
        let other = 1 - usize::from(further);
        let here = partition.directory().log_dir().path().join("a-0");
        copy_dir(&here, &storage.path(other).join("a-0"));
        commit_all(&partition, &["two"]);
        drop((partitions, partition));
        let partitions = opened(&storage);
        // Whatever the metadata says: it is told of the end of a move last.
        let partition = lead(&partitions, wanted("a", 0, Some(0)));
        commit_all(&partition, &["three"]);
        assert_eq!(values(&partition), ["one", "two", "three"]);
        assert_eq!(partition.directory().log_dir().path().join("a-0"), here);
        partitions.remove_doomed();
        assert!(left(&storage.path(other)).is_empty());
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_copy_in_the_directory_that_the_metadata_names_is_the_partition_if_there_is_no_other() {
    let storage = Storage::new("moves-abandoned", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(1)));
    commit_all(&partition, &["one"]);
    drop((partitions, partition));
    let future = format!("a-0.{:032x}-future", 7);
    std::fs::rename(storage.path(1).join("a-0"), storage.path(1).join(future)).unwrap();
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(1)));
    commit_all(&partition, &["two"]);
    assert_eq!(values(&partition), ["one", "two"]);
    assert_eq!(left(&storage.path(1)), ["a-0"]);
}

#[test]
fn a_topic_that_is_deleted_on_its_way_leaves_nothing_behind() {
    let storage = Storage::new("moves-deleted", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one"]);
    ask(&storage, &partitions, 1).unwrap();
    let mut deletes = AtStep(1, || {
        partitions.delete_topic("a", topic_id("a"));
        Ok(())
    });
    assert_eq!(mover(&storage, &partitions).turn(&mut deletes), MoveTurn::Done);
    assert!(partitions.futures().is_empty());
    let mut again = wanted("a", 0, Some(0));
    again.topic_id = topic_id("another");
    let again = lead(&partitions, again);
    partitions.remove_doomed();
    assert_eq!((left(&storage.path(0)).len(), left(&storage.path(1)).len()), (1, 0));
    assert!(values(&again).is_empty());
    commit_all(&again, &["two"]);
}

#[test]
fn records_that_are_deleted_on_the_way_are_not_in_the_copy() {
    let storage = Storage::new("moves-delete-records", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["one", "two", "three"]);
    partition.delete_records(Some(Offset(1))).unwrap();
    ask(&storage, &partitions, 1).unwrap();
    let mut deletes = AtStep(2, || {
        partition.delete_records(Some(Offset(2))).unwrap();
        Ok(())
    });
    assert_eq!(mover(&storage, &partitions).turn(&mut deletes), MoveTurn::Done);
    assert_eq!(partition.view().log_start_offset(), Offset(2));
    assert_eq!(values(&partition), ["three"]);
    // All of it.
    ask(&storage, &partitions, 0).unwrap();
    let mut deletes = AtStep(1, || {
        partition.delete_records(None).unwrap();
        Ok(())
    });
    assert_eq!(mover(&storage, &partitions).turn(&mut deletes), MoveTurn::Done);
    assert_eq!(partition.view().log_start_offset(), Offset(3));
    commit_all(&partition, &["four"]);
    assert_eq!(values(&partition), ["four"]);
    drop((partitions, partition));
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    commit_all(&partition, &["five"]);
    assert_eq!(values(&partition), ["four", "five"]);
}

#[test]
fn a_partition_without_a_record_moves_too() {
    let storage = Storage::new("moves-empty", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    move_to(&storage, &partitions, 1);
    commit_all(&partition, &["one"]);
    partitions.close(1);
    drop((partitions, partition));
    // One that an orderly stop has left is not opened before it moves.
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(1)));
    move_to(&storage, &partitions, 0);
    commit_all(&partition, &["two"]);
    assert_eq!(values(&partition), ["one", "two"]);
}

#[test]
fn what_is_acknowledged_while_a_replica_moves_to_and_fro_is_all_there_and_in_order() {
    let storage = Storage::new("moves-load", 2);
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    let is_done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !is_done.load(Ordering::SeqCst) || written < 100 {
                assert!(commit(&partition, &written.to_string()), "{written}");
                written += 1;
            }
            written
        });
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !is_done.load(Ordering::SeqCst) {
                let values = values(&partition);
                assert!(values.len() >= seen, "readers go back");
                seen = values.len();
            }
        });
        for round in 0..12 {
            move_to(&storage, &partitions, 1 - round % 2);
            partition.lead(LeaderEpoch(4 + i32::try_from(round).unwrap()));
        }
        is_done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        writer.join().unwrap()
    });
    let expected: Vec<String> = (0..written).map(|n: i32| n.to_string()).collect();
    assert_eq!(values(&partition), expected);
    drop((partitions, partition));
    let partitions = opened(&storage);
    let partition = lead(&partitions, wanted("a", 0, Some(0)));
    assert!(commit(&partition, "after the restart"));
    assert_eq!(values(&partition)[..expected.len()], expected);
}
