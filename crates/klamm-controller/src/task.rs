//! The thread that owns the controller: takes what is asked, decides one after another, has all
//! records committed together, publishes, answers. Never answers before the commit, and never
//! decides anything again after one failed.
//!
//! ```text
//!   queue -> decide, replay into the working image (each sees the one before)
//!         -> one append of all records -> publish the image -> answer all
//! ```

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use klamm_env::{Env, Moment, task};
use klamm_metadata::{Loader, MetadataHandle, Provenance, Publisher, VersionedRecord};
use klamm_model::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::mpsc;

use crate::job::Job;
use crate::{ApiError, Context, Controller, ControllerHandle};

/// Requests that wait at most; whoever asks more waits until there is room.
pub const QUEUE_LEN: usize = 1_024;
/// Requests that are committed together at most: a bound for the wait of the first.
const JOBS_PER_TURN: usize = 256;
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

/// Starts the controller's thread; it ends when the last handle is gone.
///
/// # Errors
/// The kernel refused a thread.
pub fn start(parts: ControllerParts) -> io::Result<(ControllerHandle, JoinHandle<()>)> {
    let (sender, queue) = mpsc::channel(QUEUE_LEN);
    let handle = ControllerHandle::new(sender, parts.metadata.clone());
    let thread = task::spawn_thread("klamm-controller", move || {
        let state =
            State { loader: Loader::new(&parts.metadata.image()), parts, health: Health::Working };
        if let Err(error) = task::run_worker(run(state, queue)) {
            tracing::error!(%error, "the controller has no event queue: it does not run");
        }
    })?;
    Ok((handle, thread))
}

struct State {
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

async fn run(mut state: State, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut jobs: Vec<Box<dyn Job>> = Vec::with_capacity(JOBS_PER_TURN);
    loop {
        let timer = sleep_until(state.parts.env.clock.now(), state.next_timeout());
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, JOBS_PER_TURN) => if taken == 0 { return },
            () = timer => {}
        }
        let mut waiting = std::mem::take(&mut jobs).into_iter();
        loop {
            state.turn(&mut waiting);
            if waiting.len() == 0 {
                break;
            }
        }
    }
}

async fn sleep_until(now: Moment, at: Option<Moment>) {
    match at {
        Some(at) => task::sleep(at.since(now)).await,
        None => pending().await,
    }
}

/// What one turn has decided.
#[derive(Default)]
struct Turn {
    batches: Vec<Vec<Bytes>>,
    record_count: usize,
    decided: Vec<Box<dyn Job>>,
}

impl State {
    fn next_timeout(&self) -> Option<Moment> {
        match self.health {
            Health::Working => self.parts.controller.next_timeout(self.loader.image()),
            Health::Failed => None,
        }
    }

    /// Decides, commits, publishes and answers as many as fit in one append.
    fn turn(&mut self, waiting: &mut dyn Iterator<Item = Box<dyn Job>>) {
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
        self.loader.set_provenance(Provenance {
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
