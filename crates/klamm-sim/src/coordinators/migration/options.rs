//! What a seed of migration is like: who takes whose place, how patient the coordinator is, and what
//! goes wrong, some of it not at all.

use klamm_group_coordinator::{GroupShard, Limits, OffsetLimits};

use super::client::Protocol;
use crate::coordinators::consumers::options::Times;
use crate::coordinators::luck::{Chaos, Drawn, Draws, LUCK};
use crate::random::Seeded;

/// How long the first members of a classic group wait for others.
const INITIAL_DELAY_MS: u64 = 5;

/// Which way members go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the classic protocol to the consumer one.
    Upgrade,
    /// From the consumer protocol to the classic one.
    Downgrade,
    /// To and fro.
    Both,
}

impl Direction {
    /// What the first members speak.
    pub(super) fn first(self, random: &mut Seeded) -> Protocol {
        match self {
            Self::Upgrade => Protocol::Classic,
            Self::Downgrade => Protocol::Consumer,
            Self::Both => *random.pick(&[Protocol::Classic, Protocol::Consumer]),
        }
    }

    /// What one speaks that takes the place of a member.
    pub(super) fn next(self, before: Protocol) -> Protocol {
        match (self, before) {
            (Self::Upgrade, _) | (Self::Both, Protocol::Classic) => Protocol::Consumer,
            (Self::Downgrade, _) | (Self::Both, Protocol::Consumer) => Protocol::Classic,
        }
    }
}

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) direction: Direction,
    pub(super) places: usize,
    /// How often each member is followed by one that speaks the next protocol.
    pub(super) switches: usize,
    pub(super) times: Times,
    pub(super) rebalance_ms: u64,
    /// A member dies, and another of its protocol comes.
    pub(super) deaths: usize,
    /// Of so many members that go one does so without a word.
    pub(super) rudeness: Option<usize>,
    /// Of so many members one is static.
    pub(super) fixed: Option<usize>,
    /// Of so many consumers one has its id from the coordinator.
    pub(super) nameless: Option<usize>,
    /// A member thinks for longer than its session.
    pub(super) silence: Option<usize>,
    /// A classic member commits, and does not just say that it is there.
    pub(super) commits: Option<usize>,
    pub(super) chaos: Chaos,
}

impl Options {
    /// The options, and how often each choice was drawn: once or not at all.
    pub(super) fn random(random: &mut Seeded) -> (Self, Drawn) {
        let mut draws = Draws::new(random);
        let directions = [Direction::Upgrade, Direction::Downgrade, Direction::Both];
        let options = Self {
            direction: draws.pick("direction", &directions),
            places: draws.pick("places", &[1, 2, 3, 4]),
            switches: draws.pick("switches", &[1, 2, 4]),
            times: Times::draw(&mut draws),
            rebalance_ms: draws.pick("rebalance", &[200, 400, 1_500]),
            deaths: draws.pick("deaths", &[0, 2, 5]),
            rudeness: draws.pick("rudeness", &[None, Some(3), Some(1)]),
            fixed: draws.pick("static members", &[None, Some(2), Some(1)]),
            nameless: draws.pick("nameless", &[None, Some(2)]),
            silence: draws.pick("silence", &LUCK),
            commits: draws.pick("commits", &[Some(8), Some(2)]),
            chaos: Chaos::draw(&mut draws),
        };
        (options, draws.drawn)
    }

    /// The same members, who take each other's places with a word, but nothing goes wrong.
    pub(super) fn calm(self) -> Self {
        let calm = Self { deaths: 0, rudeness: None, silence: None, ..self };
        Self { chaos: Chaos::NONE, ..calm }
    }

    /// A shard with the limits of this seed, whose groups may go either way, which is the default.
    pub(super) fn shard(&self) -> GroupShard {
        let limits = Limits {
            session_timeout_ms_min: 1,
            initial_rebalance_delay_ms: INITIAL_DELAY_MS,
            ..Limits::default()
        };
        GroupShard::new(limits, OffsetLimits::default()).with_consumer_limits(self.times.limits())
    }
}
