//! Groups of the consumer protocol (KIP-848): members that join by name and by pattern, take and
//! give up partitions, commit, fall silent, leave, die and come back, static ones too, while topics
//! come, go and grow, against the group coordinator and its log.
//!
//! Whatever happens, no partition has two owners at one time, as the members themselves see it: a
//! member owns a partition from the answer that gives it until it has given it up, or the
//! coordinator has put it out of the group. Members are assigned topics that exist and that they
//! read, and no others. The epochs of the group, of its target and of its members never go back,
//! nor do committed offsets; a commit that was answered is in the log; offsets of topics that
//! somebody reads do not expire; of a write that the log refuses nothing is seen. And once nothing more goes wrong, the group is stable within a
//! bounded time, and every partition is read.
//!
//! What the protocol cannot tell apart is kept from happening, as a connection keeps it: within an
//! epoch, and from one epoch to the next, no request says when it was sent, so that an old heartbeat
//! would be taken for what its member has now, and an old commit for a new one; and a commit in any
//! older epoch is as good as a new one while its partition stays with the member (KIP-1251). Such
//! requests are lost when a later one of their member has arrived. All others arrive, however late.

pub(super) mod cluster;
pub(super) mod journal;
mod legal;
pub(super) mod member;
mod options;
mod settled;
mod world;

use super::trace::Trace;
use super::{Run, Violation};
use world::World;

/// What the command line calls it.
pub(super) const NAME: &str = "consumer-groups";

/// What a seed did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerGroupTally {
    /// Partitions that members took.
    pub taken: usize,
    /// Commits that were answered.
    pub commits: usize,
    /// Memberships that the coordinator ended.
    pub removed: usize,
    /// Crashes of the broker.
    pub crashes: usize,
    /// Tombstones of offsets.
    pub expired: usize,
    /// Topics that were deleted.
    pub deleted_topics: usize,
    /// Appends that the log refused.
    pub refused: usize,
}

impl ConsumerGroupTally {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.commits += other.commits;
        self.removed += other.removed;
        self.crashes += other.crashes;
        self.expired += other.expired;
        self.deleted_topics += other.deleted_topics;
        self.refused += other.refused;
    }
}

/// One seed.
///
/// # Errors
/// The promise that was broken.
pub fn random(seed: u64) -> Result<ConsumerGroupTally, Violation> {
    of_seed(seed).run()
}

pub(super) fn of_seed(
    seed: u64,
) -> Run<impl Fn(u64, &mut Trace) -> Result<ConsumerGroupTally, String>> {
    let work = |seed, trace: &mut Trace| World::new(seed, None).run(trace);
    Run { name: NAME, seed, work }
}

/// The same, but nothing goes wrong except that the broker crashes when the log has its `n`-th
/// batch.
///
/// # Errors
/// The promise that was broken.
pub fn crash_at(seed: u64, n: usize) -> Result<ConsumerGroupTally, Violation> {
    let work = move |seed, trace: &mut Trace| World::new(seed, Some(n)).run(trace);
    Run { name: NAME, seed, work }.run().map_err(|mut violation| {
        violation.what = format!("crashed at batch {n}: {}", violation.what);
        violation
    })
}
