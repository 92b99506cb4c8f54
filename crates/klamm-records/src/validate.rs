//! What a leader checks before it appends a client's batch, and what it changes in it.
//! Kafka: `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`.
//!
//! The caller's bytes are never copied: a [`ValidBatch`] is a header of its own and the body where
//! it lies. Only a topic that wants another codec than the producer used gets a new body.

use std::borrow::Cow;

use klamm_model::{LeaderEpoch, Offset, Timestamp};

use crate::attributes::TimestampType;
use crate::batch::BatchView;
use crate::batch_error::BatchError;
use crate::builder::{batch_length, crc_of};
use crate::codec::Codec;
use crate::compression::Compression;
use crate::header::BatchHeader;
use crate::layout;
use crate::record::{Records, RecordsError, RelativeRecord};
use crate::record_error::{
    InvalidRecord, REJECTED_RECORDS_MAX, RecordError, RejectedRecord, RejectionReason,
};
use crate::scratch::Scratch;

/// The codec that a topic's batches have on disk: `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicCompression {
    /// The producer's.
    #[default]
    Producer,
    /// This one, whatever the producer used.
    Fixed(Compression),
}

/// What a topic asks of its batches.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `compression.type` with its level.
    pub compression: TopicCompression,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub is_compacted: bool,
}

impl Default for Rules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            max_message_bytes: 1_048_588,
            compression: TopicCompression::Producer,
            is_compacted: false,
        }
    }
}

/// A batch that a leader may append. What is left to say is where: its base offset and epoch.
#[derive(Debug, Clone)]
pub struct ValidBatch<'a> {
    header: BatchHeader,
    header_bytes: [u8; layout::HEADER_LEN],
    body: Cow<'a, [u8]>,
}

impl<'a> ValidBatch<'a> {
    /// A batch that this broker has made itself: only its shape is looked at.
    ///
    /// # Errors
    /// The bytes are not exactly one batch.
    pub fn own(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let view = BatchView::parse(bytes)?;
        if view.bytes().len() < bytes.len() {
            let field = "bytes after it";
            let value = (bytes.len() - view.bytes().len()) as i64;
            return Err(BatchError::Field { field, value });
        }
        Ok(Self::of(&view))
    }

    fn of(view: &BatchView<'a>) -> Self {
        let header_bytes = *view.bytes().first_chunk().expect("a view has a whole header");
        Self { header: *view.header(), header_bytes, body: Cow::Borrowed(view.body()) }
    }

    /// The header, as it will be but for base offset and leader epoch.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of the batch.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.header.size_in_bytes()
    }

    /// Says where the batch will be. Both numbers are outside the checksum.
    pub fn place(&mut self, base_offset: Offset, partition_leader_epoch: LeaderEpoch) {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = partition_leader_epoch;
        self.header_bytes[layout::BASE_OFFSET..layout::BATCH_LENGTH]
            .copy_from_slice(&base_offset.0.to_be_bytes());
        self.header_bytes[layout::PARTITION_LEADER_EPOCH..layout::MAGIC]
            .copy_from_slice(&partition_leader_epoch.0.to_be_bytes());
    }

    /// The batch's bytes in two parts: the header and the rest.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.header_bytes, &self.body]
    }

    /// The records of a control batch; those are never compressed.
    #[must_use]
    pub fn control_records(&self) -> Option<Records<'_>> {
        self.header.attributes.is_control().then(|| Records::new(&self.header, &self.body))
    }

    /// Puts changed fields into the bytes and makes the checksum anew.
    fn reseal(&mut self) {
        let mut put = |at: usize, bytes: &[u8]| {
            self.header_bytes[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(layout::BATCH_LENGTH, &self.header.batch_length.to_be_bytes());
        put(layout::ATTRIBUTES, &self.header.attributes.0.to_be_bytes());
        put(layout::MAX_TIMESTAMP, &self.header.max_timestamp.0.to_be_bytes());
        self.header.crc = crc_of(&self.header_bytes, &self.body);
        self.header_bytes[layout::CRC..layout::ATTRIBUTES]
            .copy_from_slice(&self.header.crc.to_be_bytes());
    }
}

/// Checks the records that a client sent for one partition.
///
/// # Errors
/// The rule that they break; see [`RecordError::error_code`].
pub fn validate<'a>(
    bytes: &'a [u8],
    rules: &Rules,
    now: Timestamp,
    scratch: &mut Scratch,
) -> Result<ValidBatch<'a>, RecordError> {
    let view = one_batch(bytes)?;
    check_size(view.size_in_bytes(), rules)?;
    view.check_crc()?;
    check_header(view.header())?;
    let codec = view.attributes.codec().map_err(RecordsError::Codec)?;
    let plain = scratch.decompress(codec, view.body()).map_err(RecordsError::Decompress)?;
    let max_timestamp = check_records(Records::new(view.header(), plain), rules, now)?;

    let mut valid = ValidBatch::of(&view);
    let is_recompressed = recompress(&mut valid, plain, rules)?;
    let attributes = valid.header.attributes.with_timestamp_type(rules.timestamp_type);
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now,
    };
    let header = &mut valid.header;
    if is_recompressed || header.attributes != attributes || header.max_timestamp != max_timestamp {
        header.attributes = attributes;
        header.max_timestamp = max_timestamp;
        valid.reseal();
    }
    Ok(valid)
}

fn one_batch(bytes: &[u8]) -> Result<BatchView<'_>, RecordError> {
    let view = BatchView::parse(bytes).map_err(|e| match e {
        BatchError::Short { available, .. } => RecordError::NoBatch { available },
        e => RecordError::Batch(e),
    })?;
    if view.bytes().len() < bytes.len() {
        let batch_bytes = view.bytes().len();
        return Err(InvalidRecord::ManyBatches { batch_bytes, available: bytes.len() }.into());
    }
    Ok(view)
}

fn check_size(batch_bytes: usize, rules: &Rules) -> Result<(), RecordError> {
    let max_message_bytes = rules.max_message_bytes;
    if batch_bytes > max_message_bytes {
        return Err(RecordError::TooLarge { batch_bytes, max_message_bytes });
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), InvalidRecord> {
    let BatchHeader { record_count, last_offset_delta, attributes, producer, .. } = *header;
    if header.base_offset != Offset::ZERO {
        return Err(InvalidRecord::BaseOffset(header.base_offset.0));
    }
    if record_count == 0 {
        return Err(InvalidRecord::Empty);
    }
    if record_count - 1 != last_offset_delta {
        return Err(InvalidRecord::Count { record_count, last_offset_delta });
    }
    if attributes.is_control() {
        return Err(InvalidRecord::Control);
    }
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(InvalidRecord::LogAppendTime);
    }
    match producer {
        Some(p) if p.base_sequence < 0 || p.epoch.0 < 0 => {
            Err(InvalidRecord::Sequence { producer_id: p.id.0, base_sequence: p.base_sequence })
        }
        None if attributes.is_transactional() => Err(InvalidRecord::TransactionalWithoutProducer),
        _ => Ok(()),
    }
}

/// Walks the records; gives the largest timestamp.
fn check_records(
    mut records: Records<'_>,
    rules: &Rules,
    now: Timestamp,
) -> Result<Timestamp, RecordError> {
    let earliest = now.0.saturating_sub(rules.timestamp_before_max_ms);
    let latest = now.0.saturating_add(rules.timestamp_after_max_ms);
    let is_create_time = rules.timestamp_type == TimestampType::CreateTime;
    let mut max_timestamp = Timestamp(NO_TIMESTAMP);
    let mut rejected = Vec::new();
    let mut rejected_count = 0;
    let mut index = 0;
    while let Some(raw) = records.next_raw() {
        let raw: RelativeRecord<'_> = raw?;
        if raw.offset_delta != index {
            let offset_delta = raw.offset_delta;
            return Err(InvalidRecord::OffsetDelta { index, offset_delta }.into());
        }
        let timestamp = records.timestamp(&raw);
        max_timestamp = max_timestamp.max(timestamp);
        let is_in_time = !is_create_time
            || timestamp.0 == NO_TIMESTAMP
            || (earliest..=latest).contains(&timestamp.0);
        let reason = if rules.is_compacted && raw.key.is_none() {
            Some(RejectionReason::NoKey)
        } else if is_in_time {
            None
        } else {
            Some(RejectionReason::Timestamp { timestamp: timestamp.0, earliest, latest })
        };
        if let Some(reason) = reason {
            rejected_count += 1;
            if rejected.len() < REJECTED_RECORDS_MAX {
                rejected.push(RejectedRecord { batch_index: index, reason });
            }
        }
        index += 1;
    }
    if rejected_count > 0 {
        return Err(RecordError::Rejected { records: rejected, rejected_count });
    }
    Ok(max_timestamp)
}

/// A record without a timestamp, on the wire and on disk.
const NO_TIMESTAMP: i64 = -1;

/// Gives the batch a new body if the topic wants another codec; whether it did.
fn recompress(
    valid: &mut ValidBatch<'_>,
    plain: &[u8],
    rules: &Rules,
) -> Result<bool, RecordError> {
    let TopicCompression::Fixed(compression) = rules.compression else { return Ok(false) };
    let header = &mut valid.header;
    if header.attributes.codec() == Ok(compression.codec()) {
        return Ok(false);
    }
    let mut body = Vec::new();
    match compression.codec() {
        Codec::None => body.extend_from_slice(plain),
        _ => compression.compress(plain, &mut body).map_err(RecordError::Compression)?,
    }
    check_size(layout::HEADER_LEN + body.len(), rules)?;
    header.attributes = header.attributes.with_codec(compression.codec());
    header.batch_length = batch_length(body.len());
    valid.body = Cow::Owned(body);
    Ok(true)
}
