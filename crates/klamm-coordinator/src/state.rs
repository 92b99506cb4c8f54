//! One shard with its log: what is loaded, what waits for its commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use klamm_env::Moment;
use klamm_model::{ErrorCode, Offset};
use tokio::sync::oneshot;

use crate::shard::{Outcome, PartitionLog, Shard, Ticket, Time};

/// Requests that may wait for answers in one shard; more are told to come back.
const WAITING_MAX: usize = 100_000;

/// A shard of this broker.
pub(crate) struct ShardState<S: Shard> {
    shard: S,
    log: Arc<dyn PartitionLog>,
    /// Where loading has come to; `None` once it is done.
    loading: Option<Offset>,
    waiting: HashMap<Ticket, oneshot::Sender<S::Response>>,
    next_ticket: u64,
    /// Appended, with the offset that the high watermark must reach.
    uncommitted: VecDeque<(Offset, S::Write)>,
}

impl<S: Shard> ShardState<S> {
    pub(crate) fn new(shard: S, log: Arc<dyn PartitionLog>) -> Self {
        let loading = Some(log.log_start_offset());
        Self {
            shard,
            log,
            loading,
            waiting: HashMap::new(),
            next_ticket: 0,
            uncommitted: VecDeque::new(),
        }
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Loads the next part of the log.
    ///
    /// # Errors
    /// The log cannot be read; the shard must not serve.
    pub(crate) fn load_some(&mut self, time: Time) -> Result<(), ErrorCode> {
        let Some(at) = self.loading else { return Ok(()) };
        if at >= self.log.log_end_offset() {
            self.loading = None;
            self.shard.on_loaded(time);
            return Ok(());
        }
        let chunk = self.log.read(at)?;
        chunk.records.into_iter().for_each(|record| self.shard.replay(record));
        self.loading = Some(chunk.next_offset.max(at.plus(1)));
        Ok(())
    }

    pub(crate) fn on_request(
        &mut self,
        time: Time,
        request: S::Request,
        reply: oneshot::Sender<S::Response>,
    ) {
        let refusal = if !self.log.is_leader() {
            Some(ErrorCode::NotCoordinator)
        } else if self.is_loading() || self.waiting.len() >= WAITING_MAX {
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
    }

    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        if self.is_loading() { None } else { self.shard.next_timeout() }
    }

    pub(crate) fn on_time(&mut self, time: Time) {
        if self.next_timeout().is_some_and(|at| at <= time.now) {
            let mut actions = S::Actions::default();
            self.shard.on_timeout(time, &mut actions);
            self.act(time, actions.into());
        }
    }

    /// Tells the shard of everything that is committed by now.
    pub(crate) fn on_high_watermark(&mut self, time: Time) {
        let high_watermark = self.log.high_watermark();
        while let Some((end, _)) = self.uncommitted.front() {
            if *end > high_watermark && self.log.is_leader() {
                return;
            }
            let Some((end, write)) = self.uncommitted.pop_front() else { return };
            let mut actions = S::Actions::default();
            if end <= high_watermark {
                self.shard.on_committed(time, write, &mut actions);
            } else {
                self.shard.on_failed(time, write, ErrorCode::NotLeaderOrFollower, &mut actions);
            }
            self.act(time, actions.into());
        }
    }

    /// Sends answers and appends records. What a failed append makes the shard want is done too.
    fn act(&mut self, time: Time, outcome: Outcome<S::Response, S::Write>) {
        let mut outcomes = VecDeque::from([outcome]);
        while let Some(Outcome { replies, writes }) = outcomes.pop_front() {
            for (ticket, response) in replies {
                if let Some(reply) = self.waiting.remove(&ticket) {
                    answer(reply, response);
                }
            }
            for write in writes {
                let appended =
                    S::records(&write).and_then(|records| self.log.append(&records, time.wall));
                match appended {
                    Ok(end) => self.uncommitted.push_back((end, write)),
                    Err(error) => {
                        tracing::warn!(log = ?self.log, %error, "a coordinator's records could not be appended");
                        let mut actions = S::Actions::default();
                        self.shard.on_failed(time, write, error, &mut actions);
                        outcomes.push_back(actions.into());
                    }
                }
            }
        }
    }

    /// The shard moves away: whoever waits is told.
    pub(crate) fn unload(mut self) {
        let mut actions = S::Actions::default();
        self.shard.on_unload(&mut actions);
        let Outcome { replies, .. } = actions.into();
        for (ticket, response) in replies {
            if let Some(reply) = self.waiting.remove(&ticket) {
                answer(reply, response);
            }
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
