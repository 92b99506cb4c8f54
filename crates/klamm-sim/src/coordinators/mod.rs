//! Coordinators at work over simulated partitions: the production shards, run as their thread runs
//! them, by a clock and a network of our own.
//!
//! Requests are delayed, sent twice and overtake each other; answers are lost; the broker crashes
//! and loses what was not committed; clients die, and zombies go on. A seed decides everything.
//! Never touches a file, a thread or the time.

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

use course::Plan;
pub use course::Tail;
pub use luck::{Drawn, Tally};
use world::{World, run, trace_hash};

/// A simulation, by the word that the command line has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulation {
    /// Transactions.
    Transactions,
    /// Groups of the classic protocol.
    Groups,
    /// Groups of the consumer protocol.
    ConsumerGroups,
    /// Groups that change their protocol.
    Migration,
}

impl Simulation {
    /// By its word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            transactions::Transactions::NAME => Some(Self::Transactions),
            groups::Groups::NAME => Some(Self::Groups),
            consumers::ConsumerGroups::NAME => Some(Self::ConsumerGroups),
            migration::Migration::NAME => Some(Self::Migration),
            _ => None,
        }
    }

    /// One seed.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn run(self, seed: u64) -> Result<(), Violation> {
        match self {
            Self::Transactions => transactions::random(seed).map(drop),
            Self::Groups => groups::random(seed).map(drop),
            Self::ConsumerGroups => consumers::random(seed).map(drop),
            Self::Migration => migration::random(seed).map(drop),
        }
    }

    /// A hash of everything that happens in a seed: the same in every process.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn trace_hash(self, seed: u64) -> Result<u64, Violation> {
        match self {
            Self::Transactions => trace_hash::<transactions::Transactions>(seed),
            Self::Groups => trace_hash::<groups::Groups>(seed),
            Self::ConsumerGroups => trace_hash::<consumers::ConsumerGroups>(seed),
            Self::Migration => trace_hash::<migration::Migration>(seed),
        }
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
