//! The transactional ids of a shard, with those that are open by their deadline and those that are
//! idle by their age. Reads requests' answers out of them; changes nothing but by
//! [`TransactionalIds::put`].

use std::collections::{BTreeSet, HashMap};

use klamm_model::{ErrorCode, Timestamp, TopicPartition};
use klamm_stdx::Str;

use crate::figures::Tally;
use crate::producer::{ProducerIdAndEpoch, Protocol};
use crate::request::{DescribedTransaction, ListedTransaction, TransactionFilter};
use crate::state::State;
use crate::transaction::Transaction;

/// The transactional ids of one shard.
#[derive(Debug, Default)]
pub(crate) struct TransactionalIds {
    known: HashMap<Str, Transaction>,
    /// Open ones, by when they are aborted.
    deadlines: BTreeSet<(Timestamp, Str)>,
    /// Idle ones, by their last change.
    idle: BTreeSet<(Timestamp, Str)>,
    tally: Tally,
}

impl TransactionalIds {
    /// None yet, counted by `tally`.
    pub(crate) fn counted_by(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Transaction> {
        self.known.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.known.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Nothing else changes what is known of a transactional id; `None` forgets it.
    pub(crate) fn put(&mut self, id: &Str, next: Option<Transaction>) {
        if let Some(before) = self.known.remove(id) {
            if let Some(at) = before.deadline() {
                self.deadlines.remove(&(at, id.clone()));
            }
            self.idle.remove(&(before.updated_at, id.clone()));
            self.tally.leave(before.state);
        }
        let Some(next) = next else { return };
        if let Some(at) = next.deadline() {
            self.deadlines.insert((at, id.clone()));
        }
        if next.state.is_idle() {
            self.idle.insert((next.updated_at, id.clone()));
        }
        self.tally.enter(next.state);
        self.known.insert(id.clone(), next);
    }

    /// Whether its markers are being written.
    pub(crate) fn is_preparing(&self, id: &Str) -> bool {
        self.known.get(id).is_some_and(|known| known.state.preparing().is_some())
    }

    /// Those whose markers are being written.
    pub(crate) fn preparing(&self) -> Vec<Str> {
        let is_preparing = |known: &Transaction| known.state.preparing().is_some();
        let mut ids: Vec<Str> =
            self.known.iter().filter(|(_, t)| is_preparing(t)).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// When the next open one is to be aborted.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Open ones that are to be aborted by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (&Str, &Transaction)> {
        let overdue = self.deadlines.iter().take_while(move |(at, _)| *at <= now);
        overdue.filter_map(|(_, id)| Some((id, self.known.get(id)?)))
    }

    /// The one that is idle for longest.
    pub(crate) fn oldest_idle(&self) -> Option<&Str> {
        self.idle.first().map(|(_, id)| id)
    }

    /// Those that are idle for `expiration_ms`.
    pub(crate) fn expired(&self, now: Timestamp, expiration_ms: i64) -> impl Iterator<Item = &Str> {
        let is_expired = move |at: Timestamp| now.0.saturating_sub(at.0) >= expiration_ms;
        self.idle.iter().take_while(move |(at, _)| is_expired(*at)).map(|(_, id)| id)
    }

    /// The transaction with more partitions; `None` if it has them.
    pub(crate) fn add(
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
        match self.known.get(id) {
            None => Err(ErrorCode::InvalidProducerIdMapping),
            Some(known) if known.producer.id != producer.id => {
                Err(ErrorCode::InvalidProducerIdMapping)
            }
            Some(known) if known.producer.epoch != producer.epoch => Err(ErrorCode::ProducerFenced),
            Some(known) => Ok(known),
        }
    }

    pub(crate) fn verify(
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

    pub(crate) fn describe(&self, id: &Str) -> Option<Box<DescribedTransaction>> {
        let known = self.known.get(id)?;
        Some(Box::new(DescribedTransaction {
            state: known.state,
            timeout_ms: known.timeout_ms,
            started_at: known.started_at,
            producer: known.producer,
            partitions: known.partitions.iter().cloned().collect(),
        }))
    }

    pub(crate) fn list(
        &self,
        filter: &TransactionFilter,
        now: Timestamp,
    ) -> Vec<ListedTransaction> {
        let is_wanted = |known: &Transaction| {
            let open_ms = now.0.saturating_sub(known.started_at.map_or(-1, |at| at.0));
            (filter.states.is_empty() || filter.states.contains(&known.state))
                && (filter.producer_ids.is_empty()
                    || filter.producer_ids.contains(&known.producer.id))
                && filter.longer_than_ms.is_none_or(|ms| open_ms > ms)
        };
        let wanted = self.known.iter().filter(|(_, known)| is_wanted(known));
        let line = |(id, known): (&Str, &Transaction)| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: known.producer.id,
            state: known.state,
        };
        wanted.map(line).collect()
    }
}
