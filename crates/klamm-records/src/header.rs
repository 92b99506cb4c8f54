//! The 61 bytes before a batch's records, parsed and written. Knows nothing of what follows.

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::attributes::Attributes;
use crate::batch_error::BatchError;
use crate::layout;

/// Who wrote a batch, and which of its writes it is (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id.
    pub id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 in control batches, which have none.
    pub base_sequence: i32,
}

/// A batch's header, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; compaction may have removed that record.
    pub base_offset: Offset,
    /// The batch's length field: its bytes from the leader epoch on.
    pub batch_length: i32,
    /// Epoch of the leader that appended it, -1 in a batch that is not appended yet.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC32C of all bytes from the attributes on.
    pub crc: u32,
    /// How the batch is to be read.
    pub attributes: Attributes,
    /// The last record's offset less the base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp; -1 if no record has one.
    pub max_timestamp: Timestamp,
    /// Who wrote it; `None` without idempotence.
    pub producer: Option<Producer>,
    /// How many records there are; 0 if compaction removed them all.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the rest of the batch need not be there.
    ///
    /// # Errors
    /// Fewer than 61 bytes, an impossible length, another magic, a negative offset or count.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<{ layout::HEADER_LEN }>() else {
            return Err(Self::parse_short(bytes));
        };
        let batch_length = i32_at(header, layout::BATCH_LENGTH);
        let magic = header[layout::MAGIC] as i8;
        if magic != layout::MAGIC_V2 {
            return Err(BatchError::Magic { magic });
        }
        if batch_length < (layout::HEADER_LEN - layout::LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length { batch_length });
        }
        let parsed = Self {
            base_offset: Offset(i64_at(header, layout::BASE_OFFSET)),
            batch_length,
            partition_leader_epoch: LeaderEpoch(i32_at(header, layout::PARTITION_LEADER_EPOCH)),
            crc: i32_at(header, layout::CRC) as u32,
            attributes: Attributes(i16_at(header, layout::ATTRIBUTES)),
            last_offset_delta: i32_at(header, layout::LAST_OFFSET_DELTA),
            base_timestamp: Timestamp(i64_at(header, layout::BASE_TIMESTAMP)),
            max_timestamp: Timestamp(i64_at(header, layout::MAX_TIMESTAMP)),
            producer: producer(header),
            record_count: i32_at(header, layout::RECORD_COUNT),
        };
        parsed.check_signs()?;
        Ok(parsed)
    }

    /// What is wrong with fewer bytes than a header has: a length or magic that can be seen to
    /// be wrong comes first, so that garbage is not taken for a torn batch.
    fn parse_short(bytes: &[u8]) -> BatchError {
        if let Some(magic) = bytes.get(layout::MAGIC)
            && *magic as i8 != layout::MAGIC_V2
        {
            return BatchError::Magic { magic: *magic as i8 };
        }
        BatchError::Short { needed: layout::HEADER_LEN as u64, available: bytes.len() }
    }

    fn check_signs(&self) -> Result<(), BatchError> {
        let refuse = |field, value| Err(BatchError::Field { field, value });
        if self.base_offset.0 < 0 || self.base_offset.0.checked_add(1 << 32).is_none() {
            return refuse("base offset", self.base_offset.0);
        }
        if self.last_offset_delta < 0 {
            return refuse("last offset delta", i64::from(self.last_offset_delta));
        }
        if self.record_count < 0 {
            return refuse("record count", i64::from(self.record_count));
        }
        Ok(())
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; layout::HEADER_LEN] {
        let mut out = [0; layout::HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(layout::BASE_OFFSET, &self.base_offset.0.to_be_bytes());
        put(layout::BATCH_LENGTH, &self.batch_length.to_be_bytes());
        put(layout::PARTITION_LEADER_EPOCH, &self.partition_leader_epoch.0.to_be_bytes());
        put(layout::MAGIC, &layout::MAGIC_V2.to_be_bytes());
        put(layout::CRC, &self.crc.to_be_bytes());
        put(layout::ATTRIBUTES, &self.attributes.0.to_be_bytes());
        put(layout::LAST_OFFSET_DELTA, &self.last_offset_delta.to_be_bytes());
        put(layout::BASE_TIMESTAMP, &self.base_timestamp.0.to_be_bytes());
        put(layout::MAX_TIMESTAMP, &self.max_timestamp.0.to_be_bytes());
        let (id, epoch, base_sequence) = match self.producer {
            Some(p) => (p.id.0, p.epoch.0, p.base_sequence),
            None => (-1, -1, -1),
        };
        put(layout::PRODUCER_ID, &id.to_be_bytes());
        put(layout::PRODUCER_EPOCH, &epoch.to_be_bytes());
        put(layout::BASE_SEQUENCE, &base_sequence.to_be_bytes());
        put(layout::RECORD_COUNT, &self.record_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        layout::LOG_OVERHEAD + self.batch_length as usize
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// Offset of the record after this batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Sequence number of the last record; they start again at 0 after the largest i32.
    /// `None` without a producer, or in a control batch.
    #[must_use]
    pub fn last_sequence(&self) -> Option<i32> {
        let producer = self.producer.filter(|p| p.base_sequence >= 0)?;
        Some(increment_sequence(producer.base_sequence, self.last_offset_delta))
    }

    /// When the tombstones of this batch may go away; `None` if that is not known yet.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// A sequence number `by` later. Kafka: `DefaultRecordBatch.incrementSequence`.
fn increment_sequence(sequence: i32, by: i32) -> i32 {
    if sequence > i32::MAX - by { by - (i32::MAX - sequence) - 1 } else { sequence + by }
}

fn producer(header: &[u8; layout::HEADER_LEN]) -> Option<Producer> {
    let id = i64_at(header, layout::PRODUCER_ID);
    (id >= 0).then(|| Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(i16_at(header, layout::PRODUCER_EPOCH)),
        base_sequence: i32_at(header, layout::BASE_SEQUENCE),
    })
}

fn i16_at(header: &[u8; layout::HEADER_LEN], at: usize) -> i16 {
    i16::from_be_bytes([header[at], header[at + 1]])
}

fn i32_at(header: &[u8; layout::HEADER_LEN], at: usize) -> i32 {
    i32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes of the header"))
}

fn i64_at(header: &[u8; layout::HEADER_LEN], at: usize) -> i64 {
    i64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes of the header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_start_again_at_zero() {
        assert_eq!(increment_sequence(5, 3), 8);
        assert_eq!(increment_sequence(i32::MAX, 0), i32::MAX);
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn garbage_shorter_than_a_header_is_not_taken_for_a_torn_batch() {
        let zeros = BatchHeader::parse(&[0; 40]);
        assert_eq!(zeros, Err(BatchError::Magic { magic: 0 }));
        let torn = BatchHeader::parse(&[0; 5]);
        assert_eq!(torn, Err(BatchError::Short { needed: 61, available: 5 }));
    }
}
