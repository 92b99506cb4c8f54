//! What transactions promise, held against clients, networks and crashes that a seed makes up. A
//! failing seed is one line that replays it: `cargo run -p klamm-sim -- transactions N`.

use klamm_coordinator::{CoordinatorBug, with_bug};
use klamm_log::SeededBug;
use klamm_sim::coordinators::transactions::{self, TransactionTally};
use klamm_sim::coordinators::{Tail, Tally};

/// A few seconds; `klamm-sim transactions 0 20000` is for a longer while.
const SEEDS: u64 = 60;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 25;
/// Tried until a bug shows.
const SEEDS_MAX: u64 = 2000;

#[test]
fn whatever_happens_transactions_are_read_whole_once_or_not_at_all() {
    let mut tally = TransactionTally::default();
    for seed in 0..SEEDS {
        match transactions::random(seed) {
            Ok(did) => tally.add(did),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{tally:?}");
    assert!(tally.committed > 200 && tally.crashes > 40, "{tally:?} says too little");
    assert!(tally.failed_markers > 100 && tally.comebacks > 20, "{tally:?} says too little");
    assert!(tally.refused > 50, "{tally:?} says too little");
    assert!(tally.drawn.choices() > 40, "{tally:?} says too little");
    assert_eq!(tally.drawn.never(), [] as [String; 0], "never drawn: it says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_the_coordinators_log() {
    let mut crashes = 0;
    for seed in 0..2 {
        let never = transactions::crash_at(seed, usize::MAX, Tail::Kept);
        let batches = never.unwrap_or_else(|violation| panic!("{violation}")).batches;
        for n in 1..=batches.min(BATCHES_MAX) {
            for tail in Tail::ALL {
                match transactions::crash_at(seed, n, tail) {
                    Ok(did) => crashes += did.crashes,
                    Err(violation) => panic!("{violation}"),
                }
            }
        }
    }
    assert!(crashes > 90, "{crashes} crashes are too few to say anything");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..5 {
        let did = || transactions::random(seed).unwrap_or_else(|v| panic!("{v}"));
        assert_eq!(did(), did(), "seed {seed}");
    }
}

fn is_found(name: &str, with: impl Fn(u64) -> bool) {
    let found = (0..SEEDS_MAX).find(|seed| with(*seed));
    println!("{name}: by seed {found:?}");
    let seed = found.unwrap_or_else(|| panic!("{name} is not found by {SEEDS_MAX} seeds"));
    assert!(transactions::random(seed).is_ok(), "it is found without the bug too");
}

fn coordinator_bug_is_found(bug: CoordinatorBug) {
    is_found(&format!("{bug:?}"), |seed| with_bug(bug, || transactions::random(seed)).is_err());
}

#[test]
fn a_stale_epoch_that_is_accepted_is_found() {
    coordinator_bug_is_found(CoordinatorBug::StaleEpochAccepted);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    coordinator_bug_is_found(CoordinatorBug::AnswerBeforeCommit);
}

#[test]
fn a_marker_that_is_written_twice_is_found() {
    coordinator_bug_is_found(CoordinatorBug::MarkersWrittenTwice);
}

#[test]
fn an_epoch_that_is_used_again_after_a_restart_is_found() {
    coordinator_bug_is_found(CoordinatorBug::EpochReusedAfterRestart);
}

#[test]
fn offsets_of_an_aborted_transaction_that_count_are_found() {
    coordinator_bug_is_found(CoordinatorBug::AbortedOffsetsCount);
}

#[test]
fn a_completion_that_could_not_be_written_and_is_not_tried_again_is_found() {
    coordinator_bug_is_found(CoordinatorBug::RefusedCompletionForgotten);
}

#[test]
fn readers_that_an_open_transaction_does_not_hold_back_are_found() {
    let bug = SeededBug::LastStableOffsetIgnoresOpenTransaction;
    is_found("LastStableOffsetIgnoresOpenTransaction", |seed| {
        klamm_log::with_bug(bug, || transactions::random(seed)).is_err()
    });
}
