//! Who makes transactions, by which protocol, and how they end.

use std::fmt;

use klamm_model::{ProducerEpoch, ProducerId};

/// A producer and its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdAndEpoch {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl fmt::Display for ProducerIdAndEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "producer {} in epoch {}", self.id, self.epoch)
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// They do not.
    Abort,
}

/// The transaction protocol that a client speaks (feature `transaction.version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Protocol {
    /// Levels 0 and 1: one epoch for as long as the producer lives.
    #[default]
    V1,
    /// Level 2: an epoch for each transaction (KIP-890).
    V2,
}

impl Protocol {
    /// Its number in records and markers.
    #[must_use]
    pub fn level(self) -> i8 {
        match self {
            Self::V1 => 0,
            Self::V2 => 2,
        }
    }

    /// The protocol of a level.
    #[must_use]
    pub fn of_level(level: i16) -> Self {
        if level >= 2 { Self::V2 } else { Self::V1 }
    }
}
