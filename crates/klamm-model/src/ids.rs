//! Numbers with a name.

use std::fmt;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    )*};
}

numbers! {
    /// A node of the cluster: Kafka's `node.id`, 0 or more.
    NodeId(i32);
    /// One life of a broker: the offset of its registration record.
    BrokerEpoch(i64);
    /// A record's position in its partition, 0 or more.
    Offset(i64);
    /// One leadership of a partition, 0 or more; grows with every election.
    LeaderEpoch(i32);
    /// An idempotent producer, 0 or more.
    ProducerId(i64);
    /// One life of a producer id, 0 to 32,767.
    ProducerEpoch(i16);
    /// One composition of a classic group.
    GenerationId(i32);
    /// Milliseconds since 1970 in UTC.
    Timestamp(i64);
}

/// Proves that a transaction coordinator was asked about a producer's transaction in a partition,
/// and that no marker has ended it since the question (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verification(pub u64);

impl ProducerEpoch {
    /// The one after it.
    ///
    /// # Panics
    /// After 32,767 there is none; coordinators change the producer id before.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a producer id is replaced before its last epoch"))
    }
}

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self(0);

    /// The offset `records` later.
    #[must_use]
    pub fn plus(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

/// How many copies a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// 0: no answer at all.
    None,
    /// 1: the leader has it.
    Leader,
    /// -1: the whole ISR has it.
    All,
}

impl Acks {
    /// From the wire; `None` for a number that is not one of the three.
    #[must_use]
    pub fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// What a reader may see of open and aborted transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// Everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// Everything below the last stable offset, with the aborted transactions named.
    ReadCommitted,
}

impl IsolationLevel {
    /// From the wire: 1 is read-committed, everything else is not, as in Kafka.
    #[must_use]
    pub fn from_wire(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }
}
