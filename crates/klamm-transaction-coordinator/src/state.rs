//! Where a transaction stands. The numbers are the ones of the log (Kafka: `TransactionState`).

use crate::producer::Outcome;

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The producer has its id, and nothing was written.
    Empty,
    /// There are partitions in it.
    Ongoing,
    /// It is committed; its markers are being written.
    PrepareCommit,
    /// It is aborted; its markers are being written.
    PrepareAbort,
    /// Committed, and every partition knows.
    CompleteCommit,
    /// Aborted, and every partition knows.
    CompleteAbort,
}

/// How many states there are.
pub(crate) const STATES_COUNT: usize = 6;

/// Every state, its number in the log and its name in answers.
const STATES: [(State, i8, &str); STATES_COUNT] = [
    (State::Empty, 0, "Empty"),
    (State::Ongoing, 1, "Ongoing"),
    (State::PrepareCommit, 2, "PrepareCommit"),
    (State::PrepareAbort, 3, "PrepareAbort"),
    (State::CompleteCommit, 4, "CompleteCommit"),
    (State::CompleteAbort, 5, "CompleteAbort"),
];

impl State {
    /// Every state.
    pub const ALL: [Self; STATES_COUNT] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Its place among them.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Its number in the log.
    #[must_use]
    pub fn code(self) -> i8 {
        STATES.iter().find(|(state, ..)| *state == self).map_or(0, |(_, code, _)| *code)
    }

    /// The state of a number; `None` for those that are never written (6, Dead, and 7,
    /// PrepareEpochFence, exist in Kafka's memory alone).
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        STATES.iter().find(|(_, known, _)| *known == code).map(|(state, ..)| *state)
    }

    /// Its name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        STATES.iter().find(|(state, ..)| *state == self).map_or("", |(.., name)| *name)
    }

    /// The state of a name, as ListTransactions is asked for it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        STATES.iter().find(|(.., known)| *known == name).map(|(state, ..)| *state)
    }

    /// How it is ending, while its markers are being written.
    #[must_use]
    pub fn preparing(self) -> Option<Outcome> {
        match self {
            Self::PrepareCommit => Some(Outcome::Commit),
            Self::PrepareAbort => Some(Outcome::Abort),
            Self::Empty | Self::Ongoing | Self::CompleteCommit | Self::CompleteAbort => None,
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}
