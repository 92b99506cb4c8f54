//! `klamm-sim seed N` runs one seed and tells what it did; `klamm-sim seeds FROM COUNT` runs many
//! and stops at the first that breaks a promise.

use std::process::ExitCode;

use klamm_sim::campaign::{self, CompactionTally};
use klamm_sim::coordinators::Simulation;

const USAGE: &str = "usage: klamm-sim seed N | klamm-sim seeds FROM COUNT\n       \
     klamm-sim (transactions | groups | consumer-groups | migration) N [COUNT]\n       \
     klamm-sim hashes (transactions | groups | consumer-groups | migration) FROM COUNT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["seed", seed] => number(seed).and_then(one),
        ["seeds", from, count] => {
            number(from).and_then(|from| number(count).and_then(|count| many(from, count)))
        }
        ["hashes", simulation, from, count] => number(from)
            .and_then(|from| number(count).and_then(|count| hashes(simulation, from, count))),
        [simulation, seed] => number(seed).and_then(|seed| coordinate(simulation, seed, 1)),
        [simulation, from, count] => number(from)
            .and_then(|from| number(count).and_then(|count| coordinate(simulation, from, count))),
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
fn coordinate(simulation: &str, from: u64, count: u64) -> Result<(), String> {
    let of = Simulation::from_name(simulation).ok_or_else(|| USAGE.to_owned())?;
    for seed in from..from.saturating_add(count) {
        of.run(seed).map_err(|violation| {
            violation.story.iter().filter(|_| count == 1).for_each(|line| println!("{line}"));
            violation.to_string()
        })?;
    }
    println!("{count} seeds of {simulation} from {from} on: every promise was kept");
    Ok(())
}

/// A line for each seed, with the hash of all that happens in it.
fn hashes(simulation: &str, from: u64, count: u64) -> Result<(), String> {
    let of = Simulation::from_name(simulation).ok_or_else(|| USAGE.to_owned())?;
    for seed in from..from.saturating_add(count) {
        let hash = of.trace_hash(seed).map_err(|violation| violation.to_string())?;
        println!("{seed} {hash:016x}");
    }
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
