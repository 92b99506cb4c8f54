//! Where a classic group stands, and what it waits for there.

use klamm_env::Moment;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No members; committed offsets may remain.
    Empty,
    /// Waiting for the members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Being removed.
    Dead,
}

impl State {
    /// Kafka's name, which clients and tools show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// What a group is waiting for as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// More first members may come; the group looks again at `until` and may extend by at most
    /// `remaining_ms`.
    InitialDelay { until: Moment, remaining_ms: u64 },
    /// Members must rejoin by then.
    Join { until: Moment },
    /// Members must ask for their assignment by then.
    Sync { until: Moment },
}

impl Wait {
    pub(crate) fn until(self) -> Moment {
        match self {
            Self::InitialDelay { until, .. } | Self::Join { until } | Self::Sync { until } => until,
        }
    }
}
