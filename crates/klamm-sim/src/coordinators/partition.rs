//! A partition in memory: batches with the log's own rules for producers, and an end that is not
//! committed yet.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use klamm_coordinator::{
    Batch, KeyValue, Loaded, LoadedChunk, PartitionLog, TransactionEnd, TransactionalProducer,
};
use klamm_log::{
    AbortedTransaction, AppendError, Marker, Origin, ProducerEntry, ProducerRules, TransactionError,
};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, ProducerId, Timestamp, Verification};
use klamm_records::{Attributes, BatchHeader, Producer};
use tokio::sync::Notify;

use super::refusals::Refusal;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// What a coordinator writes has no sequence number.
const NO_SEQUENCE: i32 = -1;

/// What a batch holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// One record of a client.
    Value(u64),
    /// Records of a coordinator.
    Records(Vec<KeyValue>),
    /// The end of a transaction.
    End(TransactionEnd),
}

#[derive(Debug, Clone)]
struct Stored {
    header: BatchHeader,
    marker: Option<Marker>,
    content: Content,
}

/// A transaction that began at `first` and is decided by the marker at `marker`.
#[derive(Debug, Clone, Copy)]
struct Decided {
    first: Offset,
    marker: Offset,
}

#[derive(Debug, Default)]
struct State {
    batches: Vec<Stored>,
    rules: ProducerRules,
    aborted: Vec<AbortedTransaction>,
    decided: Vec<Decided>,
    high_watermark: Offset,
    refusal: Option<Refusal>,
    /// Appends that were refused as the seed said.
    refused: usize,
}

/// A partition that everybody shares.
#[derive(Debug, Clone, Default)]
pub(super) struct SimPartition {
    state: Arc<Mutex<State>>,
    leader_epoch: Arc<AtomicI32>,
    /// What this view of it believes; a coordinator's is fixed when it is loaded.
    claimed: Option<i32>,
}

impl State {
    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset(0), |batch| batch.header.next_offset())
    }

    /// The index of the first batch that begins at an offset or after it. Most ask for the last.
    fn at(&self, offset: Offset) -> usize {
        let is_before = |batch: &Stored| batch.header.base_offset < offset;
        match self.batches.last() {
            Some(last) if !is_before(last) => self.batches.partition_point(is_before),
            Some(_) | None => self.batches.len(),
        }
    }

    fn append(&mut self, new: Stored, origin: Origin) -> Result<Offset, ErrorCode> {
        let Stored { mut header, marker, content } = new;
        if let Some(refusal) = self.refusal.take() {
            let (code, rest) = refusal.at(header.max_timestamp);
            self.refusal = rest;
            if let Some(code) = code {
                self.refused += 1;
                return Err(code);
            }
        }
        let known = self.rules.check(self.end(), (&header, marker), origin);
        if let Some(known) = known.map_err(|error| code(&error))? {
            return Ok(known.last_offset.plus(1));
        }
        header.base_offset = self.end();
        self.note(&header, marker);
        self.rules.on_appended(&header, origin);
        self.batches.push(Stored { header, marker, content });
        Ok(self.end())
    }

    fn note(&mut self, header: &BatchHeader, marker: Option<Marker>) {
        let open = header.producer.and_then(|p| self.rules.producers().open_transaction(p.id));
        if let (Some(first), Some(_)) = (open, marker) {
            self.decided.push(Decided { first, marker: header.base_offset });
        }
        self.aborted.extend(self.rules.on_written(header, marker));
    }

    /// Readers of committed records see what is below.
    fn last_stable_offset(&self) -> Offset {
        let undecided = self.decided.iter().filter(|d| d.marker >= self.high_watermark);
        let undecided = undecided.map(|d| d.first);
        let open = self.rules.producers().first_unstable_offset();
        undecided.chain(open).chain([self.high_watermark]).min().unwrap_or_default()
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        let Some(producer) = header.producer else { return false };
        self.aborted.iter().any(|aborted| {
            aborted.producer_id == producer.id
                && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
        })
    }

    /// The machine stops: of what is not committed only the first `kept` batches stay, and what
    /// was remembered is read again from the rest.
    fn crash(&mut self, kept: usize) {
        self.batches.truncate(self.at(self.high_watermark) + kept);
        let batches = std::mem::take(&mut self.batches);
        let (high_watermark, refused) = (self.high_watermark, self.refused);
        *self = Self { high_watermark, refused, refusal: self.refusal, ..Self::default() };
        for batch in batches {
            self.note(&batch.header, batch.marker);
            self.batches.push(batch);
        }
    }
}

fn header(
    producer: Option<Producer>,
    attributes: i16,
    (count, wall): (usize, Timestamp),
) -> BatchHeader {
    let count = i32::try_from(count).expect("few records");
    BatchHeader {
        base_offset: Offset(0),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: Attributes(attributes),
        last_offset_delta: count - 1,
        base_timestamp: wall,
        max_timestamp: wall,
        producer,
        record_count: count,
    }
}

fn code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Sequence(klamm_log::SequenceError::Epoch { .. }) => {
            ErrorCode::InvalidProducerEpoch
        }
        AppendError::Sequence(klamm_log::SequenceError::Sequence { .. }) => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        AppendError::Transaction(TransactionError::CoordinatorFenced { .. }) => {
            ErrorCode::TransactionCoordinatorFenced
        }
        AppendError::Transaction(_) => ErrorCode::InvalidTxnState,
        _ => ErrorCode::KafkaStorageError,
    }
}

impl SimPartition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("one thread")
    }

    /// A new leader epoch, and a view of the partition that believes in it.
    pub(super) fn lead(&self) -> Self {
        let epoch = self.leader_epoch.fetch_add(1, Ordering::Relaxed) + 1;
        Self { claimed: Some(epoch), ..self.clone() }
    }

    /// The epoch in which it is led.
    pub(super) fn current_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Relaxed)
    }

    /// As `Partition::begin_verification`.
    pub(super) fn begin_verification(
        &self,
        producer: Producer,
        wall: Timestamp,
    ) -> Option<Verification> {
        self.lock().rules.begin_verification(producer, wall)
    }

    /// A record of a producer's transaction.
    pub(super) fn append_value(
        &self,
        (producer, value): (Producer, u64),
        proof: Option<Verification>,
        wall: Timestamp,
    ) -> Result<Offset, ErrorCode> {
        let header = header(Some(producer), TRANSACTIONAL, (1, wall));
        let new = Stored { header, marker: None, content: Content::Value(value) };
        self.lock().append(new, Origin::Transaction(proof))
    }

    /// The end of a producer's transaction.
    pub(super) fn append_end(
        &self,
        end: TransactionEnd,
        wall: Timestamp,
    ) -> Result<Offset, ErrorCode> {
        let producer =
            Producer { id: end.producer.id, epoch: end.producer.epoch, base_sequence: NO_SEQUENCE };
        let header = header(Some(producer), TRANSACTIONAL | CONTROL, (1, wall));
        let marker = Marker { is_commit: end.is_commit, coordinator_epoch: end.coordinator_epoch };
        let origin = Origin::Marker { transaction_version: end.transaction_version };
        let new = Stored { header, marker: Some(marker), content: Content::End(end) };
        self.lock().append(new, origin)
    }

    /// Appends are refused from now on, or no more.
    pub(super) fn refuse(&self, refusal: Option<Refusal>) {
        self.lock().refusal = refusal;
    }

    /// How many were.
    pub(super) fn refused(&self) -> usize {
        self.lock().refused
    }

    /// Everything that is appended is committed.
    pub(super) fn commit(&self) {
        let mut state = self.lock();
        state.high_watermark = state.end();
    }

    /// The next batch that is not committed yet is.
    pub(super) fn commit_one(&self) {
        let mut state = self.lock();
        let next = state.batches.get(state.at(state.high_watermark));
        if let Some(next) = next.map(|batch| batch.header.next_offset()) {
            state.high_watermark = next;
        }
    }

    /// How many batches are not committed.
    pub(super) fn uncommitted(&self) -> usize {
        let state = self.lock();
        state.batches.len() - state.at(state.high_watermark)
    }

    /// See [`State::crash`].
    pub(super) fn crash(&self, kept: usize) {
        self.lock().crash(kept);
    }

    /// What a reader of committed records is given from `from` on, and where it goes on.
    pub(super) fn read_committed(&self, from: Offset) -> (Vec<u64>, Offset) {
        let state = self.lock();
        let stable = state.last_stable_offset();
        let seen = state.batches.iter().filter(|batch| {
            let at = batch.header.base_offset;
            at >= from && at < stable && !state.is_aborted(&batch.header)
        });
        let value = |batch: &Stored| match batch.content {
            Content::Value(value) => Some(value),
            Content::Records(_) | Content::End(_) => None,
        };
        (seen.filter_map(value).collect(), stable.max(from))
    }

    /// A producer whose transaction is open in it.
    pub(super) fn open_transaction(&self) -> Option<(ProducerId, ProducerEntry)> {
        let state = self.lock();
        let mut producers = state.rules.producers().iter();
        let open = producers.find(|(_, entry)| entry.transaction_first_offset.is_some());
        open.map(|(id, entry)| (id, entry.clone()))
    }

    /// What is committed, as it is replayed, with its offsets.
    pub(super) fn committed(&self) -> Vec<Loaded> {
        let state = self.lock();
        let batches = state.batches.iter();
        let batches = batches.filter(|batch| batch.header.base_offset < state.high_watermark);
        batches.flat_map(entries).collect()
    }

    /// Everything that it holds, as it is replayed.
    pub(super) fn all(&self) -> Vec<Loaded> {
        self.lock().batches.iter().flat_map(entries).collect()
    }

    /// What is committed from `from` on.
    pub(super) fn committed_from(&self, from: Offset) -> LoadedChunk {
        let state = self.lock();
        let new = state.batches[state.at(from)..state.at(state.high_watermark)].iter();
        LoadedChunk { entries: new.flat_map(entries).collect(), next_offset: state.high_watermark }
    }

    /// The committed batch that begins at `from`, if there is one.
    pub(super) fn committed_batch(&self, from: Offset) -> Option<LoadedChunk> {
        let state = self.lock();
        let batch = state.batches[state.at(from)..state.at(state.high_watermark)].first()?;
        Some(LoadedChunk { entries: entries(batch), next_offset: batch.header.next_offset() })
    }

    /// How many batches it holds.
    pub(super) fn len(&self) -> usize {
        self.lock().batches.len()
    }
}

fn entries(batch: &Stored) -> Vec<Loaded> {
    match (&batch.content, batch.header.producer) {
        (Content::Value(_), _) => Vec::new(),
        (Content::End(end), _) => vec![Loaded::End(*end)],
        (Content::Records(records), None) => records.iter().cloned().map(Loaded::Record).collect(),
        (Content::Records(records), Some(producer)) => {
            let producer = TransactionalProducer { id: producer.id, epoch: producer.epoch };
            records.iter().cloned().map(|r| Loaded::Transactional(producer, r)).collect()
        }
    }
}

impl PartitionLog for SimPartition {
    fn append(&self, batch: &Batch, wall: Timestamp) -> Result<Offset, ErrorCode> {
        if self.leader_epoch().is_none() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let (producer, attributes, origin, records) = match batch {
            Batch::End(end) => return self.append_end(*end, wall),
            Batch::Records(records) => (None, 0, Origin::Broker, records),
            Batch::Transactional { producer, verification, records } => {
                let producer =
                    Producer { id: producer.id, epoch: producer.epoch, base_sequence: NO_SEQUENCE };
                (Some(producer), TRANSACTIONAL, Origin::Coordinator(*verification), records)
            }
        };
        let header = header(producer, attributes, (records.len(), wall));
        let new = Stored { header, marker: None, content: Content::Records(records.clone()) };
        self.lock().append(new, origin)
    }

    fn high_watermark(&self) -> Offset {
        self.lock().high_watermark
    }

    fn log_start_offset(&self) -> Offset {
        Offset(0)
    }

    fn log_end_offset(&self) -> Offset {
        self.lock().end()
    }

    fn watch(&self, _: Arc<Notify>) {}

    fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.claimed.filter(|epoch| *epoch == self.current_epoch()).map(LeaderEpoch)
    }

    fn read(&self, from: Offset) -> Result<LoadedChunk, ErrorCode> {
        let state = self.lock();
        let rest = state.batches[state.at(from)..].iter();
        Ok(LoadedChunk { entries: rest.flat_map(entries).collect(), next_offset: state.end() })
    }
}
