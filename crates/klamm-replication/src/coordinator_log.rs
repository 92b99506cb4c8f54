//! A partition as a coordinator's log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use klamm_coordinator::{KeyValue, LoadedChunk, PartitionLog};
use klamm_log::{AppendError, AtLeastOne, Limits, Origin, ReadError};
use klamm_model::{ErrorCode, Offset, Timestamp};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, Scratch, ValidBatch, batches};
use tokio::sync::Notify;

use crate::partition::{AppendRefused, Partition};

/// Bytes of a coordinator's log that are replayed at once.
const CHUNK_BYTES: u32 = 4 * 1024 * 1024;

/// A partition of an internal topic, under a coordinator's shard.
#[derive(Clone)]
pub struct CoordinatorPartition(pub Arc<Partition>);

impl fmt::Debug for CoordinatorPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.name())
    }
}

impl PartitionLog for CoordinatorPartition {
    fn append(&self, records: &[KeyValue], wall: Timestamp) -> Result<Offset, ErrorCode> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
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
        match self.0.append(batch, Origin::Broker, wall) {
            Ok(appended) => Ok(appended.last_offset.plus(1)),
            Err(AppendRefused::NotLeader) => Err(ErrorCode::NotLeaderOrFollower),
            Err(AppendRefused::Log(AppendError::TooLarge { .. })) => {
                Err(ErrorCode::RecordListTooLarge)
            }
            Err(AppendRefused::Offline | AppendRefused::NearlyFull(_) | AppendRefused::Log(_)) => {
                Err(ErrorCode::KafkaStorageError)
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

    fn is_leader(&self) -> bool {
        self.0.leader_epoch().is_some() && !self.0.is_offline()
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
        let mut chunk = LoadedChunk { records: Vec::new(), next_offset: from };
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
            if batch.header().attributes.is_control() {
                continue;
            }
            for record in batch.records(&mut scratch).map_err(|_| ErrorCode::CorruptMessage)? {
                let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
                if record.offset < from {
                    continue;
                }
                let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
                chunk.records.push((key, record.value.map(Bytes::copy_from_slice)));
            }
        }
        Ok(chunk)
    }
}
