//! What groups promise whose members change their protocol, held against members, networks and
//! crashes that a seed makes up. A failing seed is one line that replays it: `cargo run -p klamm-sim
//! -- migration N`.

mod common;

use common::{all_keep_their_promises, does_the_same, is_found, may_crash_at_every_batch};
use klamm_coordinator::CoordinatorBug;
use klamm_sim::coordinators::migration::Migration;

/// A few seconds; `klamm-sim migration 0 20000` is for a longer while.
const SEEDS: u64 = 120;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 40;

#[test]
fn whichever_way_members_go_partitions_have_one_owner_and_the_group_ends_as_its_members_are() {
    let tally = all_keep_their_promises::<Migration>(SEEDS);
    assert!(tally.taken > 1_000 && tally.commits > 3_000, "{tally:?} says too little");
    assert!(tally.upgrades > 50 && tally.downgrades > 50, "{tally:?} says too little");
    assert!(tally.switches > 200 && tally.removed > 200, "{tally:?} says too little");
    assert!(tally.counts.crashes > 100, "{tally:?} says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_a_group_that_changes_its_protocol() {
    may_crash_at_every_batch::<Migration>(BATCHES_MAX);
}

#[test]
fn the_same_seed_does_the_same() {
    does_the_same::<Migration>(10);
}

#[test]
fn a_partition_that_is_given_before_its_former_owner_has_revoked_it_is_found() {
    is_found::<Migration>(CoordinatorBug::TwoOwners, "two owners");
}

#[test]
fn an_upgrade_that_forgets_what_members_have_is_found() {
    is_found::<Migration>(CoordinatorBug::UpgradeForgetsOwners, "two owners");
}

#[test]
fn a_group_of_classic_members_that_stays_one_of_the_consumer_protocol_is_found() {
    is_found::<Migration>(CoordinatorBug::NeverDowngraded, "all members are classic ones");
}
