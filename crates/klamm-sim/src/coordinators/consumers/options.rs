//! What a seed is like: each draws its own timeouts and its own bad luck, some of it none at all.

use klamm_group_coordinator::{ConsumerLimits, GroupShard, Limits, OffsetLimits};

use crate::random::Seeded;

/// How often offsets are looked through for old ones.
const RETENTION_CHECK_MS: u64 = 40;

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) members: usize,
    pub(super) session_ms: u64,
    pub(super) rebalance_ms: u64,
    pub(super) interval_ms: u64,
    pub(super) assignment_interval_ms: u64,
    pub(super) retention_ms: i64,
    pub(super) crashes: usize,
    pub(super) deaths: usize,
    pub(super) topic_changes: usize,
    pub(super) subscription_changes: usize,
    /// A message is lost.
    pub(super) loss: Option<usize>,
    /// A message takes long.
    pub(super) slowness: Option<usize>,
    /// A member thinks for longer than its session.
    pub(super) silence: Option<usize>,
    /// Of so many members one is static.
    pub(super) fixed: Option<usize>,
    /// Of so many members one reads by pattern.
    pub(super) patterns: Option<usize>,
    /// Of so many members one has its id from the coordinator (version 0).
    pub(super) nameless: Option<usize>,
    /// The log refuses an append, or all for a while.
    pub(super) refusals: usize,
}

impl Options {
    pub(super) fn random(random: &mut Seeded) -> Self {
        let often = [None, Some(200), Some(25), Some(8)];
        let share = [None, Some(1), Some(2), Some(3)];
        Self {
            members: 1 + random.below(4),
            session_ms: *random.pick(&[150, 300, 1_000]),
            rebalance_ms: *random.pick(&[200, 400, 2_000]),
            interval_ms: *random.pick(&[20, 50, 100]),
            assignment_interval_ms: *random.pick(&[0, 50, 300]),
            retention_ms: *random.pick(&[250, 1_000, 1_000_000]),
            crashes: *random.pick(&[0, 1, 2, 6]),
            deaths: *random.pick(&[0, 2, 5]),
            topic_changes: *random.pick(&[0, 2, 8]),
            subscription_changes: *random.pick(&[0, 1, 4]),
            loss: *random.pick(&often),
            slowness: *random.pick(&often),
            silence: *random.pick(&often),
            fixed: *random.pick(&share),
            patterns: *random.pick(&share),
            nameless: *random.pick(&share),
            refusals: *random.pick(&[0, 1, 4, 12]),
        }
    }

    /// The same, but nothing goes wrong.
    pub(super) fn calm(self) -> Self {
        let none =
            Self { crashes: 0, deaths: 0, loss: None, slowness: None, silence: None, ..self };
        Self { topic_changes: 2, subscription_changes: 1, refusals: 0, ..none }
    }

    /// A shard with the limits of this seed.
    pub(super) fn shard(&self) -> GroupShard {
        let int = |ms: u64| i32::try_from(ms).expect("some seconds");
        let mut config = ConsumerLimits::default().config;
        config.consumer_session_timeout_ms = int(self.session_ms);
        config.consumer_heartbeat_interval_ms = int(self.interval_ms);
        config.consumer_assignment_interval_ms = int(self.assignment_interval_ms);
        let offsets = OffsetLimits {
            retention_ms: self.retention_ms,
            check_interval_ms: RETENTION_CHECK_MS,
            ..OffsetLimits::default()
        };
        GroupShard::new(Limits::default(), offsets)
            .with_consumer_limits(ConsumerLimits::new(config))
    }
}
