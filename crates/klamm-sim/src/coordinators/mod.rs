//! Coordinators at work over simulated partitions: the production shards, run as their thread runs
//! them, by a clock and a network of our own.
//!
//! Requests are delayed, sent twice and overtake each other; answers are lost; the broker crashes
//! and loses what was not committed; clients die, and zombies go on. A seed decides everything.
//! Never touches a file, a thread or the time.

pub mod groups;
mod partition;
mod queue;
pub mod transactions;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Of which coordinator.
    pub name: &'static str,
    /// The seed that breaks it.
    pub seed: u64,
    /// Which promise, and where.
    pub what: String,
    /// What happened, event by event.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, what, .. } = self;
        write!(f, "{name} {seed}: {what}\nreplay: cargo run -p klamm-sim -- {name} {seed}")
    }
}

impl std::error::Error for Violation {}

/// Runs a seed; a panic of a shard is a violation too.
fn run<T>(
    (name, seed): (&'static str, u64),
    work: impl FnOnce(&mut Vec<String>) -> Result<T, String>,
) -> Result<T, Violation> {
    let mut story = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| work(&mut story)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| Violation { name, seed, what, story })
}

/// Fails with `what` unless `holds`.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
