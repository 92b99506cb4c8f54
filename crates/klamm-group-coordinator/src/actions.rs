//! What a shard wants done.

use std::collections::HashMap;

use bytes::Bytes;
use klamm_coordinator::{TransactionEnd, TransactionalProducer};
use klamm_model::{ErrorCode, GenerationId, Verification};
use klamm_stdx::Str;

use crate::classic::{Group, Joined, Member};
use crate::migration::Downgrade;
use crate::record::Record;
use crate::request::Response;
use crate::snapshot::GroupSnapshot;
use crate::{PartitionResult, Ticket};

/// Records that are written together although they need not be: a fourth of what a batch of
/// `__consumer_offsets` may have (Kafka's default of `max.message.bytes`).
pub(crate) const TOGETHER_BYTES: usize = 256 * 1024;

/// Answers to send now, and records to write.
#[derive(Debug, Default)]
pub struct Actions {
    /// Answers that depend on no record.
    pub replies: Vec<(Ticket, Response)>,
    /// Answers that depend on records which may not be committed yet.
    pub reads: Vec<(Ticket, Response)>,
    /// Records, in order; each write is whole or not at all.
    pub writes: Vec<Write>,
    /// Members that were silent for longer than their session, for the log.
    pub failed_members: Vec<(Str, Str)>,
}

/// Records that belong together, and what follows their commit.
#[derive(Debug, Clone)]
pub struct Write {
    /// What to append.
    pub records: Vec<Record>,
    /// On whose behalf.
    pub author: Author,
    /// What to do once they are committed, or could not be.
    pub then: Then,
    /// The classic group that a group of the consumer protocol becomes with them.
    pub becomes: Option<Box<Downgrade>>,
}

/// On whose behalf records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The group's own.
    Group,
    /// A producer's, in its transaction.
    Producer(TransactionalProducer, Option<Verification>),
    /// The transaction coordinator's, to end a producer's transaction: there are no records.
    Coordinator(TransactionEnd),
}

/// What waits for a write.
#[derive(Debug, Clone)]
pub enum Then {
    /// Nobody.
    Nothing,
    /// One request, with its answer either way.
    Reply {
        /// The request.
        ticket: Ticket,
        /// The answer if the records are committed.
        committed: Box<Response>,
        /// The answer if they could not be.
        failed: Box<Response>,
    },
    /// A request whose answer follows a later write, unless this one fails.
    Part {
        /// The request.
        ticket: Ticket,
        /// The answer then.
        failed: Box<Response>,
    },
    /// The members of a group, for their assignment.
    Assignment {
        /// The group.
        group_id: Str,
        /// The generation that the leader assigned.
        generation_id: GenerationId,
        /// Each member's part.
        assignments: Vec<(Str, Bytes)>,
    },
    /// A classic member that joined a group of the consumer protocol.
    Joined {
        /// The request.
        ticket: Ticket,
        /// The group.
        group_id: Str,
        /// The answer if the records are committed.
        joined: Box<Joined>,
    },
    /// A static member that takes its place again under a new id.
    Returned {
        /// The request.
        ticket: Ticket,
        /// The group.
        group_id: Str,
        /// The answer if the record is committed.
        joined: Box<Joined>,
        /// The member as it was before, and stays if the record cannot be written.
        before: Box<Member>,
    },
    /// A commit of offsets, with what was refused before anything was written.
    Offsets {
        /// The request.
        ticket: Ticket,
        /// A line for each partition that was asked for.
        results: Vec<PartitionResult>,
    },
}

impl Actions {
    /// Has the group's records written.
    pub(crate) fn write(&mut self, records: Vec<Record>, then: Then) {
        self.writes.push(Write { records, author: Author::Group, then, becomes: None });
    }

    /// Has records written of which only those of one part belong together: all at once they need
    /// not fit into a batch (Kafka: a result that is not atomic).
    pub(crate) fn write_apart(&mut self, parts: impl IntoIterator<Item = Vec<Record>>) {
        let rest = self.write_all_but_last(parts, &Then::Nothing);
        if !rest.is_empty() {
            self.write(rest, Then::Nothing);
        }
    }

    /// Has tombstones of offsets written, in as many batches as they need, with the last of them
    /// `last`; and a request answered when all are committed or one could not be written.
    pub(crate) fn write_tombstones(
        &mut self,
        (offsets, last): (Vec<Record>, Vec<Record>),
        ticket: Ticket,
        (committed, failed): (Response, Response),
    ) {
        let (committed, failed) = (Box::new(committed), Box::new(failed));
        let part = Then::Part { ticket, failed: failed.clone() };
        let mut rest = self.write_all_but_last(offsets.into_iter().map(|r| vec![r]), &part);
        rest.extend(last);
        self.write(rest, Then::Reply { ticket, committed, failed });
    }

    /// What would be written last is given back, to be written with something else.
    fn write_all_but_last(
        &mut self,
        parts: impl IntoIterator<Item = Vec<Record>>,
        then: &Then,
    ) -> Vec<Record> {
        let (mut together, mut bytes) = (Vec::new(), 0);
        for part in parts {
            let more: usize = part.iter().map(Record::size_in_bytes).sum();
            if bytes + more > TOGETHER_BYTES && !together.is_empty() {
                self.write(std::mem::take(&mut together), then.clone());
                bytes = 0;
            }
            bytes += more;
            together.extend(part);
        }
        together
    }

    /// Has the records written that make a group of the consumer protocol a classic one.
    pub(crate) fn convert(&mut self, records: Vec<Record>, then: Then, becomes: Box<Downgrade>) {
        let becomes = Some(becomes);
        self.writes.push(Write { records, author: Author::Group, then, becomes });
    }

    /// Answers a request when everything it may tell of is committed.
    pub(crate) fn read(&mut self, ticket: Ticket, response: Response) {
        self.reads.push((ticket, response));
    }

    /// Answers a request now.
    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.replies.push((ticket, response));
    }

    /// Writes the group as it is, for those who load it later.
    pub(crate) fn write_group(&mut self, group: &Group) {
        self.write_group_then(group, Then::Nothing);
    }

    /// The same, and something follows.
    pub(crate) fn write_group_then(&mut self, group: &Group, then: Then) {
        self.write(vec![Record::Group(GroupSnapshot::of(group, &[]))], then);
    }

    /// Writes the group with the leader's assignments; members that it left out get nothing.
    pub(crate) fn write_assignment(&mut self, group: &Group, assignments: &[(Str, Bytes)]) {
        // Should the leader name somebody twice, the first counts.
        let told: HashMap<&Str, &Bytes> =
            assignments.iter().rev().map(|(member_id, part)| (member_id, part)).collect();
        let part =
            |id: &Str| told.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
        let assignments: Vec<(Str, Bytes)> =
            group.members().map(|m| (m.member_id.clone(), part(&m.member_id))).collect();
        self.writes.push(Write {
            records: vec![Record::Group(GroupSnapshot::of(group, &assignments))],
            author: Author::Group,
            then: Then::Assignment {
                group_id: group.group_id.clone(),
                generation_id: group.generation_id(),
                assignments,
            },
            becomes: None,
        });
    }

    pub(crate) fn member_failed(&mut self, group_id: &Str, member_id: &Str) {
        self.failed_members.push((group_id.clone(), member_id.clone()));
    }
}

impl Write {
    /// What a client hears when records could not be written (Kafka:
    /// `CoordinatorOperationExceptionHelper`).
    #[must_use]
    pub fn error_for_clients(&self, error: ErrorCode) -> ErrorCode {
        match error {
            // A transaction's producer is told what is wrong with its transaction.
            ErrorCode::InvalidProducerEpoch | ErrorCode::InvalidTxnState
                if self.author != Author::Group =>
            {
                error
            }
            ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => {
                ErrorCode::NotCoordinator
            }
            ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
            ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
            other => other,
        }
    }
}
