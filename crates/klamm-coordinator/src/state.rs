//! One shard with its log: what is loaded, what waits for its commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use klamm_env::Moment;
use klamm_model::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::oneshot;

use crate::seeded_bugs::{CoordinatorBug, is_seeded};
use crate::shard::{Effects, Outcome, PartitionLog, Shard, Ticket, Time};

/// Requests that may wait for answers in one shard; more are told to come back.
const WAITING_MAX: usize = 100_000;

/// What waits until the log is committed up to some offset.
enum Pending<S: Shard> {
    /// A write.
    Write(S::Write),
    /// An answer that was read from what lies before.
    Read(Ticket, S::Response),
}

/// How far a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The log is read from here on.
    Reading(Offset),
    /// The log is read up to here, and what was read is not all committed.
    Committing(Offset),
    /// It serves.
    Active,
}

/// What an event made a shard want.
type Wanted<S> = Outcome<<S as Shard>::Response, <S as Shard>::Write, <S as Shard>::Effect>;

/// A shard of this broker: what the coordinator's thread does with it, synchronously, so that a
/// simulation can do the same.
pub struct ShardState<S: Shard> {
    shard: S,
    log: Arc<dyn PartitionLog>,
    stage: Stage,
    /// In which this broker led the log when the shard came; in another it is another's.
    epoch: Option<LeaderEpoch>,
    waiting: HashMap<Ticket, oneshot::Sender<S::Response>>,
    next_ticket: u64,
    /// Appended, with the offset that the high watermark must reach.
    uncommitted: VecDeque<(Offset, Pending<S>)>,
    effects: Effects<S::Effect>,
    /// What the shard said when it was last changed.
    timeout: Option<Moment>,
}

impl<S: Shard> std::fmt::Debug for ShardState<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardState").field("log", &self.log).field("stage", &self.stage).finish()
    }
}

impl<S: Shard> ShardState<S> {
    /// A shard over its log, which is to be loaded: see [`ShardState::load_some`].
    #[must_use]
    pub fn new(shard: S, log: Arc<dyn PartitionLog>, effects: Effects<S::Effect>) -> Self {
        let stage = Stage::Reading(log.log_start_offset());
        let epoch = log.leader_epoch();
        Self {
            shard,
            log,
            stage,
            epoch,
            waiting: HashMap::new(),
            next_ticket: 0,
            uncommitted: VecDeque::new(),
            effects,
            timeout: None,
        }
    }

    /// The state machine, to be looked at.
    #[must_use]
    pub fn shard(&self) -> &S {
        &self.shard
    }

    fn is_leader(&self) -> bool {
        self.epoch.is_some() && self.log.leader_epoch() == self.epoch
    }

    /// Whether there is more of the log to read.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading(_))
    }

    /// Loads the next part of the log.
    ///
    /// # Errors
    /// The log cannot be read; the shard must not serve.
    pub fn load_some(&mut self, time: Time) -> Result<(), ErrorCode> {
        let Stage::Reading(at) = self.stage else { return Ok(()) };
        if at >= self.log.log_end_offset() {
            self.stage = Stage::Committing(at);
            self.on_high_watermark(time);
            return Ok(());
        }
        let chunk = self.log.read(at)?;
        chunk.entries.into_iter().for_each(|entry| self.shard.replay(entry));
        self.stage = Stage::Reading(chunk.next_offset.max(at.plus(1)));
        Ok(())
    }

    /// A request arrived; it is answered now, or when what it depends on is committed.
    pub fn on_request(
        &mut self,
        time: Time,
        request: S::Request,
        reply: oneshot::Sender<S::Response>,
    ) {
        let refusal = if !self.is_leader() {
            Some(ErrorCode::NotCoordinator)
        } else if self.stage != Stage::Active || self.waiting.len() >= WAITING_MAX {
            Some(ErrorCode::CoordinatorLoadInProgress)
        } else {
            None
        };
        if let Some(error) = refusal {
            answer(reply, S::unavailable(error));
            return;
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiting.insert(ticket, reply);
        let mut actions = S::Actions::default();
        self.shard.on_request(time, request, ticket, &mut actions);
        self.act(time, actions.into());
        self.timeout = self.shard.next_timeout();
    }

    /// Whether [`ShardState::on_high_watermark`] may have something to do.
    #[must_use]
    pub fn awaits_commit(&self) -> bool {
        !self.uncommitted.is_empty() || matches!(self.stage, Stage::Committing(_))
    }

    /// Tells the shard what everybody is told.
    pub fn on_news(&mut self, news: &S::News) {
        self.shard.on_news(news);
        self.timeout = self.shard.next_timeout();
    }

    /// When [`ShardState::on_time`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        if self.stage == Stage::Active { self.timeout } else { None }
    }

    /// Time has passed.
    pub fn on_time(&mut self, time: Time) {
        if self.next_timeout().is_some_and(|at| at <= time.now) {
            let mut actions = S::Actions::default();
            self.shard.on_timeout(time, &mut actions);
            self.act(time, actions.into());
            self.timeout = self.shard.next_timeout();
        }
    }

    /// Tells the shard of everything that is committed by now.
    pub fn on_high_watermark(&mut self, time: Time) {
        if !self.awaits_commit() {
            return;
        }
        self.tell_committed(time);
        self.timeout = self.shard.next_timeout();
    }

    fn tell_committed(&mut self, time: Time) {
        let high_watermark = self.log.high_watermark();
        if let Some(epoch) = self.epoch
            && matches!(self.stage, Stage::Committing(end) if end <= high_watermark)
        {
            self.stage = Stage::Active;
            let mut actions = S::Actions::default();
            self.shard.on_loaded(time, epoch, &mut actions);
            self.act(time, actions.into());
        }
        while let Some((end, _)) = self.uncommitted.front() {
            if *end > high_watermark && self.is_leader() {
                return;
            }
            let Some((end, pending)) = self.uncommitted.pop_front() else { return };
            let is_committed = end <= high_watermark;
            let mut actions = S::Actions::default();
            match pending {
                Pending::Read(ticket, response) => {
                    let lost = || S::unavailable(ErrorCode::NotCoordinator);
                    self.reply(ticket, if is_committed { response } else { lost() });
                }
                Pending::Write(write) if is_committed => {
                    self.shard.on_committed(time, write, &mut actions);
                }
                Pending::Write(write) => {
                    self.shard.on_failed(time, write, ErrorCode::NotLeaderOrFollower, &mut actions);
                }
            }
            self.act(time, actions.into());
        }
    }

    /// Sends answers and appends records. What that makes the shard want is done too.
    fn act(&mut self, time: Time, wanted: Wanted<S>) {
        let mut queue = VecDeque::from([wanted]);
        while let Some(Outcome { replies, reads, writes, effects }) = queue.pop_front() {
            for (ticket, response) in replies {
                self.reply(ticket, response);
            }
            for write in writes {
                let mut actions = S::Actions::default();
                match S::batch(&write).and_then(|batch| self.log.append(&batch, time.wall)) {
                    Ok(end) => {
                        self.shard.on_appended(time, &write, &mut actions);
                        if is_seeded(CoordinatorBug::AnswerBeforeCommit) {
                            self.shard.on_committed(time, write, &mut actions);
                        } else {
                            self.uncommitted.push_back((end, Pending::Write(write)));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(log = ?self.log, %error, "a coordinator's records could not be appended");
                        self.shard.on_failed(time, write, error, &mut actions);
                    }
                }
                queue.push_back(actions.into());
            }
            for (ticket, response) in reads {
                match self.uncommitted.back() {
                    Some((end, _)) => {
                        let end = *end;
                        self.uncommitted.push_back((end, Pending::Read(ticket, response)));
                    }
                    None => self.reply(ticket, response),
                }
            }
            effects.into_iter().for_each(|effect| (self.effects)(effect));
        }
    }

    fn reply(&mut self, ticket: Ticket, response: S::Response) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            answer(reply, response);
        }
    }

    /// The shard moves away: whoever waits is told.
    pub fn unload(mut self) {
        let mut actions = S::Actions::default();
        self.shard.on_unload(&mut actions);
        let Outcome { replies, .. } = actions.into();
        for (ticket, response) in replies {
            self.reply(ticket, response);
        }
        for (_, reply) in self.waiting.drain() {
            answer(reply, S::unavailable(ErrorCode::NotCoordinator));
        }
    }
}

fn answer<R>(reply: oneshot::Sender<R>, response: R) {
    // The connection may be gone; then nobody wants the answer.
    drop(reply.send(response));
}
