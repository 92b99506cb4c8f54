//! Classic groups: members that join, divide the work, commit offsets, fall silent, leave and come
//! back, against the group coordinator and its log.
//!
//! Whatever happens, within a generation no partition has two owners, committed offsets never go
//! back, a commit that was answered is in the log, and offsets expire only while the group is empty.
//!
//! A live member's requests arrive in order, as on a connection; what a member sent in a
//! generation before arrives as late and as often as it likes.

mod member;
mod world;

use super::Violation;
use world::World;

/// What a seed did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupTally {
    /// Parts of members in generations.
    pub assignments: usize,
    /// Commits that were answered.
    pub commits: usize,
    /// Crashes of the broker.
    pub crashes: usize,
    /// Tombstones of offsets.
    pub expired: usize,
}

impl GroupTally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.assignments += other.assignments;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.expired += other.expired;
    }
}

/// One seed.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<GroupTally, Violation> {
    super::run(("groups", seed), |story| World::new(seed).run(story))
}
