//! What groups of the consumer protocol promise, held against members, topics, networks and crashes
//! that a seed makes up. A failing seed is one line that replays it: `cargo run -p klamm-sim --
//! consumer-groups N`.

use klamm_coordinator::{CoordinatorBug, with_bug};
use klamm_sim::coordinators::consumers::{self, ConsumerGroupTally};
use klamm_sim::coordinators::{Tail, Tally};

/// A few seconds; `klamm-sim consumer-groups 0 20000` is for a longer while.
const SEEDS: u64 = 100;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 40;
/// Tried until a bug shows.
const SEEDS_MAX: u64 = 1000;

#[test]
fn whatever_happens_partitions_have_one_owner_epochs_never_go_back_and_the_group_settles() {
    let mut tally = ConsumerGroupTally::default();
    for seed in 0..SEEDS {
        match consumers::random(seed) {
            Ok(did) => tally.add(did),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{tally:?}");
    assert!(tally.taken > 1_000 && tally.commits > 5_000, "{tally:?} says too little");
    assert!(tally.removed > 200 && tally.crashes > 50, "{tally:?} says too little");
    assert!(tally.refused > 50, "{tally:?} says too little");
    assert!(tally.expired > 100 && tally.deleted_topics > 50, "{tally:?} says too little");
    assert!(tally.drawn.choices() > 50, "{tally:?} says too little");
    assert_eq!(tally.drawn.never(), [] as [String; 0], "never drawn: it says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_the_groups_log() {
    let mut crashes = 0;
    for seed in 0..2 {
        let never = consumers::crash_at(seed, usize::MAX, Tail::Kept);
        let batches = never.unwrap_or_else(|violation| panic!("{violation}")).batches;
        for n in 1..=batches.min(BATCHES_MAX) {
            for tail in Tail::ALL {
                match consumers::crash_at(seed, n, tail) {
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
        let did = || consumers::random(seed).unwrap_or_else(|v| panic!("{v}"));
        assert_eq!(did(), did(), "seed {seed}");
    }
}

fn is_found(bug: CoordinatorBug, how: &str) {
    let run = |seed| with_bug(bug, || consumers::random(seed)).err();
    let found = (0..SEEDS_MAX).filter_map(run).find(|violation| violation.what.contains(how));
    let violation = found.unwrap_or_else(|| panic!("{bug:?} is not found by {SEEDS_MAX} seeds"));
    println!("{bug:?}: by seed {}: {}", violation.seed, violation.what);
    assert!(consumers::random(violation.seed).is_ok(), "it is found without the bug too");
}

#[test]
fn a_partition_that_is_given_before_its_former_owner_has_revoked_it_is_found() {
    is_found(CoordinatorBug::TwoOwners, "two owners");
}

#[test]
fn a_pattern_that_stays_assigned_to_a_deleted_topic_is_found() {
    is_found(CoordinatorBug::DeletedTopicAssigned, "which is gone");
}

#[test]
fn an_answer_before_the_commit_is_found() {
    let found = (0..SEEDS_MAX).any(|seed| {
        with_bug(CoordinatorBug::AnswerBeforeCommit, || consumers::random(seed)).is_err()
    });
    assert!(found, "it is not found by {SEEDS_MAX} seeds");
}
