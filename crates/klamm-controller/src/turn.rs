//! One turn of the controller's thread: decide, commit together, publish, answer. Never answers
//! before the commit, and never decides anything again after one failed.

use std::sync::Arc;

use bytes::Bytes;
use klamm_env::{Env, Moment};
use klamm_metadata::{Loader, MetadataHandle, Provenance, Publisher, VersionedRecord};
use klamm_model::{ErrorCode, LeaderEpoch, Offset};

use crate::job::Job;
use crate::{ApiError, Context, Controller};

/// Records after which a turn takes no more requests: a bound for one append.
const RECORDS_PER_TURN: usize = 20_000;

/// The log of metadata records, written by its leader.
pub trait MetadataLog: Send {
    /// Where the next record will be.
    fn next_offset(&self) -> Offset;

    /// The leadership under which records are written.
    fn epoch(&self) -> LeaderEpoch;

    /// Appends batches of framed records, each batch whole or not at all; returns when all are
    /// durable and committed, with the last offset of each.
    ///
    /// # Errors
    /// They are not committed, or nobody knows.
    fn append(&mut self, batches: &[Vec<Bytes>]) -> Result<Vec<Offset>, ErrorCode>;
}

/// What the controller's thread works with.
pub struct ControllerParts {
    /// Clock and random source.
    pub env: Env,
    /// What decides.
    pub controller: Controller,
    /// Where records are committed.
    pub log: Box<dyn MetadataLog>,
    /// Where images are published; what it holds now is where the log has been read to.
    pub metadata: MetadataHandle,
    /// Who is told of each image before the answers, in this order.
    pub publishers: Vec<Box<dyn Publisher>>,
}

/// The controller, its log and its working image.
pub(crate) struct State {
    parts: ControllerParts,
    loader: Loader,
    health: Health,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Working,
    /// The working image may have what the log has not: nothing is decided on it any more.
    Failed,
}

/// What one turn has decided.
#[derive(Default)]
struct Turn {
    batches: Vec<Vec<Bytes>>,
    record_count: usize,
    decided: Vec<Box<dyn Job>>,
}

impl State {
    /// Begins where the published image is.
    pub(crate) fn new(parts: ControllerParts) -> Self {
        let loader = Loader::new(&parts.metadata.image());
        let mut state = Self { parts, loader, health: Health::Working };
        let now = state.now();
        state.parts.controller.on_activation(state.loader.image(), now);
        state
    }

    pub(crate) fn now(&self) -> Moment {
        self.parts.env.clock.now()
    }

    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        match self.health {
            Health::Working => self.parts.controller.next_timeout(self.loader.image()),
            Health::Failed => None,
        }
    }

    /// Decides, commits, publishes and answers as many as fit in one append.
    pub(crate) fn turn(&mut self, waiting: &mut dyn Iterator<Item = Box<dyn Job>>) {
        let mut turn = Turn::default();
        self.fence_silent(&mut turn);
        while turn.record_count < RECORDS_PER_TURN {
            let Some(mut job) = waiting.next() else { break };
            if self.health == Health::Failed {
                job.answer(Err(refusal()));
                continue;
            }
            let sight = Sight { loader: &self.loader, record_count: turn.record_count };
            let records =
                sight.of(&mut self.parts, |controller, context| job.decide(controller, context));
            match self.take(&mut turn, &records) {
                Ok(()) => turn.decided.push(job),
                Err(error) => job.answer(Err(error)),
            }
        }
        let outcome = self.commit(&turn);
        for job in turn.decided {
            job.answer(outcome.clone());
        }
    }

    /// Fences every broker whose session is over.
    fn fence_silent(&mut self, turn: &mut Turn) {
        let now = self.parts.env.clock.now();
        while self.next_timeout().is_some_and(|at| at <= now) {
            let sight = Sight { loader: &self.loader, record_count: turn.record_count };
            let fenced =
                sight.of(&mut self.parts, |controller, context| controller.on_timeout(context));
            let Some(broker) = fenced.response else { break };
            tracing::warn!(%broker, "a broker is silent: fenced");
            if self.take(turn, &fenced.records).is_err() {
                break;
            }
        }
    }

    /// Adds a decision's records to the turn and to the working image.
    fn take(&mut self, turn: &mut Turn, records: &[VersionedRecord]) -> Result<(), ApiError> {
        if records.is_empty() {
            return Ok(());
        }
        let batch: Result<Vec<Bytes>, _> = records.iter().map(VersionedRecord::to_frame).collect();
        let batch = batch.map_err(|error| {
            tracing::error!(%error, "a decision cannot be written: it is not taken");
            ApiError::new(ErrorCode::UnknownServerError, error.to_string())
        })?;
        for record in records {
            if let Err(error) = self.loader.replay(&record.record) {
                // Part of the decision may be in the working image now.
                tracing::error!(%error, "a decision does not fit its own image: the controller stops");
                self.health = Health::Failed;
                return Err(ApiError::new(ErrorCode::UnknownServerError, error.to_string()));
            }
        }
        turn.record_count += batch.len();
        turn.batches.push(batch);
        Ok(())
    }

    fn commit(&mut self, turn: &Turn) -> Result<(), ApiError> {
        if self.health == Health::Failed {
            return Err(refusal());
        }
        if turn.batches.is_empty() {
            return Ok(());
        }
        let offsets = self.parts.log.append(&turn.batches).map_err(|code| {
            tracing::error!(%code, "metadata records are not committed: the controller stops");
            self.health = Health::Failed;
            ApiError::new(code, "the metadata log did not commit the change")
        })?;
        let next_offset = offsets.last().map_or(self.parts.log.next_offset(), |o| o.plus(1));
        self.loader.read_to(Provenance {
            next_offset,
            epoch: self.parts.log.epoch(),
            append_time: self.parts.env.clock.wall(),
        });
        let (image, changes) = self.loader.take();
        self.parts.metadata.publish(Arc::clone(&image));
        for publisher in &mut self.parts.publishers {
            publisher.publish(&changes, &image);
        }
        Ok(())
    }
}

fn refusal() -> ApiError {
    ApiError::new(ErrorCode::NotController, "the controller has stopped after a failure")
}

/// What a decision sees: the working image, `record_count` records after the end of the log.
struct Sight<'a> {
    loader: &'a Loader,
    record_count: usize,
}

impl Sight<'_> {
    fn of<T>(
        &self,
        parts: &mut ControllerParts,
        decide: impl FnOnce(&mut Controller, &Context<'_>) -> T,
    ) -> T {
        let context = Context {
            image: self.loader.image(),
            next_offset: parts.log.next_offset().plus(self.record_count as i64),
            now: parts.env.clock.now(),
            random: &*parts.env.random,
        };
        decide(&mut parts.controller, &context)
    }
}
