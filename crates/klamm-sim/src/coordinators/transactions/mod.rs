//! Transactions: producers of both protocols against the transaction coordinator, the group
//! coordinator that takes their offsets, and the partitions that they write to.
//!
//! Whatever happens, a reader of committed records sees every committed transaction whole and
//! once, and nothing of another; offsets count exactly with their transaction and never go back;
//! no two producers are given the same epoch; the coordinator knows of no transaction what is not
//! written, so that nobody sees anything of a write that was refused; and nothing stays open for longer than its timeout.
//! Each seed draws what it is like: protocols, timeouts, how much goes wrong.
//!
//! What v1 cannot tell apart is kept from happening: one epoch serves many transactions, so that a
//! request which arrives when its transaction is over may be taken for one of the next (which is
//! why KIP-890 exists). A request of a v1 client is lost once the client has asked the next. With
//! v2 every copy arrives, however late.

mod broker;
mod client;
mod ledger;
mod markers;
mod options;
#[cfg(test)]
mod schedules;
mod world;

use super::trace::Trace;
use super::{Drawn, Run, Violation};
use world::{Plan, World};

/// What the command line calls it.
pub(super) const NAME: &str = "transactions";

/// What a seed did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionTally {
    /// Transactions that were committed, as their clients know.
    pub committed: usize,
    /// Events.
    pub events: u64,
    /// Crashes of the broker.
    pub crashes: usize,
    /// Records of the coordinator's log.
    pub records: usize,
    /// Markers that were written again because nobody heard what became of them.
    pub failed_markers: usize,
    /// Producers that were fenced and came back as another instance.
    pub comebacks: usize,
    /// Appends that a log refused.
    pub refused: usize,
    /// What its seeds were like.
    pub drawn: Drawn,
}

impl TransactionTally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.committed += other.committed;
        self.events += other.events;
        self.crashes += other.crashes;
        self.records += other.records;
        self.failed_markers += other.failed_markers;
        self.comebacks += other.comebacks;
        self.refused += other.refused;
        self.drawn.add(other.drawn);
    }
}

/// One seed of everything at once.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<TransactionTally, Violation> {
    of_seed(seed).run()
}

pub(super) fn of_seed(
    seed: u64,
) -> Run<impl Fn(u64, &mut Trace) -> Result<TransactionTally, String>> {
    Run {
        name: NAME,
        seed,
        work: |seed, trace: &mut Trace| World::new(seed, Plan::Chaos).run(trace),
    }
}

/// The same work without chaos, with a crash of the broker when the coordinator's log has its
/// `n`-th record.
///
/// # Errors
/// The promise that was broken.
pub fn crash_at(seed: u64, n: usize) -> Result<TransactionTally, Violation> {
    let work = move |seed, trace: &mut Trace| World::new(seed, Plan::CrashAt(n)).run(trace);
    let tally = Run { name: NAME, seed, work }.run();
    tally.map_err(|mut violation| {
        violation.what = format!("crashed at record {n}: {}", violation.what);
        violation
    })
}
