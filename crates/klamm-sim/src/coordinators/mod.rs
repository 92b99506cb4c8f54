//! Coordinators at work over simulated partitions: the production shards, run as their thread runs
//! them, by a clock and a network of our own.
//!
//! Requests are delayed, sent twice and overtake each other; answers are lost; the broker crashes
//! and loses what was not committed; clients die, and zombies go on. A seed decides everything.
//! Never touches a file, a thread or the time.
//!
//! ```text
//! Seeded ─▶ options (luck) ─▶ World: clients, a ledger or a journal, promises: one folder each
//!                               │ owns                                │ owns
//!                             Course: clock, queue, messages        Coordinator: shard over a SimPartition
//! world: for each Happening of the course: sync, crash, refuse, calm, or the world's own event,
//!        and settle after each; finish at the end; a Trace of it all
//! ```

pub mod consumers;
mod coordinator;
mod course;
pub mod groups;
mod luck;
pub mod migration;
mod owners;
mod partition;
mod queue;
mod refusals;
mod trace;
pub mod transactions;
mod world;

use std::fmt;

pub use course::{Plan, Tail};
pub use luck::{Counts, Drawn, Tally};
pub use world::Simulated;
use world::{World, trace_hash};

/// A simulation.
#[derive(Debug, Clone, Copy)]
pub struct Simulation {
    name: &'static str,
    run: fn(u64) -> Result<(), Violation>,
    trace_hash: fn(u64) -> Result<u64, Violation>,
}

impl Simulation {
    const ALL: [Self; 4] = [
        Self::of::<transactions::Transactions>(),
        Self::of::<groups::Groups>(),
        Self::of::<consumers::ConsumerGroups>(),
        Self::of::<migration::Migration>(),
    ];

    const fn of<W: World>() -> Self {
        let run = |seed| W::run(seed, Plan::Chaos).map(drop);
        Self { name: W::NAME, run, trace_hash: trace_hash::<W> }
    }

    /// By the word that the command line has for it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|simulation| simulation.name == name)
    }

    /// One seed.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn run(self, seed: u64) -> Result<(), Violation> {
        (self.run)(seed)
    }

    /// A hash of everything that happens in a seed: the same in every process.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn trace_hash(self, seed: u64) -> Result<u64, Violation> {
        (self.trace_hash)(seed)
    }
}

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

/// Fails with `what` unless `holds`.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
