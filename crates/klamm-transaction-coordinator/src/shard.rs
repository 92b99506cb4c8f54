//! One shard: the transactional ids whose names hash to one partition of `__transaction_state`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use klamm_env::Moment;
use klamm_model::{ErrorCode, ProducerId, Timestamp, TopicPartition};
use klamm_stdx::Str;

use crate::actions::{Actions, MarkersToWrite, Then, Write, error_for_clients};
use crate::ends::{End, decide};
use crate::figures::{Figures, Tally};
use crate::record::Record;
use crate::request::{
    DescribedTransaction, ListedTransaction, ProducerIdAndEpoch, Request, Response,
    TransactionFilter,
};
use crate::state::State;
use crate::transaction::{Init, NotYet, Outcome, Protocol, Transaction};
use klamm_coordinator::{CoordinatorBug, Ticket, Time, is_seeded};

/// Requests of one transactional id that may wait for its markers; more are sent away.
const PARKED_MAX: usize = 8;
/// Ids that are forgotten with one append.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// The broker's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub remove_interval_ms: u64,
    /// How long a request waits for markers (`add.partitions.to.txn.retry.backoff.max.ms`).
    pub wait_ms: u64,
    /// Transactional ids of one shard; a new one takes the place of the one idle for longest.
    pub ids_max: usize,
}

/// A request that waits until the markers of its transactional id are written.
#[derive(Debug)]
struct Parked {
    request: Request,
    ticket: Ticket,
    until: Moment,
}

/// What EndTxn wants.
struct Ending {
    producer: ProducerIdAndEpoch,
    how: (Outcome, Protocol),
    fresh: Option<ProducerId>,
}

/// The transactional ids of one shard.
#[derive(Debug)]
pub struct TransactionShard {
    transactions: HashMap<Str, Transaction>,
    /// Open ones, by when they are aborted.
    deadlines: BTreeSet<(Timestamp, Str)>,
    /// Idle ones, by their last change.
    idle: BTreeSet<(Timestamp, Str)>,
    parked: HashMap<Str, Vec<Parked>>,
    /// Those whose markers are written, which could not be written down.
    unfinished: BTreeSet<Str>,
    limits: Limits,
    coordinator_epoch: i32,
    look_at: Option<Moment>,
    remove_at: Option<Moment>,
    tally: Tally,
}

impl TransactionShard {
    /// An empty shard.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            transactions: HashMap::new(),
            deadlines: BTreeSet::new(),
            idle: BTreeSet::new(),
            parked: HashMap::new(),
            unfinished: BTreeSet::new(),
            limits,
            coordinator_epoch: -1,
            look_at: None,
            remove_at: None,
            tally: Tally::default(),
        }
    }

    /// The same, counted among the figures of its broker.
    #[must_use]
    pub fn counted_in(self, figures: Arc<Figures>) -> Self {
        assert!(self.transactions.is_empty(), "it is counted from its first id on");
        Self { tally: Tally::of(figures), ..self }
    }

    /// A transactional id, for tests and metrics.
    #[must_use]
    pub fn transaction(&self, transactional_id: &str) -> Option<&Transaction> {
        self.transactions.get(transactional_id)
    }

    /// Every transactional id.
    pub fn transactions(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.transactions.iter()
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
                if self.is_preparing(transactional_id) =>
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
                match self.add(&transactional_id, producer, partitions, now) {
                    Ok(Some(next)) => {
                        let then = Then::Reply(ticket, Response::Added(ErrorCode::None));
                        actions.write(&transactional_id, Some(next), then);
                    }
                    Ok(None) => actions.read(ticket, Response::Added(ErrorCode::None)),
                    Err(code) => actions.read(ticket, Response::Added(code)),
                }
            }
            Request::Verify { transactional_id, producer, partitions } => {
                let verified = self.verify(&transactional_id, producer, partitions);
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
            Request::Describe(id) => actions.read(ticket, Response::Described(self.describe(&id))),
            Request::List(filter) => {
                actions.read(ticket, Response::Listed(self.list(&filter, time.wall)));
            }
        }
    }

    fn is_preparing(&self, transactional_id: &Str) -> bool {
        let found = self.transactions.get(transactional_id);
        found.is_some_and(|transaction| transaction.state.preparing().is_some())
    }

    /// Lets a request wait for the markers of its transactional id.
    fn park(
        &mut self,
        time: Time,
        (id, request, ticket): (&Str, Request, Ticket),
        actions: &mut Actions,
    ) {
        let parked = self.parked.entry(id.clone()).or_default();
        if parked.len() >= PARKED_MAX || self.limits.wait_ms == 0 {
            let concurrent = refusal(&request, ErrorCode::ConcurrentTransactions);
            return actions.reply(ticket, concurrent);
        }
        parked.push(Parked { request, ticket, until: time.now.plus_ms(self.limits.wait_ms) });
    }

    fn on_init(
        &mut self,
        time: Time,
        (id, init): (&Str, Init),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let refuse = |code| Response::Init(Err(code));
        if id.is_empty() {
            return actions.reply(ticket, refuse(ErrorCode::InvalidRequest));
        }
        if init.timeout_ms <= 0 || init.timeout_ms > self.limits.timeout_ms_max {
            return actions.reply(ticket, refuse(ErrorCode::InvalidTransactionTimeout));
        }
        let Some(known) = self.transactions.get(id) else {
            return self.on_new_id((id, init), ticket, actions);
        };
        if init.expected.is_some_and(|expected| !known.knows(expected)) {
            return actions.read(ticket, refuse(ErrorCode::ProducerFenced));
        }
        if known.state == State::Ongoing {
            let is_known = |expected: ProducerIdAndEpoch| {
                expected == known.producer || Some(expected.epoch) == known.last_epoch
            };
            if !init.expected.is_none_or(is_known) {
                return actions.read(ticket, refuse(ErrorCode::ProducerFenced));
            }
            // Its open transaction is aborted first, and the request goes on from there.
            let fenced = known.fence(time.wall);
            let request = Request::Init {
                transactional_id: id.detached(),
                timeout_ms: init.timeout_ms,
                expected: init.expected.map(|_| fenced.producer),
                fresh: init.fresh,
            };
            actions.write(id, Some(fenced), Then::Nothing);
            return self.park(time, (&id.detached(), request, ticket), actions);
        }
        match known.init(init) {
            Ok(next) => {
                let then = Then::Reply(ticket, Response::Init(Ok(next.producer)));
                actions.write(id, Some(next), then);
            }
            Err(NotYet::NeedsProducerId) => actions.reply(ticket, Response::NeedsProducerId),
            Err(NotYet::Refused(code)) => actions.read(ticket, refuse(code)),
        }
    }

    /// A transactional id that nobody has used, or not for long: it gets a producer id.
    fn on_new_id(&mut self, (id, init): (&Str, Init), ticket: Ticket, actions: &mut Actions) {
        let Some(fresh) = init.fresh else {
            return actions.reply(ticket, Response::NeedsProducerId);
        };
        if self.transactions.len() >= self.limits.ids_max {
            let Some((_, oldest)) = self.idle.first() else {
                let full = Response::Init(Err(ErrorCode::CoordinatorNotAvailable));
                return actions.reply(ticket, full);
            };
            actions.write(&oldest.clone(), None, Then::Nothing);
        }
        let new = Transaction::new(fresh, init.timeout_ms, init.now);
        let then = Then::Reply(ticket, Response::Init(Ok(new.producer)));
        actions.write(id, Some(new), then);
    }

    /// The transaction with more partitions; `None` if it has them.
    fn add(
        &self,
        id: &Str,
        producer: ProducerIdAndEpoch,
        partitions: Vec<TopicPartition>,
        (protocol, now): (Protocol, Timestamp),
    ) -> Result<Option<Transaction>, ErrorCode> {
        let known = self.of_producer(id, producer)?;
        let has = |partition: &TopicPartition| known.partitions.contains(partition);
        if known.state == State::Ongoing && partitions.iter().all(has) {
            return Ok(None);
        }
        let detach = |p: TopicPartition| TopicPartition::new(p.topic.detached(), p.partition);
        Ok(Some(known.add(partitions.into_iter().map(detach), (protocol, now))))
    }

    /// The transaction of an id, if this is its producer.
    fn of_producer(
        &self,
        id: &Str,
        producer: ProducerIdAndEpoch,
    ) -> Result<&Transaction, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        match self.transactions.get(id) {
            None => Err(ErrorCode::InvalidProducerIdMapping),
            Some(known) if known.producer.id != producer.id => {
                Err(ErrorCode::InvalidProducerIdMapping)
            }
            Some(known) if known.producer.epoch != producer.epoch => Err(ErrorCode::ProducerFenced),
            Some(known) => Ok(known),
        }
    }

    fn verify(
        &self,
        id: &Str,
        producer: ProducerIdAndEpoch,
        partitions: Vec<TopicPartition>,
    ) -> Vec<(TopicPartition, ErrorCode)> {
        let known = self.of_producer(id, producer);
        let code = |partition: &TopicPartition| match &known {
            Err(code) => *code,
            Ok(known) if known.state.preparing().is_some() => ErrorCode::ConcurrentTransactions,
            Ok(known) if known.partitions.contains(partition) => ErrorCode::None,
            Ok(_) => ErrorCode::TransactionAbortable,
        };
        partitions.into_iter().map(|p| (p.clone(), code(&p))).collect()
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
        let Some(known) = self.transactions.get(id) else {
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
        let Some(known) = self.transactions.get(id).filter(|known| known.producer == producer)
        else {
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
        let Some(known) = self.transactions.get(id) else { return };
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
        let mut waiting = VecDeque::from(self.parked.remove(id).unwrap_or_default());
        let n_writes = actions.writes.len();
        while actions.writes.len() == n_writes
            && let Some(Parked { request, ticket, .. }) = waiting.pop_front()
        {
            self.on_request(time, request, ticket, actions);
        }
        if !waiting.is_empty() {
            let newer = self.parked.entry(id.clone()).or_default();
            newer.splice(..0, waiting);
        }
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
                Some(next) if next.state.is_idle() && self.is_preparing(&id) => {
                    if !is_seeded(CoordinatorBug::RefusedCompletionForgotten) {
                        self.unfinished.insert(id);
                    }
                }
                // Its fence, or nobody's business.
                Some(_) | None => {
                    for Parked { request, ticket, .. } in
                        self.parked.remove(&id).into_iter().flatten()
                    {
                        actions.reply(ticket, refusal(&request, code));
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

    /// Nothing else changes what is known of a transactional id.
    fn put(&mut self, id: &Str, next: Option<Transaction>) {
        if let Some(before) = self.transactions.remove(id) {
            if let Some(at) = before.deadline() {
                self.deadlines.remove(&(at, id.clone()));
            }
            self.idle.remove(&(before.updated_at, id.clone()));
            self.tally.leave(before.state);
        }
        self.unfinished.remove(id);
        let Some(next) = next else { return };
        if let Some(at) = next.deadline() {
            self.deadlines.insert((at, id.clone()));
        }
        if next.state.is_idle() {
            self.idle.insert((next.updated_at, id.clone()));
        }
        self.tally.enter(next.state);
        self.transactions.insert(id.clone(), next);
    }

    /// The log is replayed to its end: what was ending goes on ending.
    pub fn on_loaded(&mut self, time: Time, coordinator_epoch: i32, actions: &mut Actions) {
        self.coordinator_epoch = coordinator_epoch;
        let mut ending: Vec<Str> = self
            .transactions
            .iter()
            .filter(|(_, known)| known.state.preparing().is_some())
            .map(|(id, _)| id.clone())
            .collect();
        ending.sort();
        ending.iter().for_each(|id| self.finish(time, id, actions));
        self.arm(time);
    }

    /// Has itself called when the next transaction is overdue, and no later than Kafka would look.
    fn arm(&mut self, time: Time) {
        let interval_ms = self.limits.abort_interval_ms;
        let later = time.now.plus_ms(interval_ms);
        self.look_at = match self.deadlines.first() {
            // It is overdue: looked at when that was planned, or the last attempt failed.
            Some((at, _)) if *at <= time.wall => Some(self.look_at.unwrap_or(later)),
            Some((at, _)) => {
                let ms = u64::try_from(at.0.saturating_sub(time.wall.0)).unwrap_or(interval_ms);
                Some(time.now.plus_ms(ms.min(interval_ms)))
            }
            None if self.unfinished.is_empty() => None,
            None => Some(later),
        };
        if self.transactions.is_empty() {
            self.remove_at = None;
        } else {
            self.remove_at.get_or_insert(time.now.plus_ms(self.limits.remove_interval_ms));
        }
    }

    /// When the shard wants [`TransactionShard::on_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        let parked = self.parked.values().flatten().map(|parked| parked.until).min();
        [self.look_at, self.remove_at, parked].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, time: Time, actions: &mut Actions) {
        self.parked.retain(|_, waiting| {
            for parked in waiting.extract_if(.., |parked| parked.until <= time.now) {
                let concurrent = refusal(&parked.request, ErrorCode::ConcurrentTransactions);
                actions.reply(parked.ticket, concurrent);
            }
            !waiting.is_empty()
        });
        if self.look_at.is_some_and(|at| at <= time.now) {
            let overdue = self.deadlines.iter().take_while(|(at, _)| *at <= time.wall);
            for (_, id) in overdue {
                if let Some(known) = self.transactions.get(id) {
                    tracing::info!(transactional_id = %id, producer = %known.producer, "a transaction was open for longer than its timeout and is aborted");
                    actions.write(id, Some(known.fence(time.wall)), Then::Nothing);
                }
            }
            for id in std::mem::take(&mut self.unfinished) {
                self.finish(time, &id, actions);
            }
            self.look_at = Some(time.now.plus_ms(self.limits.abort_interval_ms));
            self.arm(time);
        }
        if self.remove_at.is_some_and(|at| at <= time.now) {
            self.forget_expired(time, actions);
            self.remove_at = Some(time.now.plus_ms(self.limits.remove_interval_ms));
        }
    }

    /// Ids that were idle for `transactional.id.expiration.ms` are forgotten.
    fn forget_expired(&self, time: Time, actions: &mut Actions) {
        let is_expired =
            |at: Timestamp| time.wall.0.saturating_sub(at.0) >= self.limits.expiration_ms;
        let expired: Vec<(Str, Option<Transaction>)> = self
            .idle
            .iter()
            .take_while(|(at, _)| is_expired(*at))
            .map(|(_, id)| (id.clone(), None))
            .collect();
        for changes in expired.chunks(FORGOTTEN_AT_ONCE) {
            actions.writes.push(Write { changes: changes.to_vec(), then: Then::Nothing });
        }
    }

    fn describe(&self, id: &Str) -> Option<Box<DescribedTransaction>> {
        let known = self.transactions.get(id)?;
        Some(Box::new(DescribedTransaction {
            state: known.state,
            timeout_ms: known.timeout_ms,
            started_at: known.started_at,
            producer: known.producer,
            partitions: known.partitions.iter().cloned().collect(),
        }))
    }

    fn list(&self, filter: &TransactionFilter, now: Timestamp) -> Vec<ListedTransaction> {
        let is_wanted = |known: &Transaction| {
            let open_ms = now.0.saturating_sub(known.started_at.map_or(-1, |at| at.0));
            (filter.states.is_empty() || filter.states.contains(&known.state))
                && (filter.producer_ids.is_empty()
                    || filter.producer_ids.contains(&known.producer.id))
                && filter.longer_than_ms.is_none_or(|ms| open_ms > ms)
        };
        let wanted = self.transactions.iter().filter(|(_, known)| is_wanted(known));
        let line = |(id, known): (&Str, &Transaction)| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: known.producer.id,
            state: known.state,
        };
        wanted.map(line).collect()
    }
}

/// The refusal of a request that waits.
fn refusal(request: &Request, code: ErrorCode) -> Response {
    match request {
        Request::Init { .. } => Response::Init(Err(code)),
        Request::AddPartitions { .. } => Response::Added(code),
        _ => Response::Unavailable(code),
    }
}
