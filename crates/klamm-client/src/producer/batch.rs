//! One batch of one partition on its way, and what the senders of its records wait for.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use klamm_env::Moment;
use klamm_model::{PartitionIndex, Timestamp, TopicPartition};
use klamm_records::{BatchBuilder, HeaderToAppend, Producer, RecordToAppend, crc32c, layout};
use klamm_stdx::Str;
use tokio::sync::Notify;

use super::RecordMetadata;
use crate::error::{ClientError, Result};

/// Bytes that a record takes besides its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// A record, borrowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordParts<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [(Str, Option<Bytes>)],
}

impl RecordParts<'_> {
    /// Bytes that it takes at most.
    pub(super) fn len_bytes(&self) -> usize {
        let header = |(key, value): &(Str, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, Bytes::len) + 10
        };
        RECORD_OVERHEAD_BYTES
            + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + self.headers.iter().map(header).sum::<usize>()
    }

    /// Adds it to a batch. Records without headers allocate nothing.
    pub(super) fn push(&self, builder: &mut BatchBuilder) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| HeaderToAppend { key, value: value.as_deref() })
            .collect();
        builder.push(RecordToAppend {
            timestamp: self.timestamp,
            key: self.key,
            value: self.value,
            headers: &headers,
        });
    }
}

/// A batch was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// Offset of its first record; `None` if the broker did not tell.
    pub(super) base_offset: Option<i64>,
}

/// What becomes of a batch; shared by the deliveries of its records.
#[derive(Debug, Default)]
pub(super) struct Fate {
    result: RefCell<Option<Result<Acknowledged>>>,
    told: Notify,
}

impl Fate {
    pub(super) fn tell(&self, result: Result<Acknowledged>) {
        *self.result.borrow_mut() = Some(result);
        self.told.notify_waiters();
    }
}

/// What becomes of one record. Dropping it changes nothing.
#[derive(Debug)]
pub struct Delivery {
    pub(super) fate: Rc<Fate>,
    pub(super) partition: PartitionIndex,
    pub(super) index: i64,
}

impl Delivery {
    /// Waits until the record is acknowledged or has failed. Does not hurry it: see
    /// [`Producer::flush`](super::Producer::flush).
    ///
    /// # Errors
    /// It was refused, or not acknowledged in time.
    pub async fn wait(self) -> Result<RecordMetadata> {
        loop {
            let told = self.fate.told.notified();
            if let Some(result) = &*self.fate.result.borrow() {
                return self.metadata(result);
            }
            told.await;
        }
    }

    fn metadata(&self, result: &Result<Acknowledged>) -> Result<RecordMetadata> {
        let acknowledged = result.as_ref().map_err(ClientError::clone)?;
        let offset = acknowledged.base_offset.map(|base| (base + self.index).into());
        Ok(RecordMetadata { partition: self.partition, offset })
    }
}

/// A batch that is full, or in time to leave: built, compressed, and ready to be sent again.
#[derive(Debug)]
pub(super) struct ReadyBatch {
    pub(super) partition: TopicPartition,
    pub(super) bytes: Bytes,
    pub(super) record_count: i32,
    /// Bytes before compression, as counted against the buffer.
    pub(super) buffered_bytes: usize,
    pub(super) created: Moment,
    /// Its place among all batches.
    pub(super) number: u64,
    pub(super) attempts: u32,
    /// An attempt had no clear answer: the broker may have it.
    pub(super) may_be_stored: bool,
    /// Who sends it and its first sequence number, once it has one.
    pub(super) producer: Option<Producer>,
    /// What the last attempt said.
    pub(super) last_error: Option<ClientError>,
    pub(super) fate: Rc<Fate>,
}

impl ReadyBatch {
    /// Puts the producer into the header. The checksum covers it, so it is made again.
    pub(super) fn stamp(&mut self, producer: Producer) {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
        bytes[layout::PRODUCER_ID..layout::PRODUCER_EPOCH]
            .copy_from_slice(&producer.id.0.to_be_bytes());
        bytes[layout::PRODUCER_EPOCH..layout::BASE_SEQUENCE]
            .copy_from_slice(&producer.epoch.0.to_be_bytes());
        bytes[layout::BASE_SEQUENCE..layout::RECORD_COUNT]
            .copy_from_slice(&producer.base_sequence.to_be_bytes());
        let crc = crc32c(&bytes[layout::ATTRIBUTES..]);
        bytes[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        self.bytes = bytes.freeze();
        self.producer = Some(producer);
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::{ProducerEpoch, ProducerId};
    use klamm_records::{BatchOptions, BatchView};

    use super::*;

    #[test]
    fn a_stamped_batch_is_the_one_that_would_have_been_built_with_its_producer() {
        let producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(2), base_sequence: 40 };
        let build = |producer| {
            let mut builder = BatchBuilder::new(BatchOptions { producer, ..Default::default() });
            builder.push(RecordToAppend { value: Some(b"v"), ..Default::default() });
            Bytes::from(builder.build().unwrap())
        };
        let mut batch = ReadyBatch {
            partition: TopicPartition::new("t", 0),
            bytes: build(None),
            record_count: 1,
            buffered_bytes: 1,
            created: Moment(0),
            number: 0,
            attempts: 0,
            may_be_stored: false,
            producer: None,
            last_error: None,
            fate: Rc::default(),
        };
        batch.stamp(producer);
        assert_eq!(batch.bytes, build(Some(producer)));
        let view = BatchView::parse(&batch.bytes).unwrap();
        assert_eq!(view.check_crc(), Ok(()));
        assert_eq!(view.producer, Some(producer));
    }
}
