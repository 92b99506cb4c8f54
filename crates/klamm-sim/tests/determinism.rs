//! A seed is all that a simulation depends on: it does the same in every process.

use std::process::Command;

use klamm_sim::coordinators::Simulation;

/// Seeds of each simulation.
const SEEDS: u64 = 200;

/// The lines of a process of its own.
fn in_another_process(simulation: &str) -> String {
    let program = env!("CARGO_BIN_EXE_klamm-sim");
    let output = Command::new(program)
        .args(["hashes", simulation, "0", &SEEDS.to_string()])
        .output()
        .expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

fn is_the_same(name: &str) {
    let simulation = Simulation::from_name(name).expect("it is one");
    let other = in_another_process(name);
    let mut lines = other.lines();
    let mut different = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let hash = simulation.trace_hash(seed).unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(lines.next(), Some(format!("{seed} {hash:016x}").as_str()));
        different.insert(hash);
    }
    assert_eq!(different.len() as u64, SEEDS, "seeds do different things");
}

#[test]
fn a_seed_of_transactions_does_the_same_in_another_process() {
    is_the_same("transactions");
}

#[test]
fn a_seed_of_classic_groups_does_the_same_in_another_process() {
    is_the_same("groups");
}

#[test]
fn a_seed_of_migration_does_the_same_in_another_process() {
    is_the_same("migration");
}

#[test]
fn a_seed_of_consumer_groups_does_the_same_in_another_process() {
    is_the_same("consumer-groups");
}
