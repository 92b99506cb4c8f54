//! What groups promise, held against members, networks and crashes that a seed makes up. A failing
//! seed is one line that replays it: `cargo run -p klamm-sim -- groups N`.

use klamm_coordinator::{CoordinatorBug, with_bug};
use klamm_sim::coordinators::groups::{self, GroupTally};
use klamm_sim::coordinators::{Tail, Tally};

/// A few seconds; `klamm-sim groups 0 20000` is for a longer while.
const SEEDS: u64 = 150;
/// Tried until a bug shows.
const SEEDS_MAX: u64 = 3000;

#[test]
fn whatever_happens_partitions_have_one_owner_and_offsets_never_go_back() {
    let mut tally = GroupTally::default();
    for seed in 0..SEEDS {
        match groups::random(seed) {
            Ok(did) => tally.add(did),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{tally:?}");
    let is_enough = tally.assignments > 500 && tally.commits > 1_000 && tally.expired > 20;
    assert!(is_enough && tally.crashes > 100, "{tally:?} says too little");
    assert!(tally.refused > 50 && tally.transactions > 200, "{tally:?} says too little");
    assert!(tally.fenced > 20 && tally.drawn.choices() > 40, "{tally:?} says too little");
    assert_eq!(tally.drawn.never(), [] as [String; 0], "never drawn: it says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_a_classic_groups_log() {
    let mut all = GroupTally::default();
    for seed in 0..2 {
        let whole =
            groups::crash_at(seed, usize::MAX, Tail::Kept).unwrap_or_else(|v| panic!("{v}"));
        all.add(whole.clone());
        for n in 1..=whole.batches {
            for tail in Tail::ALL {
                match groups::crash_at(seed, n, tail) {
                    Ok(did) => assert_eq!(did.crashes, 1, "seed {seed}, batch {n}"),
                    Err(violation) => panic!("{violation}"),
                }
            }
        }
    }
    let commits = all.commits > 50 && all.transactions > 10;
    let ends = all.expired > 4 && all.deleted > 1 && all.static_returns > 0;
    assert!(commits && ends && all.assignments > 20, "{all:?} says too little");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..20 {
        let did = || groups::random(seed).unwrap_or_else(|v| panic!("{v}"));
        assert_eq!(did(), did(), "seed {seed}");
    }
}

fn is_found(bug: CoordinatorBug) {
    let found = (0..SEEDS_MAX).find(|seed| with_bug(bug, || groups::random(*seed)).is_err());
    println!("{bug:?}: by seed {found:?}");
    let seed = found.unwrap_or_else(|| panic!("{bug:?} is not found by {SEEDS_MAX} seeds"));
    assert!(groups::random(seed).is_ok(), "it is found without the bug too");
}

#[test]
fn a_commit_from_an_old_generation_is_found() {
    is_found(CoordinatorBug::OldGenerationCommits);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found(CoordinatorBug::AnswerBeforeCommit);
}

#[test]
fn offsets_of_a_live_group_that_expire_are_found() {
    is_found(CoordinatorBug::LiveGroupExpires);
}

#[test]
fn offsets_that_count_although_they_could_not_be_written_are_found() {
    is_found(CoordinatorBug::RefusedOffsetsCount);
}

#[test]
fn members_that_wait_for_an_assignment_that_could_not_be_written_are_found() {
    is_found(CoordinatorBug::RefusedAssignmentHangs);
}
