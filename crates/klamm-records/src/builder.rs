//! Makes batches: Kafka's bytes, readable by any client and broker. Never splits what it is given.

use klamm_model::{LeaderEpoch, Offset, Timestamp};
use klamm_stdx::varint;

use crate::attributes::{Attributes, TimestampType};
use crate::checksum::crc32c_of_two;
use crate::codec::CompressionError;
use crate::compression::Compression;
use crate::control_type::ControlRecordType;
use crate::header::{BatchHeader, Producer};
use crate::layout;

/// What is true of a whole batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchOptions {
    /// How the records are compressed.
    pub compression: Compression,
    /// Where the timestamps come from.
    pub timestamp_type: TimestampType,
    /// Who writes it.
    pub producer: Option<Producer>,
    /// Whether it belongs to a transaction.
    pub is_transactional: bool,
    /// Offset of the first record; 0 for what a leader is to append.
    pub base_offset: Offset,
    /// Epoch of the leader; `None` for what a leader is to append.
    pub partition_leader_epoch: Option<LeaderEpoch>,
}

/// A record on its way into a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordToAppend<'a> {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: &'a [HeaderToAppend<'a>],
}

/// A header on its way into a record.
#[derive(Debug, Clone, Copy)]
pub struct HeaderToAppend<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// A batch that grows record by record.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    attributes: Attributes,
    /// Room for the header, then the records as they are before compression.
    bytes: Vec<u8>,
    record_count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        let mut attributes = Attributes::default()
            .with_codec(options.compression.codec())
            .with_timestamp_type(options.timestamp_type);
        if options.is_transactional {
            attributes = attributes.transactional();
        }
        Self {
            options,
            attributes,
            bytes: vec![0; layout::HEADER_LEN],
            record_count: 0,
            base_timestamp: Timestamp(0),
            max_timestamp: Timestamp(-1),
        }
    }

    /// Adds a record; its offset is one more than the one before.
    ///
    /// # Panics
    /// If the batch outgrows 2 GiB or 2^31 records; whoever fills it watches [`Self::len_bytes`].
    pub fn push(&mut self, record: RecordToAppend<'_>) {
        if self.record_count == 0 {
            self.base_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.0.wrapping_sub(self.base_timestamp.0);
        let len = 1
            + varint::len_i64(timestamp_delta)
            + varint::len_i64(i64::from(self.record_count))
            + nullable_len(record.key)
            + nullable_len(record.value)
            + varint::len_i64(record.headers.len() as i64)
            + record.headers.iter().map(header_len).sum::<usize>();
        let out = &mut self.bytes;
        varint::write_i32(out, i32::try_from(len).expect("a record is far below 2 GiB"));
        let end = out.len() + len;
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, self.record_count);
        write_nullable(out, record.key);
        write_nullable(out, record.value);
        varint::write_i32(out, i32::try_from(record.headers.len()).expect("far below 2^31"));
        for header in record.headers {
            write_nullable(out, Some(header.key.as_bytes()));
            write_nullable(out, header.value);
        }
        assert_eq!(out.len(), end);
        self.record_count = self.record_count.checked_add(1).expect("far below 2^31 records");
    }

    /// Adds a control record, which makes the whole batch one of control records.
    pub fn push_control(&mut self, kind: ControlRecordType, timestamp: Timestamp, value: &[u8]) {
        self.attributes = self.attributes.control();
        let key = kind.to_key();
        let (key, value) = (Some(&key[..]), Some(value));
        self.push(RecordToAppend { timestamp, key, value, headers: &[] });
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.record_count as usize
    }

    /// Bytes of the batch if it were not compressed.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// The compressor failed.
    ///
    /// # Panics
    /// If there is no record, or the batch has 2 GiB.
    pub fn build(self) -> Result<Vec<u8>, CompressionError> {
        assert!(self.record_count > 0);
        let mut bytes = self.bytes;
        if self.options.compression.codec() != crate::Codec::None {
            let mut out = vec![0; layout::HEADER_LEN];
            self.options.compression.compress(&bytes[layout::HEADER_LEN..], &mut out)?;
            bytes = out;
        }
        let mut header = BatchHeader {
            base_offset: self.options.base_offset,
            batch_length: batch_length(bytes.len() - layout::HEADER_LEN),
            partition_leader_epoch: self.options.partition_leader_epoch.unwrap_or(LeaderEpoch(-1)),
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer: self.options.producer,
            record_count: self.record_count,
        };
        header.crc = crc_of(&header.to_bytes(), &bytes[layout::HEADER_LEN..]);
        bytes[..layout::HEADER_LEN].copy_from_slice(&header.to_bytes());
        Ok(bytes)
    }
}

/// The length field of a batch with a body of this many bytes.
pub(crate) fn batch_length(body_len: usize) -> i32 {
    i32::try_from(body_len + layout::HEADER_LEN - layout::LOG_OVERHEAD)
        .expect("a batch is far below 2 GiB")
}

/// The checksum of a batch in two parts.
pub(crate) fn crc_of(header: &[u8; layout::HEADER_LEN], body: &[u8]) -> u32 {
    crc32c_of_two(&header[layout::ATTRIBUTES..], body)
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len_i64(bytes.len() as i64) + bytes.len())
}

fn header_len(header: &HeaderToAppend<'_>) -> usize {
    nullable_len(Some(header.key.as_bytes())) + nullable_len(header.value)
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write_i64(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write_i32(out, -1),
    }
}
