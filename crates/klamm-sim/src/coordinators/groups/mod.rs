//! Classic groups: members that join, divide the work, commit offsets, fall silent, leave and come
//! back, against the group coordinator and its log.
//!
//! Whatever happens, within a generation no partition has two owners, committed offsets never go
//! back, a commit that was answered is in the log, and offsets expire only while the group is empty.
//! Each seed draws what it is like: timeouts, static members, how much goes wrong.
//!
//! A live member's requests arrive in order, as on a connection; what a member sent in a
//! generation before arrives as late and as often as it likes.

mod member;
mod options;
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
    /// Static members that were told that another has their name.
    pub fenced: usize,
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
        self.fenced += other.fenced;
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
    Run { name: NAME, seed, work: |seed, trace: &mut Trace| World::new(seed).run(trace) }
}
