//! What a seed is like: each draws its own timeouts and its own bad luck, some of it none at all.

use klamm_group_coordinator::{ConsumerLimits, GroupShard, Limits, OffsetLimits};

use crate::coordinators::luck::{Chaos, Drawn, Draws, LUCK};
use crate::random::Seeded;

/// How often offsets are looked through for old ones.
const RETENTION_CHECK_MS: u64 = 40;

/// How patient the coordinator is with members of the consumer protocol.
#[derive(Debug, Clone, Copy)]
pub(in crate::coordinators) struct Times {
    pub(in crate::coordinators) session_ms: u64,
    /// Between heartbeats.
    pub(in crate::coordinators) interval_ms: u64,
    /// Between assignments at least.
    pub(in crate::coordinators) assignment_interval_ms: u64,
}

impl Times {
    pub(in crate::coordinators) fn draw(draws: &mut Draws) -> Self {
        Self {
            session_ms: draws.pick("session", &[150, 300, 1_000]),
            interval_ms: draws.pick("interval", &[20, 50, 100]),
            assignment_interval_ms: draws.pick("assignment interval", &[0, 50, 300]),
        }
    }

    pub(in crate::coordinators) fn limits(&self) -> ConsumerLimits {
        let int = |ms: u64| i32::try_from(ms).expect("some seconds");
        let mut config = ConsumerLimits::default().config;
        config.consumer_session_timeout_ms = int(self.session_ms);
        config.consumer_heartbeat_interval_ms = int(self.interval_ms);
        config.consumer_assignment_interval_ms = int(self.assignment_interval_ms);
        ConsumerLimits::new(config)
    }
}

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) members: usize,
    pub(super) times: Times,
    pub(super) rebalance_ms: u64,
    pub(super) retention_ms: i64,
    pub(super) deaths: usize,
    pub(super) topic_changes: usize,
    pub(super) subscription_changes: usize,
    /// A member thinks for longer than its session.
    pub(super) silence: Option<usize>,
    /// Of so many members one is static.
    pub(super) fixed: Option<usize>,
    /// Of so many members one reads by pattern.
    pub(super) patterns: Option<usize>,
    /// Of so many members one has its id from the coordinator (version 0).
    pub(super) nameless: Option<usize>,
    pub(super) chaos: Chaos,
}

impl Options {
    /// The options, and how often each choice was drawn: once or not at all.
    pub(super) fn random(random: &mut Seeded) -> (Self, Drawn) {
        let mut draws = Draws::new(random);
        let share = [None, Some(1), Some(2), Some(3)];
        let options = Self {
            members: draws.pick("members", &[1, 2, 3, 4]),
            times: Times::draw(&mut draws),
            rebalance_ms: draws.pick("rebalance", &[200, 400, 2_000]),
            retention_ms: draws.pick("retention", &[250, 1_000, 1_000_000]),
            deaths: draws.pick("deaths", &[0, 2, 5]),
            topic_changes: draws.pick("topic changes", &[0, 2, 8]),
            subscription_changes: draws.pick("subscription changes", &[0, 1, 4]),
            silence: draws.pick("silence", &LUCK),
            fixed: draws.pick("static members", &share),
            patterns: draws.pick("patterns", &share),
            nameless: draws.pick("nameless", &share),
            chaos: Chaos::draw(&mut draws),
        };
        (options, draws.drawn)
    }

    /// The same, but nothing goes wrong.
    pub(super) fn calm(self) -> Self {
        let calm = Self { deaths: 0, silence: None, chaos: Chaos::NONE, ..self };
        Self { topic_changes: 2, subscription_changes: 1, ..calm }
    }

    /// A shard with the limits of this seed.
    pub(super) fn shard(&self) -> GroupShard {
        let offsets = OffsetLimits {
            retention_ms: self.retention_ms,
            check_interval_ms: RETENTION_CHECK_MS,
            ..OffsetLimits::default()
        };
        GroupShard::new(Limits::default(), offsets).with_consumer_limits(self.times.limits())
    }
}
