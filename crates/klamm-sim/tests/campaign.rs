//! What the log promises, held against a simulated disk. A failing seed is one line that replays
//! it: `cargo run -p klamm-sim -- seed N`.

use klamm_sim::campaign::CompactionTally;
use klamm_sim::{Call, campaign};

/// Some seconds; `cargo xtask sim` is for a longer while.
const SEEDS: u64 = 400;

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_nothing_else_appears() {
    let mut tally = CompactionTally::default();
    for seed in 0..SEEDS {
        match campaign::random(seed) {
            Ok(found) => tally.add(found),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{tally:?}");
    assert!(tally.runs > 50 && tally.ended_early > 10 && tally.records_removed > 100, "{tally:?}");
    assert!(tally.asleep > 100 && tally.topics_made_again > 20, "{tally:?}");
}

#[test]
fn the_power_may_go_after_every_single_call() {
    let mut points = 0;
    for seed in 0..3 {
        let changes = campaign::recorded_changes(seed).unwrap_or_else(|v| panic!("{v}"));
        for n in 1..=changes {
            if let Err(violation) = campaign::crash_after(seed, n) {
                panic!("{violation}\ncrash point {n} of recorded workload {seed}");
            }
        }
        points += changes;
    }
    assert!(points > 300, "{points} crash points are too few to say anything");
}

/// Workloads that are tried for one that makes so many calls.
const ATTEMPTS: u64 = 60;

/// Lets the `n`-th call of a kind fail, for each n; gives how often it came to that.
fn fail_each(call: Call, calls: u64) -> u64 {
    let mut failures = 0;
    for n in 1..=calls {
        // Not every workload makes so many calls: the first that does is taken.
        for seed in 0..ATTEMPTS {
            match campaign::fail_call(seed * 1000 + n, call, n) {
                Ok(true) => {
                    failures += 1;
                    break;
                }
                Ok(false) => {}
                Err(violation) => panic!("{violation}\n{call:?} number {n} failed"),
            }
        }
    }
    failures
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_was_lost() {
    let failures = fail_each(Call::Sync, 100);
    assert_eq!(failures, 100, "each of the first hundred syncs failed once");
}

#[test]
fn after_a_failed_sync_of_a_directory_nothing_is_acknowledged_and_nothing_was_lost() {
    let failures = fail_each(Call::SyncDir, 40);
    assert!(failures > 25, "only {failures} syncs failed");
}

#[test]
fn after_a_failed_write_nothing_more_is_taken_and_nothing_was_lost() {
    let failures = fail_each(Call::Write, 99);
    assert!(failures > 70, "only {failures} writes failed");
}

#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing() {
    let full = (0..120)
        .filter(|i| match campaign::full_after(*i, i * 97) {
            Ok(is_full) => is_full,
            Err(violation) => panic!("{violation}\nfull after {} bytes", i * 97),
        })
        .count();
    assert!(full > 60, "only {full} disks were full");
}

#[test]
fn the_same_seed_does_the_same_work() {
    for seed in 0..3 {
        let calls = || campaign::recorded_changes(seed).unwrap_or_else(|v| panic!("{v}"));
        assert_eq!(calls(), calls(), "seed {seed}");
    }
}
