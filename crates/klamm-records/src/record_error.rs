//! Why a leader refuses to append what a client sent, and how Kafka names it.

use std::fmt;

use klamm_model::ErrorCode;

use crate::batch_error::BatchError;
use crate::codec::{CompressionError, DecompressError};
use crate::record::RecordsError;

/// Most refused records that one answer names: a batch can hold a million.
pub(crate) const REJECTED_RECORDS_MAX: usize = 1000;

/// Why a batch is refused. The log is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// No batch at all, or one that is cut off.
    NoBatch {
        /// Bytes that there are.
        available: usize,
    },
    /// The header is damaged, of another magic, or its checksum is wrong.
    Batch(BatchError),
    /// It is larger than `max.message.bytes`.
    TooLarge {
        /// Its bytes.
        batch_bytes: usize,
        /// What the topic allows.
        max_message_bytes: usize,
    },
    /// A rule about the batch as a whole is broken.
    Invalid(InvalidRecord),
    /// The records cannot be read.
    Records(RecordsError),
    /// The records could not be compressed again in the topic's codec.
    Compression(CompressionError),
    /// Some of the records may not be in this topic.
    Rejected {
        /// Which, by their place in the batch; at most 1,000 of them.
        records: Vec<RejectedRecord>,
        /// How many in all.
        rejected_count: usize,
    },
}

/// A record that may not be in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub reason: RejectionReason,
}

/// Why a record may not be in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    /// The topic is compacted and the record has no key.
    NoKey,
    /// The timestamp is too far from the broker's clock.
    Timestamp {
        /// The record's timestamp.
        timestamp: i64,
        /// The earliest that would be taken.
        earliest: i64,
        /// The latest that would be taken.
        latest: i64,
    },
}

/// A rule about a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidRecord {
    /// More follows the one batch that a partition may have in a request.
    ManyBatches {
        /// Bytes of the first batch.
        batch_bytes: usize,
        /// Bytes in all.
        available: usize,
    },
    /// The base offset of a client's batch is not 0.
    BaseOffset(i64),
    /// There is no record.
    Empty,
    /// The records are not as many as their offsets.
    Count {
        /// What the header counts.
        record_count: i32,
        /// The last offset's delta.
        last_offset_delta: i32,
    },
    /// A record's offset does not follow the one before.
    OffsetDelta {
        /// The record's place.
        index: i32,
        /// Its delta.
        offset_delta: i32,
    },
    /// Clients do not write control records.
    Control,
    /// A producer id without a sequence number.
    Sequence {
        /// The producer.
        producer_id: i64,
        /// The number.
        base_sequence: i32,
    },
    /// Clients do not write the broker's timestamps.
    LogAppendTime,
    /// Only a producer with an id can have transactions.
    TransactionalWithoutProducer,
}

impl RecordError {
    /// What Kafka answers.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::NoBatch { .. } => ErrorCode::InvalidRecord,
            Self::Batch(e) => batch_error_code(e),
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Invalid(InvalidRecord::LogAppendTime) => ErrorCode::InvalidTimestamp,
            Self::Invalid(_) => ErrorCode::InvalidRecord,
            Self::Records(RecordsError::Codec(_)) => ErrorCode::UnsupportedCompressionType,
            Self::Records(RecordsError::Decompress(DecompressError::TooLarge { .. })) => {
                ErrorCode::MessageTooLarge
            }
            Self::Records(_) => ErrorCode::InvalidRecord,
            Self::Compression(_) => ErrorCode::UnknownServerError,
            Self::Rejected { records, .. } => {
                let is_timestamp = |r: &RejectedRecord| r.reason != RejectionReason::NoKey;
                if records.iter().any(is_timestamp) {
                    ErrorCode::InvalidTimestamp
                } else {
                    ErrorCode::InvalidRecord
                }
            }
        }
    }

    /// The records that are named one by one in a Produce answer (v8 and later, KIP-467).
    #[must_use]
    pub fn rejected_records(&self) -> &[RejectedRecord] {
        match self {
            Self::Rejected { records, .. } => records,
            _ => &[],
        }
    }
}

fn batch_error_code(error: &BatchError) -> ErrorCode {
    match error {
        // Magic 0 and 1 were formats once: a client is told that it is too old, not that its
        // bytes changed on the way. Kafka: ProduceRequest.validateRecords.
        BatchError::Magic { magic: 0 | 1 } => ErrorCode::InvalidRecord,
        BatchError::Magic { .. } | BatchError::Length { .. } | BatchError::Crc { .. } => {
            ErrorCode::CorruptMessage
        }
        BatchError::Short { .. } | BatchError::Field { .. } => ErrorCode::InvalidRecord,
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBatch { available } => {
                write!(f, "there is no whole record batch in {available} bytes")
            }
            Self::Batch(e) => e.fmt(f),
            Self::TooLarge { batch_bytes, max_message_bytes } => write!(
                f,
                "record batch has {batch_bytes} bytes, more than max.message.bytes {max_message_bytes}"
            ),
            Self::Invalid(e) => e.fmt(f),
            Self::Records(e) => e.fmt(f),
            Self::Compression(e) => e.fmt(f),
            Self::Rejected { records, rejected_count } => {
                write!(f, "{rejected_count} records of the batch are refused")?;
                match records.first() {
                    Some(first) => {
                        write!(f, ", first record {}: {}", first.batch_index, first.reason)
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("compacted topic cannot accept a record without a key"),
            Self::Timestamp { timestamp, earliest, latest } => {
                write!(f, "timestamp {timestamp} is not between {earliest} and {latest}")
            }
        }
    }
}

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManyBatches { batch_bytes, available } => write!(
                f,
                "a partition's records must be exactly one batch: {available} bytes, the first batch has {batch_bytes}"
            ),
            Self::BaseOffset(offset) => write!(f, "base offset of the batch is {offset}, not 0"),
            Self::Empty => f.write_str("the batch has no records"),
            Self::Count { record_count, last_offset_delta } => write!(
                f,
                "the batch counts {record_count} records, its last offset delta is {last_offset_delta}"
            ),
            Self::OffsetDelta { index, offset_delta } => {
                write!(f, "record {index} of the batch has offset delta {offset_delta}")
            }
            Self::Control => f.write_str("clients cannot write control records"),
            Self::Sequence { producer_id, base_sequence } => {
                write!(f, "producer id {producer_id} came with sequence number {base_sequence}")
            }
            Self::LogAppendTime => {
                f.write_str("producers cannot set the timestamp type to LogAppendTime")
            }
            Self::TransactionalWithoutProducer => {
                f.write_str("the batch is transactional and has no producer id")
            }
        }
    }
}

impl std::error::Error for RecordError {}

impl From<BatchError> for RecordError {
    fn from(e: BatchError) -> Self {
        Self::Batch(e)
    }
}

impl From<RecordsError> for RecordError {
    fn from(e: RecordsError) -> Self {
        Self::Records(e)
    }
}

impl From<InvalidRecord> for RecordError {
    fn from(e: InvalidRecord) -> Self {
        Self::Invalid(e)
    }
}
