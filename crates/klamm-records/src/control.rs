//! Control records: the broker's own entries in a log. Their key is a version and a type; their
//! values are opaque here, but for the end of a transaction, which every log must understand.

use std::fmt;

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::builder::{BatchBuilder, BatchOptions};
use crate::header::Producer;
use crate::record::RecordView;

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

/// Version that is written into keys.
const KEY_VERSION: i16 = 0;
/// Version that is written into the value of a transaction's end.
const END_TXN_VERSION: i16 = 0;

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

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether it is aborted; else it is committed.
    pub is_abort: bool,
    /// Epoch of the transaction coordinator's partition.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in `record` of a control batch; `None` if it is another control record.
    ///
    /// # Errors
    /// The key or the value is too short.
    pub fn parse(record: &RecordView<'_>) -> Result<Option<Self>, ControlRecordError> {
        let is_abort = match ControlRecordType::of(record)? {
            Some(ControlRecordType::Abort) => true,
            Some(ControlRecordType::Commit) => false,
            _ => return Ok(None),
        };
        let value = record.value.unwrap_or(&[]);
        let Some([_, _, epoch @ ..]) = value.first_chunk::<6>() else {
            return Err(ControlRecordError::EndTxnValue { len: value.len() });
        };
        Ok(Some(Self { is_abort, coordinator_epoch: i32::from_be_bytes(*epoch) }))
    }

    /// The batch that a leader appends for this marker.
    #[must_use]
    pub fn batch(self, id: ProducerId, epoch: ProducerEpoch, timestamp: Timestamp) -> Vec<u8> {
        let mut value = END_TXN_VERSION.to_be_bytes().to_vec();
        value.extend_from_slice(&self.coordinator_epoch.to_be_bytes());
        let kind = if self.is_abort { ControlRecordType::Abort } else { ControlRecordType::Commit };
        let options = BatchOptions {
            producer: Some(Producer { id, epoch, base_sequence: -1 }),
            is_transactional: true,
            ..BatchOptions::default()
        };
        one_control_record(options, kind, (timestamp, &value))
    }
}

/// A batch of one control record without a producer, such as KRaft's.
#[must_use]
pub fn control_batch(
    at: (Offset, LeaderEpoch),
    kind: ControlRecordType,
    timestamp: Timestamp,
    value: &[u8],
) -> Vec<u8> {
    let options = BatchOptions {
        base_offset: at.0,
        partition_leader_epoch: Some(at.1),
        ..BatchOptions::default()
    };
    one_control_record(options, kind, (timestamp, value))
}

fn one_control_record(
    options: BatchOptions,
    kind: ControlRecordType,
    (timestamp, value): (Timestamp, &[u8]),
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder.push_control(kind, timestamp, value);
    builder.build().expect("nothing is compressed here")
}
