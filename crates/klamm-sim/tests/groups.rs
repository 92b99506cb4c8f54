//! What groups promise, held against members, networks and crashes that a seed makes up. A failing
//! seed is one line that replays it: `cargo run -p klamm-sim -- groups N`.

mod common;

use common::{all_keep_their_promises, does_the_same, is_found, may_crash_at_every_batch};
use klamm_coordinator::CoordinatorBug;
use klamm_sim::coordinators::groups::Groups;

/// A few seconds; `klamm-sim groups 0 20000` is for a longer while.
const SEEDS: u64 = 150;

#[test]
fn whatever_happens_partitions_have_one_owner_and_offsets_never_go_back() {
    let tally = all_keep_their_promises::<Groups>(SEEDS);
    let is_enough = tally.assignments > 500 && tally.commits > 1_000 && tally.expired > 20;
    assert!(is_enough && tally.counts.crashes > 100, "{tally:?} says too little");
    assert!(tally.fenced > 20 && tally.transactions > 200, "{tally:?} says too little");
}

#[test]
fn the_broker_may_crash_at_every_record_of_a_classic_groups_log() {
    let all = may_crash_at_every_batch::<Groups>(usize::MAX);
    let commits = all.commits > 50 && all.transactions > 10;
    let ends = all.expired > 4 && all.deleted > 1 && all.static_returns > 0;
    assert!(commits && ends && all.assignments > 20, "{all:?} says too little");
}

#[test]
fn the_same_seed_does_the_same() {
    does_the_same::<Groups>(20);
}

#[test]
fn a_commit_from_an_old_generation_is_found() {
    is_found::<Groups>(CoordinatorBug::OldGenerationCommits, "");
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found::<Groups>(CoordinatorBug::AnswerBeforeCommit, "");
}

#[test]
fn offsets_of_a_live_group_that_expire_are_found() {
    is_found::<Groups>(CoordinatorBug::LiveGroupExpires, "");
}

#[test]
fn offsets_that_count_although_they_could_not_be_written_are_found() {
    is_found::<Groups>(CoordinatorBug::RefusedOffsetsCount, "");
}

#[test]
fn members_that_wait_for_an_assignment_that_could_not_be_written_are_found() {
    is_found::<Groups>(CoordinatorBug::RefusedAssignmentHangs, "");
}
