//! `klamm-sim seed N` runs one seed and tells what it did; `klamm-sim seeds FROM COUNT` runs many
//! and stops at the first that breaks a promise.

use std::process::ExitCode;

use klamm_sim::campaign::{self, CompactionTally};
use klamm_sim::coordinators;

const USAGE: &str = "usage: klamm-sim seed N | klamm-sim seeds FROM COUNT\n       \
     klamm-sim transactions N [COUNT] | klamm-sim groups N [COUNT]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["seed", seed] => number(seed).and_then(one),
        ["seeds", from, count] => {
            number(from).and_then(|from| number(count).and_then(|count| many(from, count)))
        }
        [coordinator, seed] => number(seed).and_then(|seed| coordinate(coordinator, seed, 1)),
        [coordinator, from, count] => number(from)
            .and_then(|from| number(count).and_then(|count| coordinate(coordinator, from, count))),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Seeds of a coordinator; a single one tells what happened.
fn coordinate(coordinator: &str, from: u64, count: u64) -> Result<(), String> {
    for seed in from..from.saturating_add(count) {
        let outcome = match coordinator {
            "transactions" => coordinators::transactions::random(seed).map(drop),
            "groups" => coordinators::groups::random(seed).map(drop),
            _ => return Err(USAGE.to_owned()),
        };
        outcome.map_err(|violation| {
            violation.story.iter().filter(|_| count == 1).for_each(|line| println!("{line}"));
            violation.to_string()
        })?;
    }
    println!("{count} seeds of {coordinator} from {from} on: every promise was kept");
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no number; {USAGE}"))
}

fn one(seed: u64) -> Result<(), String> {
    let tally = campaign::random(seed).map_err(|violation| {
        violation.story.iter().for_each(|line| println!("{line}"));
        violation.to_string()
    })?;
    println!("seed {seed}: every promise was kept ({tally:?})");
    Ok(())
}

/// Seeds between two lines that say how far it has come.
const TOLD_EVERY: u64 = 1000;

fn many(from: u64, count: u64) -> Result<(), String> {
    let mut tally = CompactionTally::default();
    for seed in from..from.saturating_add(count) {
        tally.add(campaign::random(seed).map_err(|violation| violation.to_string())?);
        let done = seed - from + 1;
        if done.is_multiple_of(TOLD_EVERY) {
            eprintln!("{done} of {count} seeds");
        }
    }
    println!("{count} seeds from {from} on: every promise was kept ({tally:?})");
    Ok(())
}
