//! Classic groups: members that join, divide the work, commit offsets, fall silent, leave and come
//! back, against the group coordinator and its log.
//!
//! Whatever happens, within a generation no partition has two owners; generations and committed
//! offsets never go back, those that transactions commit neither; what is told is committed, and
//! what was answered is in the log; offsets expire only while the group is empty; and a stable group
//! is what its log says to the last member, so that nobody sees anything of a write that was
//! refused. Once nothing more goes wrong the group is stable within a bounded time, every member
//! that lives is in it, and every partition is somebody's. Each seed draws what it is like:
//! timeouts, static members, transactions, how much goes wrong and how often the log refuses.
//!
//! A live member's requests arrive in order, as on a connection; what a member sent in a
//! generation before arrives as late and as often as it likes.

mod journal;
pub(super) mod member;
pub(super) mod options;
mod settled;
mod transactions;
mod words;
mod world;

use super::trace::Trace;
use super::{Drawn, Run, Violation};
use world::World;

/// What the command line calls it.
pub(super) const NAME: &str = "groups";

/// What a seed did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupTally {
    /// Parts of members in generations.
    pub assignments: usize,
    /// Commits that were answered.
    pub commits: usize,
    /// Crashes of the broker.
    pub crashes: usize,
    /// Tombstones of offsets.
    pub expired: usize,
    /// Tombstones of groups.
    pub deleted: usize,
    /// Static members that were told that another has their name.
    pub fenced: usize,
    /// Static members that came back without a rebalance.
    pub static_returns: usize,
    /// Transactions that were committed.
    pub transactions: usize,
    /// Appends that the log refused.
    pub refused: usize,
    /// Batches in the log.
    pub batches: usize,
    /// What its seeds were like.
    pub drawn: Drawn,
}

impl GroupTally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.assignments += other.assignments;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.expired += other.expired;
        self.deleted += other.deleted;
        self.fenced += other.fenced;
        self.static_returns += other.static_returns;
        self.transactions += other.transactions;
        self.refused += other.refused;
        self.batches += other.batches;
        self.drawn.add(other.drawn);
    }
}

/// One seed.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<GroupTally, Violation> {
    of_seed(seed).run()
}

pub(super) fn of_seed(seed: u64) -> Run<impl Fn(u64, &mut Trace) -> Result<GroupTally, String>> {
    let work = |seed, trace: &mut Trace| World::new(seed, Plan::Chaos).run(trace);
    Run { name: NAME, seed, work }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Everything, at random.
    Chaos,
    /// The broker crashes when the log has so many batches, and nothing else does.
    CrashAt(usize, Tail),
}

/// What a crash makes of batches that are not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// They were, before anybody heard of it.
    Committed,
    /// They stay, and are committed later.
    Kept,
    /// They are torn off.
    Lost,
}

/// A workload with joins, syncs, static members that return, commits in transactions and without,
/// members that leave, offsets that expire and a group that ends, in which nothing goes wrong except
/// that the broker crashes at the `n`-th batch of the log.
///
/// # Errors
/// The promise that was broken.
pub fn crash_at(seed: u64, n: usize, tail: Tail) -> Result<GroupTally, Violation> {
    let work = move |seed, trace: &mut Trace| World::new(seed, Plan::CrashAt(n, tail)).run(trace);
    Run { name: NAME, seed, work }.run().map_err(|mut violation| {
        violation.what = format!("crashed at batch {n}, {tail:?}: {}", violation.what);
        violation
    })
}
