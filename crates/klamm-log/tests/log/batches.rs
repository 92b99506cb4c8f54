//! Batches to append, and a log as a list of its records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{
    AppendError, Appended, AtLeastOne, Limits, Log, LogConfig, LogView, Opening, Origin,
    RecoveryReport,
};
use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{
    BatchBuilder, BatchOptions, Compression, EndTxnMarker, Producer, RecordToAppend, Scratch,
    ValidBatch, batches,
};

use crate::disk::MemoryDisk;

/// When all tests take place.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data/topic-0")
}

pub(crate) fn path(name: &str) -> PathBuf {
    dir().join(name)
}

/// Small segments and a small index interval, so that little data shows much.
pub(crate) fn config() -> LogConfig {
    LogConfig { segment_bytes: 4096, index_interval_bytes: 200, ..LogConfig::default() }
}

pub(crate) fn create(disk: &Arc<MemoryDisk>, config: LogConfig) -> Log {
    Log::create(&as_disk(disk), &dir(), None, config, NOW).unwrap()
}

pub(crate) fn as_disk(disk: &Arc<MemoryDisk>) -> Arc<dyn Disk> {
    Arc::clone(disk) as Arc<dyn Disk>
}

pub(crate) fn clean() -> Opening {
    Opening {
        was_clean: true,
        recovery_point: Offset::ZERO,
        log_start_offset: Offset::ZERO,
        mark: None,
        cleaned_to: None,
    }
}

pub(crate) fn unclean(recovery_point: i64) -> Opening {
    Opening { was_clean: false, recovery_point: Offset(recovery_point), ..clean() }
}

pub(crate) fn open(disk: &Arc<MemoryDisk>, opening: Opening) -> (Log, RecoveryReport) {
    open_at(disk, &dir(), opening)
}

pub(crate) fn open_at(
    disk: &Arc<MemoryDisk>,
    dir: &Path,
    opening: Opening,
) -> (Log, RecoveryReport) {
    Log::open(&as_disk(disk), dir, config(), opening, NOW).unwrap()
}

/// What a test says of a batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    pub(crate) values: Vec<String>,
    pub(crate) timestamps: Vec<i64>,
    /// Id, epoch, first sequence number.
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) is_transactional: bool,
    pub(crate) compression: Compression,
    pub(crate) epoch: i32,
}

pub(crate) fn values<const N: usize>(values: [&str; N]) -> Spec {
    Spec { values: values.iter().map(ToString::to_string).collect(), ..Spec::default() }
}

impl Spec {
    pub(crate) fn at(mut self, timestamps: &[i64]) -> Self {
        self.timestamps = timestamps.to_vec();
        self
    }

    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((id, epoch, sequence));
        self
    }

    pub(crate) fn transactional(mut self) -> Self {
        self.is_transactional = true;
        self
    }

    pub(crate) fn epoch(mut self, epoch: i32) -> Self {
        self.epoch = epoch;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_at(0)
    }

    /// As a leader would send it.
    pub(crate) fn bytes_at(&self, base_offset: i64) -> Vec<u8> {
        let producer = self.producer.map(|(id, epoch, base_sequence)| Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
            base_sequence,
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.compression,
            producer,
            is_transactional: self.is_transactional,
            base_offset: Offset(base_offset),
            partition_leader_epoch: Some(LeaderEpoch(self.epoch)),
            ..BatchOptions::default()
        });
        for (i, value) in self.values.iter().enumerate() {
            let timestamp = Timestamp(self.timestamps.get(i).copied().unwrap_or(NOW.0));
            let value = Some(value.as_bytes());
            builder.push(RecordToAppend { timestamp, value, ..RecordToAppend::default() });
        }
        builder.build().unwrap()
    }
}

pub(crate) fn append(log: &mut Log, spec: &Spec) -> Result<Appended, AppendError> {
    let bytes = spec.bytes();
    let batch = ValidBatch::own(&bytes).unwrap();
    log.append_as_leader(batch, LeaderEpoch(spec.epoch), Origin::Client, NOW)
}

/// Ends a transaction.
pub(crate) fn end(
    log: &mut Log,
    id: i64,
    epoch: i16,
    is_abort: bool,
) -> Result<Appended, AppendError> {
    let marker = EndTxnMarker { is_abort, coordinator_epoch: 0 };
    let bytes = marker.batch(ProducerId(id), ProducerEpoch(epoch), NOW);
    let leader_epoch = log.view().latest_epoch().unwrap_or(LeaderEpoch(0));
    log.append_as_leader(ValidBatch::own(&bytes).unwrap(), leader_epoch, Origin::Broker, NOW)
}

/// `n` batches of one record each, with the offset as value.
pub(crate) fn fill(log: &mut Log, n: usize) {
    for _ in 0..n {
        let value = format!("value {}", log.log_end_offset());
        append(log, &values([&value])).unwrap();
    }
}

/// Syncs all there is.
pub(crate) fn sync(log: &mut Log, disk: &Arc<MemoryDisk>) {
    if let Some(ticket) = log.sync_ticket().unwrap() {
        ticket.sync(disk.as_ref()).unwrap();
        log.on_synced(ticket.up_to);
    }
}

/// The records between the log's start and its end: offset and value. Control records have their
/// key's type as value.
pub(crate) fn records(view: &LogView) -> Vec<(i64, String)> {
    records_below(view, view.log_end_offset())
}

pub(crate) fn records_below(view: &LogView, upper: Offset) -> Vec<(i64, String)> {
    let start = view.log_start_offset();
    let mut offset = start;
    let mut found = Vec::new();
    while offset < upper {
        let limits = Limits { bytes_max: 700, at_least_one: AtLeastOne::Batch, upper };
        let Some(slice) = view.read(offset, limits).unwrap().slice else { break };
        let bytes = slice.read().unwrap();
        // The last batch may be cut by the limit.
        for batch in batches(&bytes).map_while(Result::ok) {
            batch.check_crc().unwrap();
            assert!(batch.header().last_offset() >= offset);
            offset = batch.header().next_offset();
            let mut scratch = Scratch::default();
            let is_control = batch.header().attributes.is_control();
            for record in batch.records(&mut scratch).unwrap() {
                let record = record.unwrap();
                let value = if is_control { record.key } else { record.value };
                let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                if record.offset >= start {
                    found.push((record.offset.0, value));
                }
            }
        }
    }
    found
}
