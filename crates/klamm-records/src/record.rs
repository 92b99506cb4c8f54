//! Records inside a batch, walked by their varints. Nothing is allocated for a record.

use std::fmt;

use klamm_model::{Offset, Timestamp};
use klamm_stdx::varint;

use crate::attributes::TimestampType;
use crate::codec::DecompressError;
use crate::header::BatchHeader;

/// One record, as slices of its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp; -1 if the producer gave none.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// Its headers, in order.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// The key: meant to be UTF-8, which nobody checks.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, already checked.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: u32,
}

impl Headers<'_> {
    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        let mut cursor = Cursor { rest: self.rest };
        let header = cursor.header().expect("the headers were walked when the record was");
        self.rest = cursor.rest;
        Some(header)
    }
}

/// Why the records of a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordsError {
    /// No codec has this number.
    Codec(u8),
    /// The compressed bytes are damaged, or too large when they are not compressed.
    Decompress(DecompressError),
    /// A record is not what it should be.
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes are left when all records that the header counts have been read.
    Trailing {
        /// How many.
        trailing_bytes: usize,
    },
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(id) => write!(f, "there is no compression codec {id}"),
            Self::Decompress(e) => e.fmt(f),
            Self::Record { index, what } => write!(f, "record {index} of the batch: {what}"),
            Self::Trailing { trailing_bytes } => {
                write!(f, "{trailing_bytes} bytes follow the last record of the batch")
            }
        }
    }
}

impl std::error::Error for RecordsError {}

/// Iterator over the records of one batch; it ends after its first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    index: u32,
    count: u32,
    base_offset: i64,
    base_timestamp: i64,
    append_timestamp: Option<Timestamp>,
}

/// What a record says relative to its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelativeRecord<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> Records<'a> {
    /// The records in `body`, which is not compressed.
    pub(crate) fn new(header: &BatchHeader, body: &'a [u8]) -> Self {
        let append_timestamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Self {
            cursor: Cursor { rest: body },
            index: 0,
            count: header.record_count as u32,
            base_offset: header.base_offset.0,
            base_timestamp: header.base_timestamp.0,
            append_timestamp,
        }
    }

    pub(crate) fn next_raw(&mut self) -> Option<Result<RelativeRecord<'a>, RecordsError>> {
        if self.index == self.count {
            let trailing_bytes = std::mem::take(&mut self.cursor.rest).len();
            return (trailing_bytes > 0).then_some(Err(RecordsError::Trailing { trailing_bytes }));
        }
        match self.cursor.record() {
            Ok(raw) => {
                self.index += 1;
                Some(Ok(raw))
            }
            Err(what) => {
                let index = self.index;
                self.cursor.rest = &[];
                self.index = self.count;
                Some(Err(RecordsError::Record { index, what }))
            }
        }
    }

    /// The timestamp of a record; wrong deltas wrap around instead of stopping us.
    pub(crate) fn timestamp(&self, raw: &RelativeRecord<'_>) -> Timestamp {
        self.append_timestamp
            .unwrap_or(Timestamp(self.base_timestamp.wrapping_add(raw.timestamp_delta)))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.next_raw()? {
            Ok(raw) => raw,
            Err(e) => return Some(Err(e)),
        };
        Some(Ok(RecordView {
            offset: Offset(self.base_offset.wrapping_add(i64::from(raw.offset_delta))),
            timestamp: self.timestamp(&raw),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        }))
    }
}

/// Bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn record(&mut self) -> Result<RelativeRecord<'a>, &'static str> {
        let len = self.varint().ok_or("its length is cut off or too long")?;
        let len = usize::try_from(len).map_err(|_| "its length is negative")?;
        let bytes = self.take(len).ok_or("it is longer than the batch")?;
        let mut inner = Cursor { rest: bytes };
        inner.take(1).ok_or("it has no attributes")?;
        let timestamp_delta = inner.varlong().ok_or("its timestamp is cut off or too long")?;
        let offset_delta = inner.varint().ok_or("its offset is cut off or too long")?;
        let key = inner.nullable().ok_or("its key does not fit into it")?;
        let value = inner.nullable().ok_or("its value does not fit into it")?;
        let count = inner.varint().ok_or("its header count is cut off or too long")?;
        let count = u32::try_from(count).map_err(|_| "its header count is negative")?;
        let headers = Headers { rest: inner.rest, count };
        for _ in 0..count {
            inner.header().ok_or("a header does not fit into it")?;
        }
        if !inner.rest.is_empty() {
            return Err("bytes follow its last header");
        }
        Ok(RelativeRecord { timestamp_delta, offset_delta, key, value, headers })
    }

    fn header(&mut self) -> Option<HeaderView<'a>> {
        let key = self.nullable()??;
        let value = self.nullable()?;
        Some(HeaderView { key, value })
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        let (value, n) = varint::read_i32(self.rest)?;
        self.rest = &self.rest[n..];
        Some(value)
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        let (value, n) = varint::read_i64(self.rest)?;
        self.rest = &self.rest[n..];
        Some(value)
    }

    /// Bytes with their length before them; any negative length is null, as in Kafka.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Some(None),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}
