//! What the transaction coordinator does for a group's offsets: it says which transactions are open,
//! ends them when their producers ask or take too long, and has the markers written until they are.
//! With the second protocol each transaction has its own epoch (KIP-890).

use std::collections::BTreeMap;

use klamm_coordinator::{Time, TransactionEnd, TransactionalProducer};
use klamm_group_coordinator::{GroupShard, Request, Response};
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, Verification};
use klamm_records::Producer;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use crate::coordinators::coordinator::Coordinator;
use crate::coordinators::partition::SimPartition;

/// A transaction is aborted after.
pub(super) const TIMEOUT_MS: u64 = 150;
/// A marker that could not be written is written again after.
const RETRY_MS: u64 = 10;
/// The second protocol's level.
const VERSION: i8 = 2;

#[derive(Debug)]
enum State {
    Idle,
    Open,
    Ending { is_commit: bool, again_ms: u64, marker: Option<Receiver<Response>> },
}

#[derive(Debug)]
struct Transaction {
    epoch: ProducerEpoch,
    state: State,
    /// When it began.
    since_ms: u64,
    /// How the one before ended.
    last: Option<bool>,
}

/// Every producer's transaction.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    producers: BTreeMap<ProducerId, Transaction>,
    pub(super) committed: usize,
}

impl Transactions {
    /// A producer wants to write offsets: whether it may, and the proof for the log.
    pub(super) fn admit(
        &mut self,
        producer: TransactionalProducer,
        now_ms: u64,
        (log, time): (&SimPartition, Time),
    ) -> Result<Option<Verification>, ErrorCode> {
        let TransactionalProducer { id, epoch } = producer;
        let writer = Producer { id, epoch, base_sequence: -1 };
        let Some(proof) = log.begin_verification(writer, time.wall) else { return Ok(None) };
        let (epoch_0, state) = (ProducerEpoch(0), State::Idle);
        let fresh = Transaction { epoch: epoch_0, state, since_ms: 0, last: None };
        let known = self.producers.entry(id).or_insert(fresh);
        match known.state {
            _ if known.epoch != epoch => return Err(ErrorCode::ProducerFenced),
            State::Ending { .. } => return Err(ErrorCode::ConcurrentTransactions),
            State::Idle => (known.state, known.since_ms) = (State::Open, now_ms),
            State::Open => {}
        }
        Ok(Some(proof))
    }

    /// A producer ends its transaction; it asks until that is done.
    pub(super) fn end(&mut self, asked: TransactionEnd) -> ErrorCode {
        let TransactionEnd { producer, is_commit, .. } = asked;
        let Some(known) = self.producers.get_mut(&producer.id) else {
            return ErrorCode::InvalidProducerIdMapping;
        };
        if producer.epoch.next() == known.epoch && known.last == Some(is_commit) {
            return ErrorCode::None;
        }
        match known.state {
            _ if producer.epoch != known.epoch => ErrorCode::ProducerFenced,
            State::Idle => ErrorCode::InvalidTxnState,
            State::Open => {
                known.state = State::Ending { is_commit, again_ms: 0, marker: None };
                ErrorCode::ConcurrentTransactions
            }
            State::Ending { .. } => ErrorCode::ConcurrentTransactions,
        }
    }

    /// Time has passed, or something is committed.
    pub(super) fn turn(
        &mut self,
        now_ms: u64,
        (time, coordinator): (Time, &mut Coordinator<GroupShard>),
    ) {
        for (id, known) in &mut self.producers {
            if matches!(known.state, State::Open) && known.since_ms + TIMEOUT_MS <= now_ms {
                known.state = State::Ending { is_commit: false, again_ms: 0, marker: None };
            }
            let State::Ending { is_commit, again_ms, marker } = &mut known.state else { continue };
            let Some(answer) = marker else {
                if *again_ms <= now_ms {
                    let end = end_of((*id, known.epoch), *is_commit);
                    *marker = Some(coordinator.ask(time, Request::EndTransaction(end)));
                }
                continue;
            };
            match answer.try_recv() {
                Err(TryRecvError::Empty) => {}
                // Its epoch is over where the marker stands already.
                Ok(Response::EndTransaction(ErrorCode::None | ErrorCode::InvalidProducerEpoch)) => {
                    self.committed += usize::from(*is_commit);
                    known.last = Some(*is_commit);
                    known.epoch = known.epoch.next();
                    known.state = State::Idle;
                }
                Ok(_) | Err(TryRecvError::Closed) => {
                    (*again_ms, *marker) = (now_ms + RETRY_MS, None);
                }
            }
        }
    }

    /// A producer whose transaction began before and is not over.
    pub(super) fn open_since(&self, ms: u64) -> Option<ProducerId> {
        let hangs =
            |known: &Transaction| !matches!(known.state, State::Idle) && known.since_ms < ms;
        self.producers.iter().find(|(_, known)| hangs(known)).map(|(id, _)| *id)
    }
}

/// The marker of a transaction has the epoch of the next.
fn end_of((id, epoch): (ProducerId, ProducerEpoch), is_commit: bool) -> TransactionEnd {
    TransactionEnd {
        producer: TransactionalProducer { id, epoch: epoch.next() },
        is_commit,
        coordinator_epoch: 0,
        transaction_version: VERSION,
    }
}
