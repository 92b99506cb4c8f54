//! What a seed of classic groups is like: how patient the coordinator is, what members do, and what
//! goes wrong, some of it not at all.

use klamm_group_coordinator::{GroupShard, Limits, OffsetLimits};

use crate::coordinators::luck::{Drawn, Draws, LUCK};
use crate::random::Seeded;

/// How long the first members of a group wait for others.
const INITIAL_DELAY_MS: u64 = 5;
/// How often offsets are looked through for old ones.
const RETENTION_CHECK_MS: u64 = 40;

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) members: usize,
    /// How long a member may be silent.
    pub(super) session_ms: u64,
    /// How long a rebalance waits for members.
    pub(super) rebalance_ms: u64,
    /// How long an empty group's offsets are kept.
    pub(super) retention_ms: i64,
    pub(super) crashes: usize,
    /// A member is replaced by another.
    pub(super) replacements: usize,
    /// Of so many members that are replaced one goes on as a zombie.
    pub(super) zombies: Option<usize>,
    /// Of so many members one is static.
    pub(super) fixed: Option<usize>,
    /// A message is lost.
    pub(super) loss: Option<usize>,
    /// A message takes long.
    pub(super) slowness: Option<usize>,
    /// A message arrives twice.
    pub(super) duplication: Option<usize>,
    /// A member thinks for longer than its session.
    pub(super) silence: Option<usize>,
    /// A member commits, and does not just say that it is there.
    pub(super) commits: Option<usize>,
    /// A member leaves, and comes back.
    pub(super) leaves: Option<usize>,
}

impl Options {
    /// The options, and how often each choice was drawn: once or not at all.
    pub(super) fn random(random: &mut Seeded) -> (Self, Drawn) {
        let mut draws = Draws::new(random);
        let options = Self {
            members: draws.pick("members", &[1, 2, 3, 5]),
            session_ms: draws.pick("session", &[100, 200, 1_000]),
            rebalance_ms: draws.pick("rebalance", &[100, 300, 1_000]),
            retention_ms: draws.pick("retention", &[60, 250, 1_000_000]),
            crashes: draws.pick("crashes", &[0, 1, 3, 8]),
            replacements: draws.pick("replacements", &[0, 2, 6]),
            zombies: draws.pick("zombies", &[None, Some(2), Some(1)]),
            fixed: draws.pick("static members", &[None, Some(2), Some(1)]),
            loss: draws.pick("loss", &LUCK),
            slowness: draws.pick("slowness", &LUCK),
            duplication: draws.pick("duplication", &[None, Some(50), Some(6), Some(2)]),
            silence: draws.pick("silence", &LUCK),
            commits: draws.pick("commits", &[None, Some(8), Some(2), Some(1)]),
            leaves: draws.pick("leaves", &[None, Some(40), Some(10)]),
        };
        (options, draws.drawn)
    }

    /// A shard with the limits of this seed.
    pub(super) fn shard(&self) -> GroupShard {
        let limits = Limits {
            session_timeout_ms_min: 1,
            initial_rebalance_delay_ms: INITIAL_DELAY_MS,
            ..Limits::default()
        };
        let offsets = OffsetLimits {
            retention_ms: self.retention_ms,
            check_interval_ms: RETENTION_CHECK_MS,
            ..OffsetLimits::default()
        };
        GroupShard::new(limits, offsets)
    }
}
