//! What a shard wants done.

use klamm_model::{ErrorCode, TopicPartition};
use klamm_stdx::Str;

use crate::producer::{Outcome, ProducerIdAndEpoch, Protocol};
use crate::request::Response;
use crate::transaction::Transaction;
use klamm_coordinator::Ticket;

/// Answers to send, records to write, markers to have written.
#[derive(Debug, Default)]
pub struct Actions {
    /// Answers that depend on no record.
    pub replies: Vec<(Ticket, Response)>,
    /// Answers that depend on records which may not be committed yet.
    pub reads: Vec<(Ticket, Response)>,
    /// Records, in order.
    pub writes: Vec<Write>,
    /// Markers.
    pub markers: Vec<MarkersToWrite>,
}

/// Transactional ids as they are to be.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which, and how; `None` if it is forgotten.
    pub changes: Vec<(Str, Option<Transaction>)>,
    /// What follows its commit.
    pub then: Then,
}

/// What waits for a write.
#[derive(Debug, Clone)]
pub enum Then {
    /// Nobody.
    Nothing,
    /// A request, with its answer if the record is committed and the kind of its refusal.
    Reply(Ticket, Response),
}

/// The end of a transaction, for the partitions that were in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkersToWrite {
    /// Which.
    pub transactional_id: Str,
    /// Whose.
    pub producer: ProducerIdAndEpoch,
    /// How it ended.
    pub outcome: Outcome,
    /// Where.
    pub partitions: Vec<TopicPartition>,
    /// The epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// By which protocol.
    pub protocol: Protocol,
}

impl Actions {
    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.replies.push((ticket, response));
    }

    pub(crate) fn read(&mut self, ticket: Ticket, response: Response) {
        self.reads.push((ticket, response));
    }

    pub(crate) fn write(&mut self, transactional_id: &Str, next: Option<Transaction>, then: Then) {
        self.writes.push(Write { changes: vec![(transactional_id.detached(), next)], then });
    }
}

/// What a client hears when a record could not be written (Kafka:
/// `TransactionStateManager.appendTransactionToLog`).
pub(crate) fn error_for_clients(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        _ => ErrorCode::UnknownServerError,
    }
}
