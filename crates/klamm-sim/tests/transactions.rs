//! What transactions promise, held against clients, networks and crashes that a seed makes up. A
//! failing seed is one line that replays it: `cargo run -p klamm-sim -- transactions N`.

mod common;

use common::{all_keep_their_promises, does_the_same, is_found, may_crash_at_every_batch};
use klamm_coordinator::CoordinatorBug;
use klamm_log::{SeededBug, with_bug};
use klamm_sim::coordinators::transactions::Transactions;
use klamm_sim::coordinators::{Plan, Simulated};

/// A few seconds; `klamm-sim transactions 0 20000` is for a longer while.
const SEEDS: u64 = 60;
/// Batches of a log at each of which the broker crashes.
const BATCHES_MAX: usize = 25;

#[test]
fn whatever_happens_transactions_are_read_whole_once_or_not_at_all() {
    let tally = all_keep_their_promises::<Transactions>(SEEDS);
    assert!(tally.committed > 200 && tally.comebacks > 20, "{tally:?} says too little");
    assert!(tally.failed_markers > 100, "{tally:?} says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_the_coordinators_log() {
    may_crash_at_every_batch::<Transactions>(BATCHES_MAX);
}

#[test]
fn the_same_seed_does_the_same() {
    does_the_same::<Transactions>(5);
}

#[test]
fn a_stale_epoch_that_is_accepted_is_found() {
    is_found::<Transactions>(CoordinatorBug::StaleEpochAccepted, "");
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found::<Transactions>(CoordinatorBug::AnswerBeforeCommit, "");
}

#[test]
fn a_marker_that_is_written_twice_is_found() {
    is_found::<Transactions>(CoordinatorBug::MarkersWrittenTwice, "");
}

#[test]
fn an_epoch_that_is_used_again_after_a_restart_is_found() {
    is_found::<Transactions>(CoordinatorBug::EpochReusedAfterRestart, "");
}

#[test]
fn offsets_of_an_aborted_transaction_that_count_are_found() {
    is_found::<Transactions>(CoordinatorBug::AbortedOffsetsCount, "");
}

#[test]
fn a_completion_that_could_not_be_written_and_is_not_tried_again_is_found() {
    is_found::<Transactions>(CoordinatorBug::RefusedCompletionForgotten, "");
}

#[test]
fn readers_that_an_open_transaction_does_not_hold_back_are_found() {
    let bug = SeededBug::LastStableOffsetIgnoresOpenTransaction;
    let found =
        (0..SEEDS).find(|seed| with_bug(bug, || Transactions::run(*seed, Plan::Chaos)).is_err());
    let seed = found.unwrap_or_else(|| panic!("it is not found by {SEEDS} seeds"));
    assert!(Transactions::run(seed, Plan::Chaos).is_ok(), "it is found without the bug too");
}
