//! What a coordinator's state machine and its log must offer.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::{ErrorCode, Offset, Timestamp};
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

/// What a shard wants done after an event.
#[derive(Debug)]
pub struct Outcome<R, W> {
    /// Answers that depend on no record.
    pub replies: Vec<(Ticket, R)>,
    /// Records to write, in order.
    pub writes: Vec<W>,
}

/// A state machine over one partition. Synchronous: no clock, no log, no task.
pub trait Shard: 'static {
    /// What can be asked.
    type Request: Send + 'static;
    /// The answers.
    type Response: Send + 'static;
    /// Records that belong together.
    type Write;
    /// Where the shard puts what it wants done.
    type Actions: Default + Into<Outcome<Self::Response, Self::Write>>;

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
    /// The records of a write.
    ///
    /// # Errors
    /// They cannot be encoded.
    fn records(write: &Self::Write) -> Result<Vec<KeyValue>, ErrorCode>;
    /// A write is committed.
    fn on_committed(&mut self, time: Time, write: Self::Write, actions: &mut Self::Actions);
    /// A write could not be made.
    fn on_failed(
        &mut self,
        time: Time,
        write: Self::Write,
        error: ErrorCode,
        actions: &mut Self::Actions,
    );
    /// A record of the log, while the shard is loaded.
    fn replay(&mut self, record: KeyValue);
    /// The log is replayed to its end.
    fn on_loaded(&mut self, time: Time);
    /// The shard moves away.
    fn on_unload(&mut self, actions: &mut Self::Actions);
    /// The answer to a request while the shard cannot serve it.
    fn unavailable(error: ErrorCode) -> Self::Response;
}

/// Part of a log, in order.
#[derive(Debug, Default)]
pub struct LoadedChunk {
    /// Records, without control records.
    pub records: Vec<KeyValue>,
    /// Where the next chunk starts.
    pub next_offset: Offset,
}

/// The partition under a shard.
pub trait PartitionLog: Send + Sync + Debug {
    /// Appends records as the leader; gives the offset after the last of them.
    ///
    /// # Errors
    /// Not the leader, too large, or the disk failed: nothing was appended.
    fn append(&self, records: &[KeyValue], wall: Timestamp) -> Result<Offset, ErrorCode>;
    /// Everything below is committed.
    fn high_watermark(&self) -> Offset;
    /// Where the log starts.
    fn log_start_offset(&self) -> Offset;
    /// Where the log ends.
    fn log_end_offset(&self) -> Offset;
    /// Wakes `notify` whenever the high watermark moves or the partition is lost.
    fn watch(&self, notify: Arc<Notify>);
    /// Whether this broker still leads the partition.
    fn is_leader(&self) -> bool;
    /// Some records from `from` on.
    ///
    /// # Errors
    /// The log cannot be read there.
    fn read(&self, from: Offset) -> Result<LoadedChunk, ErrorCode>;
}
