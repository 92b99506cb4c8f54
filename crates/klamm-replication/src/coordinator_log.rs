//! A partition as a coordinator's log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use klamm_coordinator::{
    Batch, KeyValue, Loaded, LoadedChunk, PartitionLog, TransactionEnd, TransactionalProducer,
};
use klamm_log::{AppendError, Appended, AtLeastOne, Limits, Origin, ReadError, TransactionError};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use klamm_records::{
    BatchBuilder, BatchOptions, BatchView, EndTxnMarker, Producer, RecordToAppend, RecordsError,
    Scratch, ValidBatch, batches,
};
use tokio::sync::Notify;

use crate::partition::{AppendRefused, Partition, TransactionMarker};

/// Bytes of a coordinator's log that are replayed at once.
const CHUNK_BYTES: u32 = 4 * 1024 * 1024;

/// What a coordinator writes for a producer has no sequence number.
const NO_SEQUENCE: i32 = -1;

/// A partition of an internal topic, under a coordinator's shard.
#[derive(Clone)]
pub struct CoordinatorPartition(pub Arc<Partition>);

impl fmt::Debug for CoordinatorPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.name())
    }
}

impl CoordinatorPartition {
    fn append_records(
        &self,
        options: BatchOptions,
        records: &[KeyValue],
        (origin, wall): (Origin, Timestamp),
    ) -> Result<Offset, ErrorCode> {
        let mut builder = BatchBuilder::new(options);
        for (key, value) in records {
            let record = RecordToAppend {
                timestamp: wall,
                key: Some(key),
                value: value.as_deref(),
                headers: &[],
            };
            builder.push(record);
        }
        let bytes = builder.build().map_err(|_| ErrorCode::UnknownServerError)?;
        let bytes_max = self.0.rules().max_message_bytes;
        if bytes.len() > bytes_max {
            return Err(ErrorCode::MessageTooLarge);
        }
        let batch = ValidBatch::own(&bytes).map_err(|_| ErrorCode::UnknownServerError)?;
        next_offset(self.0.append(batch, origin, wall))
    }
}

fn next_offset(appended: Result<Appended, AppendRefused>) -> Result<Offset, ErrorCode> {
    let error = match appended {
        Ok(appended) => return Ok(appended.last_offset.plus(1)),
        Err(error) => error,
    };
    Err(match error {
        AppendRefused::NotLeader => ErrorCode::NotLeaderOrFollower,
        AppendRefused::Log(AppendError::TooLarge { .. }) => ErrorCode::RecordListTooLarge,
        AppendRefused::Log(AppendError::Sequence(_)) => ErrorCode::InvalidProducerEpoch,
        AppendRefused::Log(AppendError::Transaction(TransactionError::CoordinatorFenced {
            ..
        })) => ErrorCode::TransactionCoordinatorFenced,
        AppendRefused::Log(AppendError::Transaction(_)) => ErrorCode::InvalidTxnState,
        AppendRefused::Offline | AppendRefused::NearlyFull(_) | AppendRefused::Log(_) => {
            ErrorCode::KafkaStorageError
        }
    })
}

impl PartitionLog for CoordinatorPartition {
    fn append(&self, batch: &Batch, wall: Timestamp) -> Result<Offset, ErrorCode> {
        match batch {
            Batch::Records(records) => {
                self.append_records(BatchOptions::default(), records, (Origin::Broker, wall))
            }
            Batch::Transactional { producer, verification, records } => {
                let options = BatchOptions {
                    producer: Some(Producer {
                        id: producer.id,
                        epoch: producer.epoch,
                        base_sequence: NO_SEQUENCE,
                    }),
                    is_transactional: true,
                    ..BatchOptions::default()
                };
                self.append_records(options, records, (Origin::Coordinator(*verification), wall))
            }
            Batch::End(end) => {
                let marker = EndTxnMarker {
                    is_abort: !end.is_commit,
                    coordinator_epoch: end.coordinator_epoch,
                };
                let marker = TransactionMarker {
                    producer_id: end.producer.id,
                    producer_epoch: end.producer.epoch,
                    marker,
                    transaction_version: end.transaction_version,
                };
                next_offset(self.0.append_marker(&marker, wall))
            }
        }
    }

    fn high_watermark(&self) -> Offset {
        self.0.high_watermark()
    }

    fn log_start_offset(&self) -> Offset {
        self.0.view().log_start_offset()
    }

    fn log_end_offset(&self) -> Offset {
        self.0.view().log_end_offset()
    }

    fn watch(&self, notify: Arc<Notify>) {
        self.0.notify_always(notify);
    }

    fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.0.leader_epoch().filter(|_| !self.0.is_offline())
    }

    fn read(&self, from: Offset) -> Result<LoadedChunk, ErrorCode> {
        let view = self.0.view();
        let limits = Limits {
            bytes_max: CHUNK_BYTES,
            at_least_one: AtLeastOne::Batch,
            upper: view.log_end_offset(),
        };
        let read = view.read(from, limits).map_err(|error| match error {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Log(_) => ErrorCode::KafkaStorageError,
        })?;
        let mut chunk = LoadedChunk { entries: Vec::new(), next_offset: from };
        let Some(slice) = read.slice else {
            chunk.next_offset = view.log_end_offset();
            return Ok(chunk);
        };
        let bytes = Bytes::from(slice.read().map_err(|_| ErrorCode::KafkaStorageError)?);
        let mut scratch = Scratch::default();
        // The limit may have cut the last batch: it comes with the next chunk.
        for batch in batches(&bytes).map_while(Result::ok) {
            batch.check_crc().map_err(|_| ErrorCode::CorruptMessage)?;
            chunk.next_offset = batch.header().next_offset();
            load_batch(&batch, &mut scratch, (from, &mut chunk.entries))
                .map_err(|_| ErrorCode::CorruptMessage)?;
        }
        Ok(chunk)
    }
}

/// What stands in a batch from offset `from` on.
fn load_batch(
    batch: &BatchView<'_>,
    scratch: &mut Scratch,
    (from, entries): (Offset, &mut Vec<Loaded>),
) -> Result<(), RecordsError> {
    let header = *batch.header();
    let producer = header.producer.filter(|_| header.attributes.is_transactional());
    let producer =
        producer.map(|producer| TransactionalProducer { id: producer.id, epoch: producer.epoch });
    for record in batch.records(scratch)? {
        let record = record?;
        if record.offset < from {
            continue;
        }
        if header.attributes.is_control() {
            // A control record of another kind says nothing to a coordinator.
            if let (Some(producer), Ok(Some(marker))) = (producer, EndTxnMarker::parse(&record)) {
                entries.push(Loaded::End(TransactionEnd {
                    producer,
                    is_commit: !marker.is_abort,
                    coordinator_epoch: marker.coordinator_epoch,
                    transaction_version: 0,
                }));
            }
            continue;
        }
        let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
        let record = (key, record.value.map(Bytes::copy_from_slice));
        entries.push(match producer {
            Some(producer) => Loaded::Transactional(producer, record),
            None => Loaded::Record(record),
        });
    }
    Ok(())
}
