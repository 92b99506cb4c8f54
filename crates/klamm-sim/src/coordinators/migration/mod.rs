//! Groups that change their protocol while they run (KIP-848): clients of the classic and of the
//! consumer protocol, the same as in the simulations of either, that take each other's places one by
//! one, in either direction or to and fro, static ones too, against the group coordinator and its
//! log.
//!
//! Whatever happens, no partition has two owners at one time, as the members themselves see it: a
//! member has a partition from the answer that gives it until it has given it up, the coordinator
//! has put the member out of the group, or a classic group has gone on to its next generation.
//! Committed offsets never go back, nor does the generation that becomes the epoch and back, while a
//! member stays; a commit that was answered is in the log. And once nothing more goes wrong the
//! group is stable within a bounded time, every partition is somebody's, and the group is of the
//! protocol of its last members: a classic one if all of them are.
//!
//! What the protocols cannot tell apart is kept from happening, as in the simulations of either; a
//! classic member's JoinGroup and commit say nothing of when they were sent to a group of the
//! consumer protocol either, and are lost when a later request of their member has arrived.

mod client;
mod journal;
mod options;
mod settled;
mod world;

use super::trace::Trace;
use super::{Drawn, Run, Violation};
use world::World;

/// What the command line calls it.
pub(super) const NAME: &str = "migration";

/// What a seed did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationTally {
    /// Partitions that members took.
    pub taken: usize,
    /// Commits that were answered.
    pub commits: usize,
    /// Memberships that the coordinator ended.
    pub removed: usize,
    /// Crashes of the broker.
    pub crashes: usize,
    /// Clients that were followed by one of the other protocol.
    pub switches: usize,
    /// Groups with members that became one of the consumer protocol.
    pub upgrades: usize,
    /// Groups with members that became a classic one.
    pub downgrades: usize,
    /// Appends that the log refused.
    pub refused: usize,
    /// What its seeds were like.
    pub drawn: Drawn,
}

impl MigrationTally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.commits += other.commits;
        self.removed += other.removed;
        self.crashes += other.crashes;
        self.switches += other.switches;
        self.upgrades += other.upgrades;
        self.downgrades += other.downgrades;
        self.refused += other.refused;
        self.drawn.add(other.drawn);
    }
}

/// One seed.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<MigrationTally, Violation> {
    of_seed(seed).run()
}

pub(super) fn of_seed(
    seed: u64,
) -> Run<impl Fn(u64, &mut Trace) -> Result<MigrationTally, String>> {
    Run { name: NAME, seed, work: |seed, trace: &mut Trace| World::new(seed).run(trace) }
}
