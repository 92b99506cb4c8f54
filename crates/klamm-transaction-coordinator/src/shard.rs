//! One shard: the transactional ids whose names hash to one partition of `__transaction_state`.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_coordinator::{CoordinatorBug, Ticket, Time, is_seeded};
use klamm_env::Moment;
use klamm_model::{ErrorCode, ProducerId};
use klamm_stdx::Str;

use crate::actions::{Actions, MarkersToWrite, Then, Write, error_for_clients};
use crate::ends::{End, decide};
use crate::figures::{Figures, Tally};
use crate::ids::TransactionalIds;
use crate::limits::Limits;
use crate::parked::{Parked, Waiting};
use crate::producer::{Outcome, ProducerIdAndEpoch, Protocol};
use crate::record::Record;
use crate::request::{Request, Response};
use crate::timers::{Due, Timers};
use crate::transaction::{Init, NotYet, Transaction};

/// Ids that are forgotten with one append.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// What EndTxn wants.
struct Ending {
    producer: ProducerIdAndEpoch,
    how: (Outcome, Protocol),
    fresh: Option<ProducerId>,
}

/// The transactional ids of one shard.
#[derive(Debug)]
pub struct TransactionShard {
    pub(crate) ids: TransactionalIds,
    parked: Parked,
    /// Those whose markers are written, which could not be written down.
    unfinished: BTreeSet<Str>,
    pub(crate) limits: Limits,
    coordinator_epoch: i32,
    timers: Timers,
}

impl TransactionShard {
    /// An empty shard.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            ids: TransactionalIds::default(),
            parked: Parked::default(),
            unfinished: BTreeSet::new(),
            limits,
            coordinator_epoch: -1,
            timers: Timers::default(),
        }
    }

    /// The same, counted among the figures of its broker.
    #[must_use]
    pub fn counted_in(self, figures: Arc<Figures>) -> Self {
        assert!(self.ids.is_empty(), "it is counted from its first id on");
        Self { ids: TransactionalIds::counted_by(Tally::of(figures)), ..self }
    }

    /// A transactional id, for tests and metrics.
    #[must_use]
    pub fn transaction(&self, transactional_id: &str) -> Option<&Transaction> {
        self.ids.get(transactional_id)
    }

    /// Every transactional id.
    pub fn transactions(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.ids.iter()
    }

    /// A request arrived.
    pub fn on_request(
        &mut self,
        time: Time,
        request: Request,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        match request {
            Request::Init { ref transactional_id, .. }
            | Request::AddPartitions { ref transactional_id, .. }
                if self.ids.is_preparing(transactional_id) =>
            {
                let id = transactional_id.detached();
                self.park(time, (&id, request, ticket), actions);
            }
            Request::Init { transactional_id, timeout_ms, expected, fresh } => {
                let init = Init { timeout_ms, expected, fresh, now: time.wall };
                self.on_init(time, (&transactional_id, init), ticket, actions);
            }
            Request::AddPartitions { transactional_id, producer, partitions, protocol } => {
                let now = (protocol, time.wall);
                match self.ids.add(&transactional_id, producer, partitions, now) {
                    Ok(Some(next)) => {
                        let then = Then::Reply(ticket, Response::Added(ErrorCode::None));
                        actions.write(&transactional_id, Some(next), then);
                    }
                    Ok(None) => actions.read(ticket, Response::Added(ErrorCode::None)),
                    Err(code) => actions.read(ticket, Response::Added(code)),
                }
            }
            Request::Verify { transactional_id, producer, partitions } => {
                let verified = self.ids.verify(&transactional_id, producer, partitions);
                actions.read(ticket, Response::Verified(verified));
            }
            Request::End { transactional_id, producer, outcome, protocol, fresh } => {
                let end = Ending { producer, how: (outcome, protocol), fresh };
                self.on_end(time, (&transactional_id, end), ticket, actions);
            }
            Request::MarkersWritten { transactional_id, producer, coordinator_epoch } => {
                if coordinator_epoch == self.coordinator_epoch {
                    self.on_markers_written(time, &transactional_id, producer, actions);
                }
                actions.reply(ticket, Response::Done);
            }
            Request::Describe(id) => {
                actions.read(ticket, Response::Described(self.ids.describe(&id)));
            }
            Request::List(filter) => {
                actions.read(ticket, Response::Listed(self.ids.list(&filter, time.wall)));
            }
        }
    }

    /// Lets a request wait for the markers of its transactional id.
    pub(crate) fn park(
        &mut self,
        time: Time,
        (id, request, ticket): (&Str, Request, Ticket),
        actions: &mut Actions,
    ) {
        let wait = (time, self.limits.wait_ms);
        if let Err((ticket, refusal)) = self.parked.park(id, (request, ticket), wait) {
            actions.reply(ticket, refusal);
        }
    }

    fn on_end(
        &mut self,
        time: Time,
        (id, Ending { producer, how, fresh }): (&Str, Ending),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let refuse = |code| Response::Ended(Err(code));
        if id.is_empty() {
            return actions.reply(ticket, refuse(ErrorCode::InvalidRequest));
        }
        let Some(known) = self.ids.get(id) else {
            return actions.read(ticket, refuse(ErrorCode::InvalidProducerIdMapping));
        };
        match decide(known, producer, how) {
            End::Refuse(code) => actions.read(ticket, refuse(code)),
            End::Repeat => actions.read(ticket, Response::Ended(Ok(known.producer))),
            End::Prepare => match known.prepare(how, fresh, time.wall) {
                Ok(next) => {
                    let then = Then::Reply(ticket, Response::Ended(Ok(next.next_producer())));
                    actions.write(id, Some(next), then);
                }
                Err(NotYet::NeedsProducerId) => actions.reply(ticket, Response::NeedsProducerId),
                Err(NotYet::Refused(code)) => actions.read(ticket, refuse(code)),
            },
        }
    }

    fn on_markers_written(
        &mut self,
        time: Time,
        id: &Str,
        producer: ProducerIdAndEpoch,
        actions: &mut Actions,
    ) {
        let Some(known) = self.ids.get(id).filter(|known| known.producer == producer) else {
            return;
        };
        if let Some(outcome) = known.state.preparing() {
            actions.write(id, Some(known.complete(outcome, time.wall)), Then::Nothing);
            if is_seeded(CoordinatorBug::MarkersWrittenTwice) {
                self.finish(time, id, actions);
            }
        }
    }

    /// Has the markers of an ended transaction written; one without partitions is complete.
    fn finish(&self, time: Time, id: &Str, actions: &mut Actions) {
        let Some(known) = self.ids.get(id) else { return };
        let Some(outcome) = known.state.preparing() else { return };
        if known.partitions.is_empty() {
            return actions.write(id, Some(known.complete(outcome, time.wall)), Then::Nothing);
        }
        actions.markers.push(MarkersToWrite {
            transactional_id: id.clone(),
            producer: known.producer,
            outcome,
            partitions: known.partitions.iter().cloned().collect(),
            coordinator_epoch: self.coordinator_epoch,
            protocol: known.protocol,
        });
    }

    /// A write is in the log: it is what later requests see.
    pub fn on_appended(&mut self, time: Time, write: &Write, actions: &mut Actions) {
        for (id, next) in &write.changes {
            self.put(id, next.clone());
            let is_over = next.as_ref().is_none_or(|next| next.state.preparing().is_none());
            if is_over {
                self.resume(time, id, actions);
            }
        }
        self.arm(time);
    }

    /// The markers of a transactional id are written: those who waited go on, up to the first whose
    /// request changes something. The others have to see that change, so they wait for it.
    fn resume(&mut self, time: Time, id: &Str, actions: &mut Actions) {
        let mut waiting = self.parked.take(id).into_iter();
        let n_writes = actions.writes.len();
        while actions.writes.len() == n_writes
            && let Some(Waiting { request, ticket, .. }) = waiting.next()
        {
            self.on_request(time, request, ticket, actions);
        }
        self.parked.put_back(id, waiting);
    }

    /// A write is committed: whoever waits is answered, and markers go out.
    pub fn on_committed(&mut self, time: Time, write: Write, actions: &mut Actions) {
        for (id, next) in &write.changes {
            if next.as_ref().is_some_and(|next| next.state.preparing().is_some()) {
                self.finish(time, id, actions);
            }
        }
        if let Then::Reply(ticket, response) = write.then {
            actions.reply(ticket, response);
        }
    }

    /// A write could not be made: nothing of it happened.
    pub fn on_failed(&mut self, time: Time, write: Write, error: ErrorCode, actions: &mut Actions) {
        let code = error_for_clients(error);
        for (id, next) in write.changes {
            match next {
                Some(next) if next.state.is_idle() && self.ids.is_preparing(&id) => {
                    if !is_seeded(CoordinatorBug::RefusedCompletionForgotten) {
                        self.unfinished.insert(id);
                    }
                }
                // Its fence, or nobody's business.
                Some(_) | None => {
                    for waiting in self.parked.take(&id) {
                        let refusal = waiting.refusal(code);
                        actions.reply(waiting.ticket, refusal);
                    }
                }
            }
        }
        if let Then::Reply(ticket, response) = write.then {
            actions.reply(ticket, response.refused(code));
        }
        self.arm(time);
    }

    /// A record of the log, while the shard is loaded.
    pub fn replay(&mut self, mut record: Record) {
        if is_seeded(CoordinatorBug::EpochReusedAfterRestart)
            && let Some(known) = record.transaction.as_mut().filter(|t| t.producer.epoch.0 > 0)
        {
            known.producer.epoch.0 -= 1;
        }
        self.put(&record.transactional_id, record.transaction);
    }

    fn put(&mut self, id: &Str, next: Option<Transaction>) {
        self.unfinished.remove(id);
        self.ids.put(id, next);
    }

    /// The log is replayed to its end: what was ending goes on ending.
    pub fn on_loaded(&mut self, time: Time, coordinator_epoch: i32, actions: &mut Actions) {
        self.coordinator_epoch = coordinator_epoch;
        self.ids.preparing().iter().for_each(|id| self.finish(time, id, actions));
        self.arm(time);
    }

    fn arm(&mut self, time: Time) {
        let due = Due {
            deadline: self.ids.next_deadline(),
            has_unfinished: !self.unfinished.is_empty(),
            has_ids: !self.ids.is_empty(),
        };
        self.timers.arm(time, due, &self.limits);
    }

    /// When the shard wants [`TransactionShard::on_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.timers.next().into_iter().chain(self.parked.next_due()).min()
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, time: Time, actions: &mut Actions) {
        for waiting in self.parked.take_overdue(time.now) {
            let concurrent = waiting.refusal(ErrorCode::ConcurrentTransactions);
            actions.reply(waiting.ticket, concurrent);
        }
        if self.timers.take_look(time.now, &self.limits) {
            for (id, known) in self.ids.overdue(time.wall) {
                tracing::info!(transactional_id = %id, producer = %known.producer, "a transaction was open for longer than its timeout and is aborted");
                actions.write(id, Some(known.fence(time.wall)), Then::Nothing);
            }
            for id in std::mem::take(&mut self.unfinished) {
                self.finish(time, &id, actions);
            }
            self.arm(time);
        }
        if self.timers.take_removal(time.now, &self.limits) {
            self.forget_expired(time, actions);
        }
    }

    /// Ids that were idle for `transactional.id.expiration.ms` are forgotten.
    fn forget_expired(&self, time: Time, actions: &mut Actions) {
        let expired = self.ids.expired(time.wall, self.limits.expiration_ms);
        let expired: Vec<(Str, Option<Transaction>)> =
            expired.map(|id| (id.clone(), None)).collect();
        for changes in expired.chunks(FORGOTTEN_AT_ONCE) {
            actions.writes.push(Write { changes: changes.to_vec(), then: Then::Nothing });
        }
    }
}
