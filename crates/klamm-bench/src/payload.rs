//! What is sent: one batch, encoded once, inside one produce request for a partition.

use bytes::Bytes;
use klamm_codec::RecordsField;
use klamm_model::{ProducerEpoch, ProducerId, Timestamp};
use klamm_protocol::ProduceRequest;
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_records::{BatchBuilder, BatchOptions, Producer, RecordToAppend};
use klamm_stdx::Str;

use crate::LoadError;
use crate::wire::Frame;

/// The version of produce that is sent: the last one that names topics by name.
pub const PRODUCE_VERSION: i16 = 12;

/// How long a broker may take, in milliseconds.
pub const TIMEOUT_MS: i32 = 30_000;

/// Time of the records, a day in 2026.
const RECORD_TIMESTAMP: Timestamp = Timestamp(1_790_000_000_000);

/// The shape of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Bytes that the batch does not exceed, unless one record does.
    pub batch_bytes_max: usize,
}

/// A batch and how many records it holds.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The batch.
    pub batch: Bytes,
    /// Its records.
    pub record_count: i64,
}

impl Payload {
    /// A batch of as many records as fit, at least one. The values do not compress well and
    /// differ from each other.
    ///
    /// # Errors
    /// The batch cannot be made.
    pub fn new(shape: Shape) -> Result<Self, LoadError> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let mut value = vec![0; shape.value_bytes];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        loop {
            fill(&mut value, &mut state);
            let record = RecordToAppend {
                timestamp: RECORD_TIMESTAMP,
                value: Some(&value),
                ..RecordToAppend::default()
            };
            let before = builder.len_bytes();
            builder.push(record);
            let record_bytes = builder.len_bytes() - before;
            if builder.len_bytes() + record_bytes > shape.batch_bytes_max {
                break;
            }
        }
        let record_count = builder.record_count() as i64;
        let batch = builder
            .build()
            .map_err(|error| LoadError::unexpected(format!("a batch cannot be made: {error}")))?;
        Ok(Self { batch: Bytes::from(batch), record_count })
    }

    /// The request that appends this to a partition with acks=1.
    ///
    /// # Errors
    /// The request cannot be written.
    pub fn produce_frame(&self, topic: &str, partition: i32) -> Result<Frame, LoadError> {
        let data = PartitionProduceData {
            index: partition,
            records: RecordsField::Bytes(self.batch.clone()),
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: 1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: Str::from(topic),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
        };
        Frame::encode(&request, PRODUCE_VERSION)
    }
}

/// Batches of one record in a producer's transactions, each in an epoch of its own.
#[derive(Debug, Clone)]
pub struct TransactionalPayload {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whose transactions.
    pub transactional_id: String,
    /// Bytes of each value.
    pub value_bytes: usize,
}

impl TransactionalPayload {
    /// The request that appends a record with acks=all, as the first of its epoch.
    ///
    /// # Errors
    /// The batch cannot be made, or the request cannot be written.
    pub fn produce_frame(&self, producer_id: i64, epoch: i16) -> Result<Frame, LoadError> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(Producer {
                id: ProducerId(producer_id),
                epoch: ProducerEpoch(epoch),
                base_sequence: 0,
            }),
            is_transactional: true,
            ..BatchOptions::default()
        });
        let mut value = vec![0; self.value_bytes];
        fill(&mut value, &mut (0x9e37_79b9_7f4a_7c15 ^ u64::from(epoch.unsigned_abs())));
        builder.push(RecordToAppend {
            timestamp: RECORD_TIMESTAMP,
            value: Some(&value),
            ..RecordToAppend::default()
        });
        let batch = builder
            .build()
            .map_err(|error| LoadError::unexpected(format!("a batch cannot be made: {error}")))?;
        let data = PartitionProduceData {
            index: self.partition,
            records: RecordsField::Bytes(Bytes::from(batch)),
        };
        let request = ProduceRequest {
            transactional_id: Some(Str::from(self.transactional_id.as_str())),
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: Str::from(self.topic.as_str()),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
        };
        Frame::encode(&request, PRODUCE_VERSION)
    }
}

/// Xorshift: only the compressors must not like it.
fn fill(value: &mut [u8], state: &mut u64) {
    for chunk in value.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_records::BatchView;

    fn check(shape: Shape, expected: i64) {
        let payload = Payload::new(shape).unwrap();
        let view = BatchView::parse(&payload.batch).unwrap();
        view.check_crc().unwrap();
        assert_eq!(payload.record_count, expected);
        assert_eq!(i64::from(view.header().record_count), expected);
        assert!(expected == 1 || payload.batch.len() <= shape.batch_bytes_max);
    }

    #[test]
    fn a_batch_holds_as_many_records_as_fit_and_at_least_one() {
        check(Shape { value_bytes: 100, batch_bytes_max: 0 }, 1);
        check(Shape { value_bytes: 1024, batch_bytes_max: 16 * 1024 }, 15);
        check(Shape { value_bytes: 100, batch_bytes_max: 1 << 20 }, 9_520);
    }
}
