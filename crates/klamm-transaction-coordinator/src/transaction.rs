//! What is known of one transactional id, and how it goes from one state to the next. Never looks
//! at a clock, never answers.

use std::collections::BTreeSet;

use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use crate::producer::{Outcome, ProducerIdAndEpoch, Protocol};
use crate::state::State;

/// The largest epoch that a producer is given: one more is kept to fence it.
const EPOCH_MAX: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// A transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Whose records belong to it.
    pub producer: ProducerIdAndEpoch,
    /// The epoch before, if the producer may not know yet that it has the next. Not in the log.
    pub last_epoch: Option<ProducerEpoch>,
    /// The producer id before this one, whose epochs were used up.
    pub previous_producer_id: Option<ProducerId>,
    /// The producer id after this one, while the last markers are being written.
    pub next_producer_id: Option<ProducerId>,
    /// How long it may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// The partitions in it.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the first partition came.
    pub started_at: Option<Timestamp>,
    /// When anything of it changed.
    pub updated_at: Timestamp,
    /// The protocol of whoever ended it, or tried to last.
    pub protocol: Protocol,
}

/// What InitProducerId wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    pub(crate) timeout_ms: i32,
    /// What the producer believes to be; `None` for a new instance.
    pub(crate) expected: Option<ProducerIdAndEpoch>,
    /// An id that nobody has, if one is at hand.
    pub(crate) fresh: Option<ProducerId>,
    pub(crate) now: Timestamp,
}

/// Why a transition is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// For this reason, to be told to the client.
    Refused(ErrorCode),
    /// It needs an id that nobody has.
    NeedsProducerId,
}

impl From<ErrorCode> for NotYet {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl Transaction {
    /// The first of a transactional id.
    pub(crate) fn new(id: ProducerId, timeout_ms: i32, now: Timestamp) -> Self {
        Self {
            producer: ProducerIdAndEpoch { id, epoch: ProducerEpoch(0) },
            last_epoch: None,
            previous_producer_id: None,
            next_producer_id: None,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            started_at: None,
            updated_at: now,
            protocol: Protocol::V1,
        }
    }

    /// Whether no further epoch can be given to this producer id.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.producer.epoch >= EPOCH_MAX
    }

    /// Whether `expected` may be this producer: the epoch is looked at later.
    pub(crate) fn knows(&self, expected: ProducerIdAndEpoch) -> bool {
        expected.id == self.producer.id
            || (Some(expected.id) == self.previous_producer_id && expected.epoch >= EPOCH_MAX)
    }

    /// The producer begins a new life (KIP-360).
    pub(crate) fn init(&self, init: Init) -> Result<Self, NotYet> {
        let epoch = self.producer.epoch;
        let is_current = init.expected.is_none_or(|expected| expected.epoch == epoch);
        let next = if self.is_exhausted() && is_current {
            let id = init.fresh.ok_or(NotYet::NeedsProducerId)?;
            Self {
                producer: ProducerIdAndEpoch { id, epoch: ProducerEpoch(0) },
                last_epoch: init.expected.map(|_| epoch),
                previous_producer_id: Some(self.producer.id),
                ..self.clone()
            }
        } else {
            let (next, last) = match init.expected {
                None => (epoch.next(), None),
                Some(expected) if expected.epoch == epoch => (epoch.next(), Some(epoch)),
                // The answer to the same question was lost.
                Some(expected) if Some(expected.epoch) == self.last_epoch => {
                    (epoch, self.last_epoch)
                }
                Some(_) => return Err(ErrorCode::ProducerFenced.into()),
            };
            let producer = ProducerIdAndEpoch { id: self.producer.id, epoch: next };
            Self { producer, last_epoch: last, ..self.clone() }
        };
        Ok(Self {
            state: State::Empty,
            timeout_ms: init.timeout_ms,
            partitions: BTreeSet::new(),
            next_producer_id: None,
            started_at: None,
            updated_at: init.now,
            protocol: Protocol::V1,
            ..next
        })
    }

    /// Partitions come in.
    pub(crate) fn add(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        (protocol, now): (Protocol, Timestamp),
    ) -> Self {
        let mut next = self.clone();
        next.partitions.extend(partitions);
        if self.state != State::Ongoing {
            next.started_at = Some(now);
        }
        next.state = State::Ongoing;
        next.updated_at = now;
        next.protocol = protocol;
        next
    }

    /// It is decided how it ends. With v2 the next transaction has the next epoch, or the next
    /// producer id where there is no further epoch.
    pub(crate) fn prepare(
        &self,
        (outcome, protocol): (Outcome, Protocol),
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Result<Self, NotYet> {
        let mut next = self.clone();
        if protocol == Protocol::V2 {
            if self.is_exhausted() {
                next.next_producer_id = Some(fresh.ok_or(NotYet::NeedsProducerId)?);
            }
            next.last_epoch = Some(self.producer.epoch);
            next.producer.epoch = self.producer.epoch.next();
        }
        next.prepare_as(outcome, protocol, now);
        Ok(next)
    }

    /// It is aborted against its producer's will, which is fenced by the next epoch.
    pub(crate) fn fence(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.producer.epoch = self.producer.epoch.next();
        next.last_epoch = None;
        // Not v2: a question with the epoch before is no repeated one, but of the fenced producer.
        next.prepare_as(Outcome::Abort, Protocol::V1, now);
        next
    }

    fn prepare_as(&mut self, outcome: Outcome, protocol: Protocol, now: Timestamp) {
        self.state = match outcome {
            Outcome::Commit => State::PrepareCommit,
            Outcome::Abort => State::PrepareAbort,
        };
        // One without partitions never began, and every ended one has a time.
        self.started_at.get_or_insert(now);
        self.updated_at = now;
        self.protocol = protocol;
    }

    /// Every partition has its marker.
    pub(crate) fn complete(&self, outcome: Outcome, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.state = match outcome {
            Outcome::Commit => State::CompleteCommit,
            Outcome::Abort => State::CompleteAbort,
        };
        if let Some(id) = next.next_producer_id.take() {
            next.previous_producer_id = Some(self.producer.id);
            next.producer = ProducerIdAndEpoch { id, epoch: ProducerEpoch(0) };
        }
        next.partitions = BTreeSet::new();
        next.updated_at = now;
        next
    }

    /// What its producer uses from the next transaction on.
    pub(crate) fn next_producer(&self) -> ProducerIdAndEpoch {
        match self.next_producer_id {
            Some(id) => ProducerIdAndEpoch { id, epoch: ProducerEpoch(0) },
            None => self.producer,
        }
    }

    /// When it is aborted for having been open too long.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let started_at = self.started_at.filter(|_| self.state == State::Ongoing)?;
        Some(Timestamp(started_at.0.saturating_add(i64::from(self.timeout_ms))))
    }
}
