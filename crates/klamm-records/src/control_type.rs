//! What kinds of control records there are, and the keys that say so.

use std::fmt;

use crate::record::RecordView;

/// Version that is written into keys.
const KEY_VERSION: i16 = 0;

/// What a control record says. Kafka: `ControlRecordType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    /// A transaction is aborted.
    Abort,
    /// A transaction is committed.
    Commit,
    /// A KRaft leader begins.
    LeaderChange,
    /// A snapshot begins.
    SnapshotHeader,
    /// A snapshot ends.
    SnapshotFooter,
    /// The version of the KRaft protocol (KIP-853).
    KRaftVersion,
    /// The set of voters (KIP-853).
    KRaftVoters,
}

/// Why a control record cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlRecordError {
    /// The key is not a version and a type.
    Key {
        /// Its bytes.
        len: usize,
    },
    /// The value is not a version and a coordinator epoch.
    EndTxnValue {
        /// Its bytes.
        len: usize,
    },
}

impl fmt::Display for ControlRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { len } => write!(f, "control record has a key of {len} bytes, not 4"),
            Self::EndTxnValue { len } => {
                write!(f, "end of a transaction has a value of {len} bytes, not 6")
            }
        }
    }
}

impl std::error::Error for ControlRecordError {}

impl ControlRecordType {
    /// The type of a record of a control batch; `None` for a type that we do not know, which
    /// Kafka skips.
    ///
    /// # Errors
    /// The key is too short or missing.
    pub fn of(record: &RecordView<'_>) -> Result<Option<Self>, ControlRecordError> {
        let key = record.key.unwrap_or(&[]);
        let Some([_, _, high, low]) = key.first_chunk::<4>() else {
            return Err(ControlRecordError::Key { len: key.len() });
        };
        Ok(match i16::from_be_bytes([*high, *low]) {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            2 => Some(Self::LeaderChange),
            3 => Some(Self::SnapshotHeader),
            4 => Some(Self::SnapshotFooter),
            5 => Some(Self::KRaftVersion),
            6 => Some(Self::KRaftVoters),
            _ => None,
        })
    }

    /// The bytes of a record's key.
    #[must_use]
    pub fn to_key(self) -> [u8; 4] {
        let [a, b] = KEY_VERSION.to_be_bytes();
        let [c, d] = (self as i16).to_be_bytes();
        [a, b, c, d]
    }
}
