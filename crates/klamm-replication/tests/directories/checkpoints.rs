//! What checkpoints say of partitions, and of others that had their names.

use klamm_model::Uuid;
use klamm_replication::NewPartition;

use crate::node::*;

#[test]
fn a_topic_of_a_deleted_ones_name_does_not_inherit_its_checkpoints() {
    let storage = Storage::new("namesake", 1);
    let partitions = storage.open(1);
    let first = lead(&partitions, wanted("a", 0, None));
    for i in 0..100 {
        assert!(commit(&first, &i.to_string()));
    }
    partitions.prepare_checkpoints();
    partitions.write_checkpoints();
    partitions.delete_topic("a", topic_id("a"));
    let second = NewPartition { topic_id: Uuid(77), ..wanted("a", 0, None) };
    let partition = lead(&partitions, second.clone());
    assert!(commit(&partition, "new"));
    // No further checkpoint is written before the crash.
    drop((partitions, partition, first));

    let partitions = storage.open(1);
    let partition = lead(&partitions, second);
    assert_eq!(
        partition.checkpoint().unwrap().recovery_point.0,
        0,
        "nothing was said of the new topic"
    );
    assert!(commit(&partition, "more"));
    assert_eq!(values(&partition), ["new", "more"]);
}

#[test]
fn after_a_crash_a_mark_is_used_and_after_an_orderly_stop_it_still_holds() {
    let storage = Storage::new("marks", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    for i in 0..50 {
        assert!(commit(&partition, &i.to_string()));
    }
    partitions.write_checkpoints();
    assert!(commit(&partition, "after the checkpoint"));
    let mark = partition.checkpoint().unwrap().mark.unwrap();
    drop((partitions, partition));

    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert_eq!(partition.checkpoint().unwrap().mark.unwrap().offset.0, 50);
    assert!(commit(&partition, "after the crash"));
    assert_eq!(values(&partition)[50..], ["after the checkpoint", "after the crash"]);
    assert!(partition.checkpoint().unwrap().mark.unwrap().offset > mark.offset);
    partitions.close(1);
    let closed = partition.checkpoint().unwrap().mark;
    drop((partitions, partition));

    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert_eq!(partition.checkpoint().unwrap().mark, closed);
    assert_eq!(values(&partition).len(), 52);
}

#[test]
fn checkpoints_that_several_threads_write_at_once_fail_nothing() {
    let storage = Storage::new("checkpoints-together", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "one"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| partitions.write_checkpoints()));
        }
    });
    assert!(!partition.is_offline());
    assert!(commit(&partition, "two"));
}

#[test]
fn checkpoints_that_speak_of_a_deleted_topic_are_worth_writing_at_once() {
    let storage = Storage::new("checkpoints-outdated", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "one") && !partitions.has_outdated_checkpoints());
    partitions.delete_topic("a", topic_id("a"));
    assert!(partitions.has_outdated_checkpoints());
    partitions.write_checkpoints();
    assert!(!partitions.has_outdated_checkpoints());
}
