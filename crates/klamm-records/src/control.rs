//! Control records: the broker's own entries in a log. Their key is a version and a type; their
//! values are opaque here, but for the end of a transaction, which every log must understand.

use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::builder::{BatchBuilder, BatchOptions};
use crate::control_type::{ControlRecordError, ControlRecordType};
use crate::header::Producer;
use crate::record::RecordView;

/// Version that is written into the value of a transaction's end.
const END_TXN_VERSION: i16 = 0;

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether it is aborted; else it is committed.
    pub is_abort: bool,
    /// Epoch of the transaction coordinator's partition.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in `record` of a control batch; `None` if it is another control record.
    ///
    /// # Errors
    /// The key or the value is too short.
    pub fn parse(record: &RecordView<'_>) -> Result<Option<Self>, ControlRecordError> {
        let is_abort = match ControlRecordType::of(record)? {
            Some(ControlRecordType::Abort) => true,
            Some(ControlRecordType::Commit) => false,
            _ => return Ok(None),
        };
        let value = record.value.unwrap_or(&[]);
        let Some([_, _, epoch @ ..]) = value.first_chunk::<6>() else {
            return Err(ControlRecordError::EndTxnValue { len: value.len() });
        };
        Ok(Some(Self { is_abort, coordinator_epoch: i32::from_be_bytes(*epoch) }))
    }

    /// The batch that a leader appends for this marker.
    #[must_use]
    pub fn batch(self, id: ProducerId, epoch: ProducerEpoch, timestamp: Timestamp) -> Vec<u8> {
        let mut value = END_TXN_VERSION.to_be_bytes().to_vec();
        value.extend_from_slice(&self.coordinator_epoch.to_be_bytes());
        let kind = if self.is_abort { ControlRecordType::Abort } else { ControlRecordType::Commit };
        let options = BatchOptions {
            producer: Some(Producer { id, epoch, base_sequence: -1 }),
            is_transactional: true,
            ..BatchOptions::default()
        };
        one_control_record(options, kind, (timestamp, &value))
    }
}

/// A batch of one control record without a producer, such as KRaft's.
#[must_use]
pub fn control_batch(
    at: (Offset, LeaderEpoch),
    kind: ControlRecordType,
    timestamp: Timestamp,
    value: &[u8],
) -> Vec<u8> {
    let options = BatchOptions {
        base_offset: at.0,
        partition_leader_epoch: Some(at.1),
        ..BatchOptions::default()
    };
    one_control_record(options, kind, (timestamp, value))
}

fn one_control_record(
    options: BatchOptions,
    kind: ControlRecordType,
    (timestamp, value): (Timestamp, &[u8]),
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder.push_control(kind, timestamp, value);
    builder.build().expect("nothing is compressed here")
}
