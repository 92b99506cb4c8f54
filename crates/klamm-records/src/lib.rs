//! Record batches, magic 2 only: view, iterate, build, compress, validate. Never does I/O, never
//! asks the time, and never believes a length that it has not compared with the bytes at hand.
//!
//! [`BatchView`] reads a batch where it lies; [`BatchBuilder`] makes one; [`validate()`] decides
//! whether a leader may append what a client sent, and what its header must say then.

mod attributes;
mod batch;
mod batch_error;
mod builder;
mod checksum;
mod codec;
mod compression;
mod control;
mod control_type;
mod header;
mod raw;
mod record;
mod record_error;
mod scratch;
mod snappy;
mod validate;

pub use attributes::{Attributes, TimestampType};
pub use batch::{BatchView, Batches, batches};
pub use batch_error::BatchError;
pub use builder::{BatchBuilder, BatchOptions, HeaderToAppend, RecordToAppend};
pub use checksum::crc32c;
pub use codec::{Codec, CompressionError, DecompressError};
pub use compression::{Compression, LevelError};
pub use control::{EndTxnMarker, control_batch};
pub use control_type::{ControlRecordError, ControlRecordType};
pub use header::{BatchHeader, Producer};
pub use raw::{RawRecord, RawRecords};
pub use record::{HeaderView, Headers, RecordView, Records, RecordsError};
pub use record_error::{InvalidRecord, RecordError, RejectedRecord, RejectionReason};
pub use scratch::{DECOMPRESSED_BYTES_MAX, Scratch};
pub use validate::{Rules, TopicCompression, ValidBatch, validate};

/// Where the fields of a batch are. Kafka: `DefaultRecordBatch`.
pub mod layout {
    /// Start of the base offset, an i64.
    pub const BASE_OFFSET: usize = 0;
    /// Start of the length of what follows this field, an i32.
    pub const BATCH_LENGTH: usize = 8;
    /// Start of the leader epoch, an i32.
    pub const PARTITION_LEADER_EPOCH: usize = 12;
    /// The magic byte.
    pub const MAGIC: usize = 16;
    /// Start of the CRC32C, a u32.
    pub const CRC: usize = 17;
    /// Start of the attributes, an i16, and of what the CRC covers.
    pub const ATTRIBUTES: usize = 21;
    /// Start of the last record's offset less the base offset, an i32.
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// Start of the base timestamp, an i64.
    pub const BASE_TIMESTAMP: usize = 27;
    /// Start of the largest timestamp, an i64.
    pub const MAX_TIMESTAMP: usize = 35;
    /// Start of the producer id, an i64.
    pub const PRODUCER_ID: usize = 43;
    /// Start of the producer epoch, an i16.
    pub const PRODUCER_EPOCH: usize = 51;
    /// Start of the first record's sequence number, an i32.
    pub const BASE_SEQUENCE: usize = 53;
    /// Start of the number of records, an i32.
    pub const RECORD_COUNT: usize = 57;
    /// Bytes of the header; the records, or their compressed form, follow.
    pub const HEADER_LEN: usize = 61;
    /// Bytes before what the length field counts.
    pub const LOG_OVERHEAD: usize = 12;
    /// The only magic that Kafka still writes.
    pub const MAGIC_V2: i8 = 2;

    const _: () = assert!(RECORD_COUNT + 4 == HEADER_LEN);
    const _: () = assert!(CRC + 4 == ATTRIBUTES);
    const _: () = assert!(BATCH_LENGTH + 4 == LOG_OVERHEAD);
}
