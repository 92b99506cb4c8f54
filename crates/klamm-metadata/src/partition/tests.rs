//! How changes of a partition are merged, told and refused.

use super::*;

fn partition() -> PartitionRegistration {
    PartitionRegistration::from_record(&PartitionRecord {
        partition_id: 3,
        replicas: vec![1, 2, 3],
        directories: vec![Uuid(201), Uuid(202), Uuid(203)],
        isr: vec![1, 2, 3],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        ..PartitionRecord::default()
    })
    .unwrap()
}

#[test]
fn a_named_leader_raises_both_epochs_and_no_leader_change_only_one() {
    let change = PartitionChangeRecord { leader: 2, ..PartitionChangeRecord::default() };
    let next = partition().merged(&change).unwrap();
    assert_eq!((next.leader, next.leader_epoch.0, next.partition_epoch), (Some(NodeId(2)), 1, 1));
    let change = PartitionChangeRecord { isr: Some(vec![2]), ..PartitionChangeRecord::default() };
    let next = next.merged(&change).unwrap();
    assert_eq!((next.leader, next.leader_epoch.0, next.partition_epoch), (Some(NodeId(2)), 1, 2));
    assert_eq!(next.isr, [NodeId(2)]);
}

#[test]
fn the_same_leader_named_again_is_an_election() {
    let change = PartitionChangeRecord { leader: 1, ..PartitionChangeRecord::default() };
    assert_eq!(partition().merged(&change).unwrap().leader_epoch, LeaderEpoch(1));
}

#[test]
fn replicas_that_stay_keep_their_directories_and_new_ones_have_none() {
    let change =
        PartitionChangeRecord { replicas: Some(vec![4, 1]), ..PartitionChangeRecord::default() };
    let next = partition().merged(&change).unwrap();
    assert_eq!(next.directories, [Uuid::DIRECTORY_UNASSIGNED, Uuid(201)]);
}

#[test]
fn a_record_without_directories_comes_from_a_version_that_had_none() {
    let record = PartitionRecord { replicas: vec![1, 2], ..PartitionRecord::default() };
    let partition = PartitionRegistration::from_record(&record).unwrap();
    assert_eq!(partition.directories, [Uuid::DIRECTORY_MIGRATING; 2]);
}

#[test]
fn contradictions_are_refused() {
    let directories =
        PartitionRecord { replicas: vec![1], directories: vec![Uuid(1); 2], ..Default::default() };
    assert!(PartitionRegistration::from_record(&directories).is_err());
    let state = PartitionRecord { leader_recovery_state: 7, ..Default::default() };
    assert!(PartitionRegistration::from_record(&state).is_err());
    let directories =
        PartitionChangeRecord { directories: Some(vec![Uuid(9)]), ..Default::default() };
    assert!(partition().merged(&directories).is_err());
    let state = PartitionChangeRecord { leader_recovery_state: 2, ..Default::default() };
    assert!(partition().merged(&state).is_err());
    let mut last = partition();
    last.partition_epoch = i32::MAX;
    assert!(last.merged(&PartitionChangeRecord::default()).is_err());
}

#[test]
fn a_version_without_a_place_for_directories_or_elr_is_an_error_not_a_loss() {
    let record = |partition: &PartitionRegistration, name| {
        partition.to_record(Uuid(7), 3, MetadataVersion::from_name(name).unwrap())
    };
    assert!(record(&partition(), "4.3").is_ok());
    assert!(record(&partition(), "3.6").is_err());
    let mut eligible = partition();
    eligible.eligible_leader_replicas = vec![NodeId(2)];
    assert!(record(&eligible, "3.9").is_err());
    let back = PartitionRegistration::from_record(&record(&eligible, "4.3").unwrap());
    assert_eq!(back, Ok(eligible));
}
