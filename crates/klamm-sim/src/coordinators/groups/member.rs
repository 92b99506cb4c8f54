//! A member of a classic group: what it asks next, and what an answer means to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_coordinator::{TransactionEnd, TransactionalProducer};
use klamm_group_coordinator::{
    FoundOffset, Heartbeat, JoinRequest, Joined, Leaver, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetToCommit, OffsetsOfGroup, PartitionResult, Protocol, Request, Response, Stability,
    SyncRequest, TransactionalCommit,
};
use klamm_model::{ErrorCode, GenerationId, Offset, ProducerEpoch, ProducerId};
use klamm_stdx::Str;

use super::options::Options;
use super::words;
use crate::coordinators::luck::happens;
use crate::random::Seeded;

/// Partitions that the members divide among themselves.
pub(in crate::coordinators) const PARTITIONS: u8 = 4;
pub(in crate::coordinators) const GROUP: &str = "g";
pub(in crate::coordinators) const TOPIC: &str = "in";

/// What a member is about to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinators) enum Step {
    Join,
    Sync(Vec<(Str, Bytes)>),
    Fetch,
    Heartbeat,
    Commit,
    /// In a transaction of its producer.
    CommitInTransaction,
    /// Its producer's transaction is to be committed, or aborted.
    End(Ending),
    Leave,
}

/// How a transaction is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinators) enum Ending {
    Commit,
    Abort,
}

/// What a member learned that the world checks.
#[derive(Debug)]
pub(in crate::coordinators) enum Learned {
    Nothing,
    /// It owns these partitions in this generation.
    Owns(i32, Vec<u8>),
    /// These offsets are committed.
    Committed(Vec<(u8, i64)>),
    /// Another has its name.
    Fenced,
}

/// A member.
#[derive(Debug)]
pub(in crate::coordinators) struct Member {
    pub(in crate::coordinators) index: usize,
    /// Of a static member.
    pub(in crate::coordinators) instance_id: Option<Str>,
    /// Another has been started in its stead.
    pub(in crate::coordinators) is_replaced: bool,
    pub(in crate::coordinators) member_id: Str,
    pub(in crate::coordinators) generation: i32,
    pub(in crate::coordinators) is_alive: bool,
    pub(in crate::coordinators) number: u64,
    pub(in crate::coordinators) step: Step,
    positions: BTreeMap<u8, i64>,
    committing: Vec<(u8, i64)>,
    /// A producer that was fenced, or does not know how it stands, is followed by a new one.
    producers: i64,
    producer_epoch: ProducerEpoch,
    options: Options,
}

/// Of so many steps of a calm member one is a commit at most.
const CALM_COMMITS: usize = 20;
/// More producers than a member ever has.
const PRODUCERS_MAX: i64 = 1_000_000;

impl Member {
    pub(in crate::coordinators) fn new(
        index: usize,
        instance_id: Option<Str>,
        options: Options,
    ) -> Self {
        Self {
            index,
            instance_id,
            is_replaced: false,
            member_id: Str::new(),
            generation: -1,
            is_alive: true,
            number: 0,
            step: Step::Join,
            positions: BTreeMap::new(),
            committing: Vec::new(),
            producers: 0,
            producer_epoch: ProducerEpoch(0),
            options,
        }
    }

    /// The request of its step.
    pub(in crate::coordinators) fn request(&self) -> Request {
        let group = Str::from(GROUP);
        let (member_id, generation_id) = (self.member_id.clone(), GenerationId(self.generation));
        let instance_id = self.instance_id.clone();
        match &self.step {
            Step::Join => Request::Join(group, self.join_request()),
            Step::Sync(assignments) => Request::Sync(
                group,
                SyncRequest {
                    member_id,
                    instance_id,
                    generation_id,
                    protocol_type: None,
                    protocol_name: None,
                    assignments: assignments.clone(),
                },
            ),
            Step::Fetch => {
                let partitions = self.positions.keys().map(|p| i32::from(*p)).collect();
                let asked = vec![(Str::from(TOPIC), partitions)];
                let (asked, stability) = (Some(asked), Stability::Required);
                Request::FetchOffsets(group, OffsetFetch { asked, stability, member: None })
            }
            Step::Heartbeat => {
                Request::Heartbeat(group, Heartbeat { member_id, instance_id, generation_id })
            }
            Step::Commit => Request::CommitOffsets(group, self.commit_request()),
            Step::CommitInTransaction => {
                let (producer, commit) = (self.producer(), self.commit_request());
                let commit = TransactionalCommit { producer, verification: None, commit };
                Request::CommitInTransaction(group, commit)
            }
            // Of the transaction coordinator.
            Step::End(ending) => Request::EndTransaction(TransactionEnd {
                producer: self.producer(),
                is_commit: *ending == Ending::Commit,
                coordinator_epoch: 0,
                transaction_version: 2,
            }),
            Step::Leave => Request::Leave(group, vec![Leaver { member_id, instance_id }]),
        }
    }

    fn join_request(&self) -> JoinRequest {
        JoinRequest {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: Str::from("sim"),
            client_host: Str::from("/sim"),
            session_timeout_ms: self.options.session_ms as i32,
            rebalance_timeout_ms: self.options.rebalance_ms as i32,
            protocol_type: Str::from("consumer"),
            protocols: vec![Protocol { name: Str::from("range"), metadata: words::subscription() }],
            requires_known_member_id: self.index.is_multiple_of(2),
            supports_skipping_assignment: self.index % 4 < 2,
            // The broker makes one up when the request arrives.
            new_member_id: Str::new(),
        }
    }

    fn commit_request(&self) -> OffsetCommit {
        let line = |(partition, offset): &(u8, i64)| OffsetToCommit {
            topic: Str::from(TOPIC),
            topic_id: None,
            partition: i32::from(*partition),
            offset: Offset(*offset),
            leader_epoch: None,
            metadata: Str::new(),
        };
        OffsetCommit {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation_id: GenerationId(self.generation),
            epochs: MemberEpochs::Known,
            retention_ms: None,
            offsets: self.committing.iter().map(line).collect(),
        }
    }

    fn go_on(&mut self, step: Step) {
        self.number += 1;
        self.step = step;
    }

    /// Whoever owns what this member owns: of a static member that comes back it is the same one.
    pub(in crate::coordinators) fn owner(&self) -> Str {
        self.instance_id.as_ref().unwrap_or(&self.member_id).clone()
    }

    fn producer(&self) -> TransactionalProducer {
        let id = ProducerId(self.index as i64 * PRODUCERS_MAX + self.producers);
        TransactionalProducer { id, epoch: self.producer_epoch }
    }

    /// What its producer has begun is left to the transaction coordinator.
    fn abandon_producer(&mut self) {
        if matches!(self.step, Step::CommitInTransaction | Step::End(_)) {
            self.producers += 1;
            self.producer_epoch = ProducerEpoch(0);
        }
    }

    /// It joins again, unless it is told that another has its name for good.
    fn rejoin(&mut self, error: ErrorCode) -> Learned {
        if !keeps_id(error) {
            self.member_id = Str::new();
        }
        self.abandon_producer();
        self.positions.clear();
        self.go_on(Step::Join);
        match error {
            ErrorCode::FencedInstanceId => {
                self.is_alive = !self.is_replaced;
                Learned::Fenced
            }
            _ => Learned::Nothing,
        }
    }

    /// The same again: what was answered says nothing about the group.
    fn again(&mut self) -> Learned {
        let step = self.step.clone();
        self.go_on(step);
        Learned::Nothing
    }

    /// What a member in its generation does next.
    fn work(&mut self, random: &mut Seeded) {
        if happens(random, self.options.leaves) {
            return self.go_on(Step::Leave);
        }
        if self.positions.is_empty() || !happens(random, self.options.commits) {
            return self.go_on(Step::Heartbeat);
        }
        self.committing = self.positions.iter().map(|(p, at)| (*p, at + 1)).collect();
        let is_transactional = happens(random, self.options.transactions);
        self.go_on(if is_transactional { Step::CommitInTransaction } else { Step::Commit });
    }

    /// From now on it does not leave by itself, does nothing for longer than its session, and
    /// commits less.
    pub(in crate::coordinators) fn calm_down(&mut self) {
        (self.options.leaves, self.options.transactions) = (None, None);
        self.options.commits = self.options.commits.map(|n| n.max(CALM_COMMITS));
    }

    /// It gives everything up and leaves.
    pub(in crate::coordinators) fn leave(&mut self) {
        self.positions.clear();
        self.go_on(Step::Leave);
    }

    /// What it has, as far as it knows.
    pub(in crate::coordinators) fn has(&self) -> impl Iterator<Item = u8> {
        self.positions.keys().copied()
    }

    /// The answer to its current request. It asks the same again if that says nothing.
    pub(in crate::coordinators) fn on_answer(
        &mut self,
        response: Response,
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        match (&self.step, response) {
            (Step::Join, Response::Join(joined)) => self.on_joined(joined, random),
            (Step::Sync(_), Response::Sync(synced)) if synced.error.is_none() => {
                let owned = words::partitions(&synced.assignment)?;
                self.positions = owned.iter().map(|partition| (*partition, 0)).collect();
                self.go_on(if owned.is_empty() { Step::Heartbeat } else { Step::Fetch });
                Ok(Learned::Owns(self.generation, owned))
            }
            (Step::Sync(_), Response::Sync(synced)) => self.on_error(synced.error),
            (Step::Fetch, Response::FetchOffsets(found)) => {
                let found = found.map_err(|error| format!("offsets are refused: {error}"))?;
                self.on_found(&found, random)
            }
            (Step::Heartbeat, Response::Heartbeat(ErrorCode::None)) => {
                self.work(random);
                Ok(Learned::Nothing)
            }
            (Step::Heartbeat, Response::Heartbeat(error)) => self.on_error(error),
            (Step::Commit | Step::CommitInTransaction, Response::CommitOffsets(lines)) => {
                self.on_committed(&lines, random)
            }
            (Step::End(ending), Response::EndTransaction(code)) => {
                let ending = *ending;
                Ok(self.on_ended(ending, code))
            }
            (Step::Leave, Response::Leave(Err(error))) if is_passing(error) => Ok(self.again()),
            (Step::Leave, Response::Leave(_)) => Ok(self.rejoin(ErrorCode::UnknownMemberId)),
            (_, Response::Unavailable(_)) => Ok(self.again()),
            (step, other) => Err(format!("{other:?} is no answer to {step:?}")),
        }
    }

    /// An error to a join, a sync or a heartbeat.
    fn on_error(&mut self, error: ErrorCode) -> Result<Learned, String> {
        match error {
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::IllegalGeneration
            | ErrorCode::RebalanceInProgress
            | ErrorCode::UnknownServerError => Ok(self.rejoin(error)),
            error if is_passing(error) && self.step == Step::Heartbeat => Ok(self.again()),
            error if is_passing(error) => Ok(self.rejoin(error)),
            other => Err(format!("{other} is no answer to {:?}", self.step)),
        }
    }

    fn on_found(&mut self, found: &OffsetsOfGroup, random: &mut Seeded) -> Result<Learned, String> {
        let lines = found.topics.first().map_or(&[][..], |(_, lines)| lines);
        if lines.iter().any(|(_, offset)| *offset == FoundOffset::Unstable) {
            return Ok(self.again());
        }
        for (partition, offset) in lines {
            let partition = u8::try_from(*partition).map_err(|error| error.to_string())?;
            let at = match offset {
                FoundOffset::Committed(offset) => offset.offset.0,
                FoundOffset::None | FoundOffset::Unstable => 0,
            };
            self.positions.insert(partition, at);
        }
        self.work(random);
        Ok(Learned::Nothing)
    }

    fn on_committed(
        &mut self,
        lines: &[PartitionResult],
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        let error = lines.first().map_or(ErrorCode::UnknownServerError, |line| line.error);
        let is_transactional = self.step == Step::CommitInTransaction;
        match error {
            ErrorCode::None if is_transactional => {
                let ending = if random.one_in(4) { Ending::Abort } else { Ending::Commit };
                self.go_on(Step::End(ending));
                Ok(Learned::Nothing)
            }
            ErrorCode::None => Ok(self.has_committed()),
            ErrorCode::ConcurrentTransactions => Ok(self.again()),
            error if is_passing(error) => Ok(self.again()),
            ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidTxnState
            | ErrorCode::ProducerFenced
            | ErrorCode::UnknownServerError => {
                self.abandon_producer();
                self.go_on(Step::Fetch);
                Ok(Learned::Nothing)
            }
            // Where the group was forgotten nobody is a member.
            ErrorCode::GroupIdNotFound => Ok(self.rejoin(ErrorCode::UnknownMemberId)),
            error => self.on_error(error),
        }
    }

    /// Clients say that they are there whatever else they do: it does so next.
    fn has_committed(&mut self) -> Learned {
        self.positions.extend(self.committing.iter().copied());
        self.go_on(Step::Heartbeat);
        Learned::Committed(std::mem::take(&mut self.committing))
    }

    fn on_ended(&mut self, ending: Ending, code: ErrorCode) -> Learned {
        match code {
            ErrorCode::ConcurrentTransactions => return self.again(),
            ErrorCode::None => self.producer_epoch = self.producer_epoch.next(),
            _ => {
                self.abandon_producer();
                self.go_on(Step::Fetch);
                return Learned::Nothing;
            }
        }
        if ending == Ending::Commit {
            return self.has_committed();
        }
        self.go_on(Step::Heartbeat);
        Learned::Nothing
    }

    fn on_joined(&mut self, joined: Joined, random: &mut Seeded) -> Result<Learned, String> {
        match joined.error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id = joined.member_id;
                self.go_on(Step::Join);
                return Ok(Learned::Nothing);
            }
            error => return self.on_error(error),
        }
        self.generation = joined.generation_id.0;
        self.member_id = joined.member_id;
        let mut parts: Vec<(Str, Vec<u8>)> =
            joined.members.into_iter().map(|m| (m.member_id, Vec::new())).collect();
        if !parts.is_empty() {
            let (first, n) = (random.below(parts.len()), parts.len());
            for partition in 0..PARTITIONS {
                parts[(first + usize::from(partition)) % n].1.push(partition);
            }
        }
        let assignments =
            parts.into_iter().map(|(id, part)| (id, words::assignment(&part))).collect();
        self.go_on(Step::Sync(assignments));
        Ok(Learned::Nothing)
    }
}

/// Whether a member that joins again after this error is who it was.
fn keeps_id(error: ErrorCode) -> bool {
    !matches!(
        error,
        ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::UnknownServerError
    )
}

/// What a client asks again after, perhaps of another coordinator.
fn is_passing(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
    )
}
