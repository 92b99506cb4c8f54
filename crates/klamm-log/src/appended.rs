//! Who appends a batch, and what becomes of it or why it is refused.

use std::fmt;

use klamm_model::{Offset, ProducerEpoch, Timestamp, Verification};
use klamm_records::{BatchError, ControlRecordError};

use crate::error::LogError;

/// Who made a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer: its sequence numbers are checked.
    Client,
    /// A producer in a transaction: besides, the transaction is open here, or the coordinator was
    /// asked and this is the proof.
    Transaction(Option<Verification>),
    /// A coordinator, for a producer in a transaction: its epoch is checked, and that the
    /// transaction is open or proven.
    Coordinator(Option<Verification>),
    /// A transaction coordinator that ends a transaction: the epochs are checked, its own and the
    /// producer's, by the rule of this transaction protocol (feature `transaction.version`).
    Marker {
        /// The protocol.
        transaction_version: i8,
    },
    /// The broker itself.
    Broker,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp.
    pub max_timestamp: Timestamp,
    /// Whether it was there already, sent before: nothing was written.
    pub is_duplicate: bool,
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug)]
pub enum AppendError {
    /// It does not follow what its producer sent before.
    Sequence(SequenceError),
    /// It does not belong to the transaction that is open, or to none that may begin.
    Transaction(TransactionError),
    /// It is a control batch without a control record.
    Control(ControlRecordError),
    /// Larger than a segment can be.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// `segment.bytes`.
        segment_bytes: u64,
    },
    /// The disk has no room, or failed: then the log must not be used any more.
    Disk(LogError),
}

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceError {
    /// INVALID_PRODUCER_EPOCH: a newer instance of the producer exists.
    Epoch {
        /// Of the batch.
        epoch: ProducerEpoch,
        /// The newest.
        current: ProducerEpoch,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before this one is missing.
    Sequence {
        /// Of the batch's first record.
        sequence: i32,
        /// Of the last record that is stored; -1 for none.
        last: i32,
    },
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch, current } => {
                write!(
                    f,
                    "producer epoch {epoch} is older than {current}: another instance took over"
                )
            }
            Self::Sequence { sequence, last } => {
                write!(f, "sequence number {sequence} does not follow {last}: a batch is missing")
            }
        }
    }
}

impl std::error::Error for SequenceError {}

/// Why a batch of a transaction is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionError {
    /// INVALID_TXN_STATE: no transaction is open for its producer, and none was proven to begin.
    NotInTransaction,
    /// INVALID_TXN_STATE: it is outside of a transaction while its producer has one open.
    OutsideOfTransaction,
    /// TRANSACTION_COORDINATOR_FENCED: a newer coordinator has ended a transaction here.
    CoordinatorFenced {
        /// Of the marker.
        epoch: i32,
        /// The newest.
        current: i32,
    },
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInTransaction => {
                write!(f, "the batch belongs to no transaction that is open in this partition")
            }
            Self::OutsideOfTransaction => {
                write!(f, "the producer has a transaction open here and the batch is outside of it")
            }
            Self::CoordinatorFenced { epoch, current } => {
                write!(f, "coordinator epoch {epoch} is older than {current}: another took over")
            }
        }
    }
}

impl std::error::Error for TransactionError {}

/// Why what a leader sent was not appended. Batches before the refused one are in the log.
#[derive(Debug)]
pub enum FollowError {
    /// It is no batch, or its checksum differs: it is to be fetched again.
    Batch {
        /// Where the log ends.
        log_end_offset: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// A batch begins before the end of the log: leader and follower do not agree on it.
    Offset {
        /// Where the batch begins.
        base_offset: Offset,
        /// Where the log ends.
        log_end_offset: Offset,
    },
    /// It is larger than a segment can be.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// `segment.bytes`.
        segment_bytes: u64,
    },
    /// The disk has no room, or failed: then the log must not be used any more.
    Disk(LogError),
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { log_end_offset, error } => {
                write!(f, "what follows offset {log_end_offset} is no batch: {error}")
            }
            Self::Offset { base_offset, log_end_offset } => {
                write!(f, "a batch begins at {base_offset}, before the log's end {log_end_offset}")
            }
            Self::TooLarge { bytes, segment_bytes } => {
                write!(f, "the batch has {bytes} bytes, more than segment.bytes ({segment_bytes})")
            }
            Self::Disk(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for FollowError {}

impl From<LogError> for FollowError {
    fn from(error: LogError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(error) => fmt::Display::fmt(error, f),
            Self::Transaction(error) => fmt::Display::fmt(error, f),
            Self::Control(error) => fmt::Display::fmt(error, f),
            Self::TooLarge { bytes, segment_bytes } => {
                write!(f, "the batch has {bytes} bytes, more than segment.bytes ({segment_bytes})")
            }
            Self::Disk(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<SequenceError> for AppendError {
    fn from(error: SequenceError) -> Self {
        Self::Sequence(error)
    }
}

impl From<TransactionError> for AppendError {
    fn from(error: TransactionError) -> Self {
        Self::Transaction(error)
    }
}
