//! What groups of the consumer protocol promise, held against members, topics, networks and crashes
//! that a seed makes up. A failing seed is one line that replays it: `cargo run -p klamm-sim --
//! consumer-groups N`.

mod common;

use common::{all_keep_their_promises, does_the_same, is_found, may_crash_at_every_batch};
use klamm_coordinator::CoordinatorBug;
use klamm_sim::coordinators::consumers::ConsumerGroups;

/// A few seconds; `klamm-sim consumer-groups 0 20000` is for a longer while.
const SEEDS: u64 = 100;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 40;

#[test]
fn whatever_happens_partitions_have_one_owner_epochs_never_go_back_and_the_group_settles() {
    let tally = all_keep_their_promises::<ConsumerGroups>(SEEDS);
    assert!(tally.taken > 1_000 && tally.commits > 5_000, "{tally:?} says too little");
    assert!(tally.removed > 200 && tally.counts.crashes > 50, "{tally:?} says too little");
    assert!(tally.expired > 100 && tally.deleted_topics > 50, "{tally:?} says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_the_groups_log() {
    may_crash_at_every_batch::<ConsumerGroups>(BATCHES_MAX);
}

#[test]
fn the_same_seed_does_the_same() {
    does_the_same::<ConsumerGroups>(10);
}

#[test]
fn a_partition_that_is_given_before_its_former_owner_has_revoked_it_is_found() {
    is_found::<ConsumerGroups>(CoordinatorBug::TwoOwners, "two owners");
}

#[test]
fn a_pattern_that_stays_assigned_to_a_deleted_topic_is_found() {
    is_found::<ConsumerGroups>(CoordinatorBug::DeletedTopicAssigned, "which is gone");
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found::<ConsumerGroups>(CoordinatorBug::AnswerBeforeCommit, "");
}
