//! Batches to records. Leaves out what the consumer has seen, control records, and under
//! read_committed the records of aborted transactions. A batch that is cut off at the end is left
//! for the next fetch.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use klamm_model::{IsolationLevel, Offset, TopicPartition};
use klamm_protocol::fetch_response::AbortedTransaction;
use klamm_records::{
    BatchError, BatchView, Codec, ControlRecordType, RecordView, Scratch, batches,
};

use super::ConsumerRecord;
use crate::error::{ClientError, Result};

pub(super) struct Decoder<'a> {
    pub(super) partition: &'a TopicPartition,
    /// Records before this were asked for by nobody: batches are whole.
    pub(super) from: Offset,
    pub(super) isolation: IsolationLevel,
    pub(super) aborted: Vec<AbortedTransaction>,
    pub(super) out: &'a mut VecDeque<ConsumerRecord>,
}

impl Decoder<'_> {
    /// Appends the records; gives the offset after the last one that was looked at.
    pub(super) fn decode(&mut self, bytes: &Bytes, scratch: &mut Scratch) -> Result<Offset> {
        self.aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        let mut open_aborted = BTreeSet::new();
        let mut aborted = std::mem::take(&mut self.aborted).into_iter().peekable();
        let mut next = self.from;
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(BatchError::Short { .. }) => break,
                Err(error) => return Err(self.damaged(next, &error)),
            };
            batch.check_crc().map_err(|error| self.damaged(next, &error))?;
            let last_offset = batch.base_offset.plus(i64::from(batch.last_offset_delta));
            while let Some(transaction) = aborted.next_if(|t| t.first_offset <= last_offset.0) {
                open_aborted.insert(transaction.producer_id);
            }
            let producer_id = batch.producer.map(|producer| producer.id.0);
            let is_of_aborted = producer_id.is_some_and(|id| open_aborted.contains(&id));
            if batch.attributes.is_control() {
                if is_of_aborted && self.is_abort(&batch, scratch)? {
                    open_aborted.retain(|id| Some(*id) != producer_id);
                }
            } else if !(self.isolation == IsolationLevel::ReadCommitted
                && batch.attributes.is_transactional()
                && is_of_aborted)
            {
                self.take(bytes, &batch, scratch)?;
            }
            next = next.max(last_offset.plus(1));
        }
        Ok(next)
    }

    fn damaged(&self, at: Offset, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Damaged(format!("{} at offset {at}: {error}", self.partition))
    }

    fn is_abort(&self, batch: &BatchView<'_>, scratch: &mut Scratch) -> Result<bool> {
        let damaged = |error: &dyn std::fmt::Display| self.damaged(batch.base_offset, error);
        let mut records = batch.records(scratch).map_err(|error| damaged(&error))?;
        let Some(record) = records.next() else { return Ok(false) };
        let record = record.map_err(|error| damaged(&error))?;
        let kind = ControlRecordType::of(&record).map_err(|error| damaged(&error))?;
        Ok(kind == Some(ControlRecordType::Abort))
    }

    /// The records of a batch. Those of a plain batch are slices of the answer; those of a
    /// compressed one share one copy.
    fn take(&mut self, bytes: &Bytes, batch: &BatchView<'_>, scratch: &mut Scratch) -> Result<()> {
        let is_plain = batch.attributes.codec() == Ok(Codec::None);
        let records = batch.records(scratch);
        let records = records.map_err(|error| self.damaged(batch.base_offset, &error))?;
        if is_plain {
            for record in records {
                let record = record.map_err(|error| self.damaged(batch.base_offset, &error))?;
                if record.offset >= self.from {
                    self.push(&record, &mut |part| bytes.slice_ref(part));
                }
            }
            return Ok(());
        }
        let mut views = Vec::new();
        for record in records {
            let record = record.map_err(|error| self.damaged(batch.base_offset, &error))?;
            if record.offset >= self.from {
                views.push(record);
            }
        }
        let len = views.iter().map(len_bytes).sum();
        let mut copy = BytesMut::with_capacity(len);
        for record in &views {
            self.push(record, &mut |part| {
                copy.extend_from_slice(part);
                copy.split().freeze()
            });
        }
        Ok(())
    }

    fn push(&mut self, record: &RecordView<'_>, own: &mut dyn FnMut(&[u8]) -> Bytes) {
        let key = record.key.map(&mut *own);
        let value = record.value.map(&mut *own);
        let headers =
            record.headers().map(|header| (own(header.key), header.value.map(&mut *own))).collect();
        self.out.push_back(ConsumerRecord {
            topic: self.partition.topic.clone(),
            partition: self.partition.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key,
            value,
            headers,
        });
    }
}

fn len_bytes(record: &RecordView<'_>) -> usize {
    let of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers: usize = record.headers().map(|h| h.key.len() + of(h.value)).sum();
    of(record.key) + of(record.value) + headers
}

#[cfg(test)]
mod tests {
    use klamm_model::{ProducerEpoch, ProducerId, Timestamp};
    use klamm_records::{BatchBuilder, BatchOptions, HeaderToAppend, Producer, RecordToAppend};

    use super::*;

    struct Batch {
        base_offset: i64,
        codec: Codec,
        producer_id: Option<i64>,
        values: Vec<&'static str>,
    }

    fn batch(batch: &Batch) -> Vec<u8> {
        let producer = batch.producer_id.map(|id| Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: batch.codec.into(),
            producer,
            is_transactional: producer.is_some(),
            base_offset: Offset(batch.base_offset),
            ..BatchOptions::default()
        });
        for value in &batch.values {
            builder.push(RecordToAppend {
                timestamp: Timestamp(7),
                key: Some(b"k"),
                value: Some(value.as_bytes()),
                headers: &[HeaderToAppend { key: "h", value: None }],
            });
        }
        builder.build().unwrap()
    }

    fn abort(base_offset: i64, producer_id: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(Producer {
                id: ProducerId(producer_id),
                epoch: ProducerEpoch(0),
                base_sequence: -1,
            }),
            is_transactional: true,
            base_offset: Offset(base_offset),
            ..BatchOptions::default()
        });
        builder.push_control(ControlRecordType::Abort, Timestamp(0), &[0, 0, 0, 0, 0, 0]);
        builder.build().unwrap()
    }

    fn decode(bytes: Vec<u8>, from: i64, aborted: &[(i64, i64)]) -> Result<(Vec<String>, i64)> {
        let mut out = VecDeque::new();
        let aborted = aborted
            .iter()
            .map(|(producer_id, first_offset)| AbortedTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
            })
            .collect();
        let mut decoder = Decoder {
            partition: &TopicPartition::new("t", 0),
            from: Offset(from),
            isolation: IsolationLevel::ReadCommitted,
            aborted,
            out: &mut out,
        };
        let next = decoder.decode(&bytes.into(), &mut Scratch::default())?;
        let text = |record: ConsumerRecord| {
            assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
            assert_eq!(record.headers, [(Bytes::from_static(b"h"), None)]);
            format!("{}{}", record.offset, str::from_utf8(&record.value.unwrap()).unwrap())
        };
        Ok((out.into_iter().map(text).collect(), next.0))
    }

    fn plain(base_offset: i64, values: &[&'static str]) -> Vec<u8> {
        let (codec, values) = (Codec::None, values.to_vec());
        batch(&Batch { base_offset, codec, producer_id: None, values })
    }

    fn of_transaction(base_offset: i64, producer_id: i64, value: &'static str) -> Vec<u8> {
        let (codec, values) = (Codec::None, vec![value]);
        batch(&Batch { base_offset, codec, producer_id: Some(producer_id), values })
    }

    #[test]
    fn records_of_every_codec_come_out_from_the_offset_that_was_asked_for() {
        for codec in Codec::ALL {
            let bytes =
                batch(&Batch { base_offset: 5, codec, producer_id: None, values: vec!["a", "b"] });
            assert_eq!(decode(bytes, 6, &[]).unwrap(), (vec!["6b".to_owned()], 7), "{codec}");
        }
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let mut bytes = plain(0, &["a"]);
        let second = plain(1, &["b"]);
        for len in 0..second.len() {
            let mut cut = bytes.clone();
            cut.extend_from_slice(&second[..len]);
            assert_eq!(decode(cut, 0, &[]).unwrap(), (vec!["0a".to_owned()], 1), "{len}");
        }
        bytes.extend(second);
        assert_eq!(decode(bytes, 0, &[]).unwrap().1, 2);
    }

    #[test]
    fn a_damaged_batch_is_an_error_and_not_skipped() {
        let mut bytes = plain(0, &["a"]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(decode(bytes, 0, &[]), Err(ClientError::Damaged(_))));
    }

    #[test]
    fn records_of_an_aborted_transaction_are_left_out_up_to_its_marker() {
        let mut bytes = of_transaction(0, 9, "a");
        bytes.extend(of_transaction(1, 8, "b"));
        bytes.extend(abort(2, 9));
        bytes.extend(of_transaction(3, 9, "c"));
        let expected = (vec!["1b".to_owned(), "3c".to_owned()], 4);
        assert_eq!(decode(bytes, 0, &[(9, 0)]).unwrap(), expected);
    }
}
