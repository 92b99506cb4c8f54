//! What groups promise whose members change their protocol, held against members, networks and
//! crashes that a seed makes up. A failing seed is one line that replays it: `cargo run -p klamm-sim
//! -- migration N`.

use klamm_coordinator::{CoordinatorBug, with_bug};
use klamm_sim::coordinators::migration::{self, MigrationTally};
use klamm_sim::coordinators::{Tail, Tally};

/// A few seconds; `klamm-sim migration 0 20000` is for a longer while.
const SEEDS: u64 = 120;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 40;
/// Tried until a bug shows.
const SEEDS_MAX: u64 = 500;

#[test]
fn whichever_way_members_go_partitions_have_one_owner_and_the_group_ends_as_its_members_are() {
    let mut tally = MigrationTally::default();
    for seed in 0..SEEDS {
        match migration::random(seed) {
            Ok(did) => tally.add(did),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{tally:?}");
    assert!(tally.taken > 1_000 && tally.commits > 3_000, "{tally:?} says too little");
    assert!(tally.upgrades > 50 && tally.downgrades > 50, "{tally:?} says too little");
    assert!(tally.switches > 200 && tally.removed > 200, "{tally:?} says too little");
    assert!(tally.crashes > 100 && tally.refused > 50, "{tally:?} says too little");
    assert!(tally.drawn.choices() > 50, "{tally:?} says too little");
    assert_eq!(tally.drawn.never(), [] as [String; 0], "never drawn: it says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_a_group_that_changes_its_protocol() {
    let mut crashes = 0;
    for seed in 0..2 {
        let never = migration::crash_at(seed, usize::MAX, Tail::Kept);
        let batches = never.unwrap_or_else(|violation| panic!("{violation}")).batches;
        for n in 1..=batches.min(BATCHES_MAX) {
            for tail in Tail::ALL {
                match migration::crash_at(seed, n, tail) {
                    Ok(did) => crashes += did.crashes,
                    Err(violation) => panic!("{violation}"),
                }
            }
        }
    }
    assert!(crashes > 180, "{crashes} crashes are too few to say anything");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..10 {
        let did = || migration::random(seed).unwrap_or_else(|v| panic!("{v}"));
        assert_eq!(did(), did(), "seed {seed}");
    }
}

fn is_found(bug: CoordinatorBug, how: &str) {
    let run = |seed| with_bug(bug, || migration::random(seed)).err();
    let found = (0..SEEDS_MAX).filter_map(run).find(|violation| violation.what.contains(how));
    let violation = found.unwrap_or_else(|| panic!("{bug:?} is not found by {SEEDS_MAX} seeds"));
    println!("{bug:?}: by seed {}: {}", violation.seed, violation.what);
    assert!(migration::random(violation.seed).is_ok(), "it is found without the bug too");
}

#[test]
fn a_partition_that_is_given_before_its_former_owner_has_revoked_it_is_found() {
    is_found(CoordinatorBug::TwoOwners, "two owners");
}

#[test]
fn an_upgrade_that_forgets_what_members_have_is_found() {
    is_found(CoordinatorBug::UpgradeForgetsOwners, "two owners");
}

#[test]
fn a_group_of_classic_members_that_stays_one_of_the_consumer_protocol_is_found() {
    is_found(CoordinatorBug::NeverDowngraded, "all members are classic ones");
}
