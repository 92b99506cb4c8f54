//! What a seed of classic groups is like: how patient the coordinator is, what members do, and what
//! goes wrong, some of it not at all.

use klamm_group_coordinator::{GroupShard, Limits, OffsetLimits};

use crate::coordinators::luck::{Chaos, Drawn, Draws, LUCK};
use crate::random::Seeded;

/// How long the first members of a group wait for others.
const INITIAL_DELAY_MS: u64 = 5;
/// How often offsets are looked through for old ones.
const RETENTION_CHECK_MS: u64 = 40;

/// How long a member waits for an answer that waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinators) enum Patience {
    /// As for any other: it asks again, which makes another member of it.
    Short,
    /// As Kafka's clients: for longer than a rebalance may take.
    Long,
}

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(in crate::coordinators) struct Options {
    pub(in crate::coordinators) members: usize,
    /// How long a member may be silent.
    pub(in crate::coordinators) session_ms: u64,
    /// How long a rebalance waits for members.
    pub(in crate::coordinators) rebalance_ms: u64,
    /// How long an empty group's offsets are kept.
    pub(in crate::coordinators) retention_ms: i64,
    /// A member is replaced by another.
    pub(in crate::coordinators) replacements: usize,
    /// Of so many members that are replaced one goes on as a zombie.
    pub(in crate::coordinators) zombies: Option<usize>,
    /// Of so many members one is static.
    pub(in crate::coordinators) fixed: Option<usize>,
    /// A member thinks for longer than its session.
    pub(in crate::coordinators) silence: Option<usize>,
    /// A member commits, and does not just say that it is there.
    pub(in crate::coordinators) commits: Option<usize>,
    /// Of so many commits one is a transaction's.
    pub(in crate::coordinators) transactions: Option<usize>,
    pub(in crate::coordinators) patience: Patience,
    /// A member leaves, and comes back.
    pub(in crate::coordinators) leaves: Option<usize>,
    pub(in crate::coordinators) chaos: Chaos,
}

impl Options {
    /// A member that joins and says that it is there, and nothing goes wrong.
    const QUIET: Self = Self {
        members: 1,
        session_ms: 150,
        rebalance_ms: 200,
        retention_ms: i64::MAX,
        replacements: 0,
        zombies: None,
        fixed: None,
        silence: None,
        commits: None,
        transactions: None,
        patience: Patience::Long,
        leaves: None,
        chaos: Chaos::NONE,
    };

    /// The options, and how often each choice was drawn: once or not at all.
    pub(in crate::coordinators) fn random(random: &mut Seeded) -> (Self, Drawn) {
        let mut draws = Draws::new(random);
        let options = Self {
            members: draws.pick("members", &[1, 2, 3, 5]),
            session_ms: draws.pick("session", &[100, 200, 1_000]),
            rebalance_ms: draws.pick("rebalance", &[100, 300, 1_000]),
            retention_ms: draws.pick("retention", &[60, 250, 1_000_000]),
            replacements: draws.pick("replacements", &[0, 2, 6]),
            zombies: draws.pick("zombies", &[None, Some(2), Some(1)]),
            fixed: draws.pick("static members", &[None, Some(2), Some(1)]),
            silence: draws.pick("silence", &LUCK),
            commits: draws.pick("commits", &[None, Some(8), Some(2), Some(1)]),
            transactions: draws.pick("transactions", &[None, Some(4), Some(1)]),
            leaves: draws.pick("leaves", &[None, Some(40), Some(10)]),
            patience: draws.pick("patience", &[Patience::Short, Patience::Long]),
            chaos: Chaos::draw(&mut draws),
        };
        (options, draws.drawn)
    }

    /// A workload in which nothing goes wrong, and that has a bit of everything: commits in
    /// transactions and without, members that leave and static ones that come back.
    pub(in crate::coordinators) fn workload() -> Self {
        Self {
            members: 3,
            retention_ms: 60,
            replacements: 4,
            commits: Some(4),
            transactions: Some(2),
            leaves: Some(40),
            ..Self::QUIET
        }
    }

    /// What a member needs that only joins, commits and says that it is there.
    pub(in crate::coordinators) fn of_member(
        (session_ms, rebalance_ms): (u64, u64),
        commits: Option<usize>,
    ) -> Self {
        Self { session_ms, rebalance_ms, commits, ..Self::QUIET }
    }

    /// A shard with the limits of this seed.
    pub(in crate::coordinators) fn shard(&self) -> GroupShard {
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
