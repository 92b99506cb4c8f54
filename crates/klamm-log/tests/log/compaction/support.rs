//! Keyed batches, a cleaner, and what is left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use klamm_env::Random;
use klamm_log::{
    AtLeastOne, CleanError, CleanReport, Cleaner, CleanerOptions, Cleanup, KeySecret, Limits, Log,
    LogConfig, LogOwner, LogView, Origin, Pace, Stopped,
};
use klamm_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use klamm_records::{
    BatchBuilder, BatchHeader, BatchOptions, Codec, Producer, RecordToAppend, Scratch, ValidBatch,
    batches,
};

use crate::batches::{NOW, create};
use crate::disk::MemoryDisk;

/// How long tombstones stay in these tests.
pub(crate) const RETENTION_MS: i64 = 1000;

pub(crate) fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 200,
        cleanup: Cleanup { delete: false, compact: true },
        delete_retention_ms: RETENTION_MS,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

pub(crate) fn log(disk: &Arc<MemoryDisk>) -> Mutex<Log> {
    Mutex::new(create(disk, compacted()))
}

/// A batch of records with keys; no value is a tombstone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyed {
    pub(crate) records: Vec<(Option<String>, Option<String>)>,
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) is_transactional: bool,
    pub(crate) codec: Codec,
}

pub(crate) fn keyed(records: &[(&str, &str)]) -> Keyed {
    let some = |text: &str| Some(text.to_owned());
    let record = |(key, value): &(&str, &str)| (some(key), some(value));
    Keyed { records: records.iter().map(record).collect(), ..Keyed::default() }
}

pub(crate) fn tombstone(key: &str) -> Keyed {
    Keyed { records: vec![(Some(key.to_owned()), None)], ..Keyed::default() }
}

impl Keyed {
    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((id, epoch, sequence));
        self
    }

    pub(crate) fn transactional(mut self) -> Self {
        self.is_transactional = true;
        self
    }

    pub(crate) fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let producer = self.producer.map(|(id, epoch, base_sequence)| Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
            base_sequence,
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.codec.into(),
            producer,
            is_transactional: self.is_transactional,
            ..BatchOptions::default()
        });
        for (i, (key, value)) in self.records.iter().enumerate() {
            builder.push(RecordToAppend {
                timestamp: Timestamp(NOW.0 + i as i64),
                key: key.as_ref().map(String::as_bytes),
                value: value.as_ref().map(String::as_bytes),
                headers: &[],
            });
        }
        builder.build().unwrap()
    }
}

pub(crate) fn append(log: &Mutex<Log>, batch: &Keyed) -> i64 {
    let bytes = batch.bytes();
    let batch = ValidBatch::own(&bytes).unwrap();
    let appended =
        log.lock().unwrap().append_as_leader(batch, LeaderEpoch(0), Origin::Client, NOW).unwrap();
    appended.base_offset.0
}

pub(crate) fn end(log: &Mutex<Log>, id: i64, is_abort: bool) -> i64 {
    crate::batches::end(&mut log.lock().unwrap(), id, 0, is_abort).unwrap().base_offset.0
}

/// Seals the active segment, so that it can be cleaned.
pub(crate) fn roll(log: &Mutex<Log>) {
    log.lock().unwrap().roll(NOW).unwrap();
}

#[derive(Debug)]
pub(crate) struct Fixed;

impl Random for Fixed {
    fn bits(&self) -> u64 {
        0x0123_4567_89ab_cdef
    }
}

/// Never waits, never stops.
pub(crate) struct AtOnce;

impl Pace for AtOnce {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

pub(crate) fn cleaner(keys_bytes: u64) -> Cleaner {
    let options = CleanerOptions { keys_bytes, load_factor: 0.9, io_bytes: 1 << 12 };
    Cleaner::new(KeySecret::new(&Fixed), options)
}

/// Cleans up to the last stable offset, `ms` after [`NOW`].
pub(crate) fn clean_at(log: &Mutex<Log>, ms: i64) -> Result<CleanReport, CleanError> {
    clean_with(log, log, (1 << 20, ms))
}

pub(crate) fn clean_with<L: LogOwner>(
    log: &Mutex<Log>,
    owner: &L,
    (keys_bytes, ms): (u64, i64),
) -> Result<CleanReport, CleanError> {
    let candidate = log.lock().unwrap().compaction_candidate().expect("there are segments");
    let view = Arc::clone(log.lock().unwrap().view());
    let now = Timestamp(NOW.0 + ms);
    let stable = view.last_stable_offset(view.log_end_offset());
    let plan = candidate.assess(stable, now).unwrap();
    cleaner(keys_bytes).clean(owner, (&candidate, &plan), now, &mut AtOnce)
}

/// A record as it is read: offset, key, value.
pub(crate) type Row = (i64, Option<String>, Option<String>);

/// Every batch's header and records, read as a consumer reads them.
pub(crate) fn read(view: &LogView) -> Vec<(BatchHeader, Vec<Row>)> {
    let (mut offset, end) = (view.log_start_offset(), view.log_end_offset());
    let mut found = Vec::new();
    while offset < end {
        let limits = Limits { bytes_max: 500, at_least_one: AtLeastOne::Batch, upper: end };
        let Some(slice) = view.read(offset, limits).unwrap().slice else { break };
        let bytes = slice.read().unwrap();
        for batch in batches(&bytes).map_while(Result::ok) {
            batch.check_crc().unwrap();
            assert!(batch.last_offset() >= offset && batch.base_offset >= last_of(&found));
            offset = batch.next_offset();
            let mut scratch = Scratch::default();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let rows = batch.records(&mut scratch).unwrap().map(|record| {
                let record = record.unwrap();
                (record.offset.0, record.key.map(text), record.value.map(text))
            });
            found.push((*batch.header(), rows.collect()));
        }
    }
    found
}

fn last_of(found: &[(BatchHeader, Vec<Row>)]) -> Offset {
    found.last().map_or(Offset(-1), |(header, _)| header.last_offset())
}

/// The records of all batches but control batches.
pub(crate) fn rows(log: &Mutex<Log>) -> Vec<Row> {
    let view = Arc::clone(log.lock().unwrap().view());
    let batches = read(&view);
    let data = batches.into_iter().filter(|(header, _)| !header.attributes.is_control());
    data.flat_map(|(_, rows)| rows).collect()
}

/// The offsets of control batches that still say something.
pub(crate) fn markers(log: &Mutex<Log>) -> Vec<i64> {
    let view = Arc::clone(log.lock().unwrap().view());
    let batches = read(&view);
    let markers = batches.iter().filter(|(h, _)| h.attributes.is_control() && h.record_count > 0);
    markers.map(|(header, _)| header.base_offset.0).collect()
}

/// The last record of each key.
pub(crate) fn last_of_keys(rows: &[Row]) -> BTreeMap<String, (i64, Option<String>)> {
    let keyed = rows
        .iter()
        .filter_map(|(offset, key, value)| Some((key.clone()?, (*offset, value.clone()))));
    keyed.collect()
}

pub(crate) fn row(offset: i64, key: &str, value: &str) -> Row {
    (offset, Some(key.to_owned()), Some(value.to_owned()))
}
