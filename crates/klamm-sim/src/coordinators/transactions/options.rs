//! What a seed of transactions is like: who takes part, how patient the coordinator is, and what
//! goes wrong, some of it not at all.

use klamm_transaction_coordinator::Protocol;

use super::client::PARTITIONS_MAX;
use crate::coordinators::luck::{Chaos, Drawn, Draws, LUCK};
use crate::random::Seeded;

/// The protocols of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    OnlyV1,
    OnlyV2,
    Mixed,
}

impl Protocols {
    /// The protocol of another client.
    pub(super) fn pick(self, random: &mut Seeded) -> Protocol {
        match self {
            Self::OnlyV1 => Protocol::V1,
            Self::OnlyV2 => Protocol::V2,
            Self::Mixed => *random.pick(&[Protocol::V1, Protocol::V2]),
        }
    }
}

/// The options of a seed. What happens once in `n` times never does when `n` is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) protocols: Protocols,
    pub(super) transactional_ids: usize,
    pub(super) partitions: usize,
    /// How long a transaction may stay open.
    pub(super) timeout_ms: u64,
    /// The coordinator moves, and the broker lives on.
    pub(super) fail_overs: usize,
    /// An instance of a producer is replaced by another.
    pub(super) replacements: usize,
    /// A client thinks for longer than its transaction may last.
    pub(super) silence: Option<usize>,
    /// A marker takes long.
    pub(super) slow_markers: Option<usize>,
    /// What became of a marker is not heard of, and it is written again.
    pub(super) failing_markers: Option<usize>,
    pub(super) chaos: Chaos,
}

impl Options {
    /// The options, and how often each choice was drawn: once or not at all.
    pub(super) fn random(random: &mut Seeded) -> (Self, Drawn) {
        let mut draws = Draws::new(random);
        let protocols = [Protocols::OnlyV1, Protocols::OnlyV2, Protocols::Mixed];
        let options = Self {
            protocols: draws.pick("protocols", &protocols),
            transactional_ids: draws.pick("transactional ids", &[1, 2, 4]),
            partitions: draws.pick("partitions", &[1, 3, PARTITIONS_MAX]),
            timeout_ms: draws.pick("transaction timeout", &[80, 400, 1_200]),
            fail_overs: draws.pick("fail-overs", &[0, 1, 4]),
            replacements: draws.pick("replacements", &[0, 2, 6]),
            silence: draws.pick("silence", &LUCK),
            slow_markers: draws.pick("slow markers", &LUCK),
            failing_markers: draws.pick("failing markers", &[None, Some(20), Some(3)]),
            chaos: Chaos::draw(&mut draws),
        };
        (options, draws.drawn)
    }

    /// The same clients and partitions, but nothing goes wrong.
    pub(super) fn calm(self) -> Self {
        Self {
            fail_overs: 0,
            replacements: 0,
            silence: None,
            slow_markers: None,
            failing_markers: None,
            chaos: Chaos::NONE,
            ..self
        }
    }
}
