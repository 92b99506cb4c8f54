//! What a coordinator's state machine and its log must offer.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::{
    ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp,
    Verification,
};
use tokio::sync::Notify;

/// Names a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What time it is, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// For timeouts.
    pub now: Moment,
    /// For records.
    pub wall: Timestamp,
}

/// A record of a coordinator's log; no value is a tombstone.
pub type KeyValue = (Bytes, Option<Bytes>);

/// The producer of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionalProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// How a transaction ended in a coordinator's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Whose transaction.
    pub producer: TransactionalProducer,
    /// Whether it is committed; else it is aborted.
    pub is_commit: bool,
    /// The epoch of the transaction coordinator that says so.
    pub coordinator_epoch: i32,
    /// The transaction protocol of the coordinator (feature `transaction.version`).
    pub transaction_version: i8,
}

/// What is appended at once: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// The shard's own records.
    Records(Vec<KeyValue>),
    /// Records of a producer's transaction: they count when it is committed.
    Transactional {
        /// Whose transaction.
        producer: TransactionalProducer,
        /// That the transaction coordinator knows of it; needed for the first write only.
        verification: Option<Verification>,
        /// The records.
        records: Vec<KeyValue>,
    },
    /// The end of a transaction.
    End(TransactionEnd),
}

/// What stands in the log, while it is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A record of the shard's own.
    Record(KeyValue),
    /// A record of a producer's transaction.
    Transactional(TransactionalProducer, KeyValue),
    /// The end of a transaction.
    End(TransactionEnd),
}

/// What a shard wants done after an event.
#[derive(Debug)]
pub struct Outcome<R, W, E> {
    /// Answers that depend on no record.
    pub replies: Vec<(Ticket, R)>,
    /// Answers that were read from what may not be committed yet: they leave when everything that
    /// was appended before is.
    pub reads: Vec<(Ticket, R)>,
    /// Records to write, in order.
    pub writes: Vec<W>,
    /// What others have to do now.
    pub effects: Vec<E>,
}

/// A state machine over one partition. Synchronous: no clock, no log, no task.
///
/// ```text
/// on_request ──▶ writes ──▶ appended ──▶ on_appended: later requests see it
///                   │                        └──▶ committed ──▶ on_committed: answers leave
///                   └──────▶ on_failed: nothing of it happened
/// ```
///
/// An append succeeds or fails before the next request is looked at, so nothing has to be rolled
/// back: a shard that changes its state in [`Shard::on_appended`] alone never shows what is not in
/// its log. What was appended and is never committed goes with the leadership, and the shard with
/// it.
pub trait Shard: 'static {
    /// What can be asked.
    type Request: Send + 'static;
    /// The answers.
    type Response: Send + 'static;
    /// Records that belong together.
    type Write;
    /// What others have to do for it.
    type Effect: Send + 'static;
    /// What every shard is told, loaded or not; the last one counts.
    type News: Clone + Send + 'static;
    /// Where the shard puts what it wants done.
    type Actions: Default + Into<Outcome<Self::Response, Self::Write, Self::Effect>>;

    /// A request arrived.
    fn on_request(
        &mut self,
        time: Time,
        request: Self::Request,
        ticket: Ticket,
        actions: &mut Self::Actions,
    );
    /// Time has passed.
    fn on_timeout(&mut self, time: Time, actions: &mut Self::Actions);
    /// When it wants to be asked again.
    fn next_timeout(&self) -> Option<Moment>;
    /// What a write appends.
    ///
    /// # Errors
    /// It cannot be encoded.
    fn batch(write: &Self::Write) -> Result<Batch, ErrorCode>;
    /// A write is in the log, but not committed yet.
    fn on_appended(&mut self, time: Time, write: &Self::Write, actions: &mut Self::Actions);
    /// A write is committed.
    fn on_committed(&mut self, time: Time, write: Self::Write, actions: &mut Self::Actions);
    /// A write could not be made, or will not be committed by this broker.
    fn on_failed(
        &mut self,
        time: Time,
        write: Self::Write,
        error: ErrorCode,
        actions: &mut Self::Actions,
    );
    /// What stands in the log, while the shard is loaded.
    fn replay(&mut self, loaded: Loaded);
    /// The log is replayed to its end, which is committed; this broker leads it in `epoch`.
    fn on_loaded(&mut self, time: Time, epoch: LeaderEpoch, actions: &mut Self::Actions);
    /// Something is new: also told to a shard before its log is loaded, and at any time later.
    fn on_news(&mut self, news: &Self::News);
    /// The shard moves away.
    fn on_unload(&mut self, actions: &mut Self::Actions);
    /// The answer to a request while the shard cannot serve it.
    fn unavailable(error: ErrorCode) -> Self::Response;
}

/// Part of a log, in order.
#[derive(Debug, Default)]
pub struct LoadedChunk {
    /// What stands there.
    pub entries: Vec<Loaded>,
    /// Where the next chunk starts.
    pub next_offset: Offset,
}

/// The partition under a shard.
pub trait PartitionLog: Send + Sync + Debug {
    /// Appends as the leader; gives the offset after the last record.
    ///
    /// # Errors
    /// Not the leader, too large, fenced, or the disk failed: nothing was appended.
    fn append(&self, batch: &Batch, wall: Timestamp) -> Result<Offset, ErrorCode>;
    /// Everything below is committed.
    fn high_watermark(&self) -> Offset;
    /// Where the log starts.
    fn log_start_offset(&self) -> Offset;
    /// Where the log ends.
    fn log_end_offset(&self) -> Offset;
    /// Wakes `notify` whenever the high watermark moves or the partition is lost.
    fn watch(&self, notify: Arc<Notify>);
    /// The epoch in which this broker leads the partition; `None` if it does not.
    fn leader_epoch(&self) -> Option<LeaderEpoch>;
    /// Some records from `from` on.
    ///
    /// # Errors
    /// The log cannot be read there.
    fn read(&self, from: Offset) -> Result<LoadedChunk, ErrorCode>;
}

/// The partition of a coordinator's topic that a group's or transactional id's name belongs to:
/// Java's hash of it (Kafka: `Utils.abs(groupId.hashCode()) % n`).
#[must_use]
pub fn partition_for(name: &str, n_partitions: i32) -> PartitionIndex {
    let hash =
        name.encode_utf16().fold(0_i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % n_partitions.max(1)
}

/// Makes an empty shard.
pub type Factory<S> = Box<dyn Fn(PartitionIndex) -> S + Send>;

/// Takes what a shard wants others to do. Called on the coordinator's thread: it must not wait.
pub type Effects<E> = Arc<dyn Fn(E) + Send + Sync>;
