//! Batches made of what is left of others. Base offset, last offset, producer, epoch and codec
//! stay; so do the records' bytes, unless their times become relative to a delete horizon.

use klamm_model::Timestamp;
use klamm_records::{
    BatchHeader, Codec, Compression, CompressionError, RawRecords, RecordsError, crc32c, layout,
};

/// What survived of a batch.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    /// Where their bytes are in the body: ranges that do not touch each other.
    pub(super) ranges: Vec<std::ops::Range<usize>>,
    pub(super) count: i32,
    pub(super) max_timestamp: Timestamp,
}

/// Buffers that are used again and again.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    plain: Vec<u8>,
}

/// Appends a batch without records: it says that its offsets and sequence numbers were there
/// (Kafka: `DefaultRecordBatch.writeEmptyHeader`).
pub(super) fn write_empty(header: &BatchHeader, out: &mut Vec<u8>) {
    let attributes = header.attributes.with_codec(Codec::None).without_delete_horizon();
    let empty =
        BatchHeader { attributes, base_timestamp: Timestamp(-1), record_count: 0, ..*header };
    let start = begin(out);
    finish(empty, start, out).expect("a header is small");
}

impl Rewriter {
    /// Appends the batch of the survivors in `body`, which is not compressed. With
    /// `new_horizon` the base timestamp becomes that.
    pub(super) fn write(
        &mut self,
        (header, body): (&BatchHeader, &[u8]),
        survivors: &Survivors,
        new_horizon: Option<Timestamp>,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let mut header = *header;
        let codec = header.attributes.codec().map_err(RecordsError::Codec)?;
        let start = begin(out);
        if codec == Codec::None {
            copy_survivors(&header, body, (survivors, new_horizon), out)?;
        } else {
            self.plain.clear();
            copy_survivors(&header, body, (survivors, new_horizon), &mut self.plain)?;
            Compression::from(codec).compress(&self.plain, out)?;
        }
        header.record_count = survivors.count;
        header.max_timestamp = survivors.max_timestamp;
        if let Some(horizon) = new_horizon {
            header.base_timestamp = horizon;
            header.attributes = header.attributes.with_delete_horizon();
        }
        finish(header, start, out)
    }
}

fn copy_survivors(
    header: &BatchHeader,
    body: &[u8],
    (survivors, new_horizon): (&Survivors, Option<Timestamp>),
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let Some(horizon) = new_horizon else {
        for range in &survivors.ranges {
            out.extend_from_slice(&body[range.clone()]);
        }
        return Ok(());
    };
    let shift = header.base_timestamp.0.wrapping_sub(horizon.0);
    for range in &survivors.ranges {
        let mut rest = &body[range.clone()];
        while !rest.is_empty() {
            let record = RawRecords::new(rest, 1).next().expect("one was asked for")?;
            rest = &rest[record.bytes.len()..];
            record.write_with_timestamp_delta(record.timestamp_delta.wrapping_add(shift), out);
        }
    }
    Ok(())
}

/// Room for a header; gives where it begins.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + layout::HEADER_LEN, 0);
    start
}

fn finish(mut header: BatchHeader, start: usize, out: &mut [u8]) -> Result<(), RewriteError> {
    let len = out.len() - start - layout::LOG_OVERHEAD;
    header.batch_length = i32::try_from(len).map_err(|_| RewriteError::TooLarge(len))?;
    header.crc = 0;
    out[start..start + layout::HEADER_LEN].copy_from_slice(&header.to_bytes());
    let crc = crc32c(&out[start + layout::ATTRIBUTES..]);
    out[start + layout::CRC..start + layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Why a batch cannot be written again.
#[derive(Debug)]
pub(super) enum RewriteError {
    Records(RecordsError),
    Compression(CompressionError),
    TooLarge(usize),
}

impl std::fmt::Display for RewriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Records(error) => error.fmt(f),
            Self::Compression(error) => error.fmt(f),
            Self::TooLarge(len) => write!(f, "what is left of the batch has {len} bytes"),
        }
    }
}

impl From<RecordsError> for RewriteError {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl From<CompressionError> for RewriteError {
    fn from(error: CompressionError) -> Self {
        Self::Compression(error)
    }
}
