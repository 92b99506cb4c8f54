//! A transactional producer: what it asks next, and what an answer means to it.

use std::collections::VecDeque;

use klamm_model::ErrorCode;
use klamm_transaction_coordinator::{Outcome, ProducerIdAndEpoch, Protocol};

use super::ledger::Ledger;
use crate::random::Seeded;

/// The most partitions that are written to.
pub(super) const PARTITIONS_MAX: usize = 5;

/// What a producer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// InitProducerId.
    Init(Option<ProducerIdAndEpoch>),
    /// AddPartitionsToTxn; `None` is the group's partition (AddOffsetsToTxn).
    Add(Option<usize>),
    /// Produce.
    Produce { partition: usize, sequence: i32, value: u64 },
    /// TxnOffsetCommit.
    Commit(i64),
    /// EndTxn.
    End(Outcome),
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(in crate::coordinators) struct Message {
    pub(super) client: usize,
    pub(super) number: u64,
    pub(super) transactional: usize,
    pub(super) protocol: Protocol,
    pub(super) producer: Option<ProducerIdAndEpoch>,
    pub(super) call: Call,
}

/// An answer: a code, and for Init and End what the producer is from now on.
#[derive(Debug, Clone, Copy)]
pub(in crate::coordinators) struct Answer {
    pub(super) code: ErrorCode,
    pub(super) next: Option<ProducerIdAndEpoch>,
}

/// What a client does after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It sends its current call.
    Send,
    /// It sends the same again in a while.
    Again,
    /// Nothing, ever.
    Stop,
}

/// One instance of a producer.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: usize,
    pub(super) transactional: usize,
    pub(super) protocol: Protocol,
    pub(super) is_alive: bool,
    pub(super) call: Call,
    /// Of the current call; answers to others are too late.
    pub(super) number: u64,
    /// How often it has sent anything.
    pub(super) sent: u64,
    producer: Option<ProducerIdAndEpoch>,
    sequences: [i32; PARTITIONS_MAX],
    /// How many partitions it writes to.
    partitions: usize,
    plan: VecDeque<Call>,
    transaction: Option<usize>,
}

impl Client {
    pub(super) fn new(
        (id, transactional): (usize, usize),
        protocol: Protocol,
        partitions: usize,
    ) -> Self {
        Self {
            id,
            transactional,
            protocol,
            is_alive: true,
            call: Call::Init(None),
            number: 0,
            sent: 0,
            producer: None,
            sequences: [0; PARTITIONS_MAX],
            partitions,
            plan: VecDeque::new(),
            transaction: None,
        }
    }

    pub(super) fn message(&self) -> Message {
        Message {
            client: self.id,
            number: self.number,
            transactional: self.transactional,
            protocol: self.protocol,
            producer: self.producer,
            call: self.call,
        }
    }

    fn go_on(&mut self, call: Call) -> Then {
        self.number += 1;
        self.call = call;
        Then::Send
    }

    /// It ends, or is taken for dead.
    pub(super) fn stop(&mut self, ledger: &mut Ledger) {
        self.is_alive = false;
        if let Some(transaction) = self.transaction.take() {
            ledger.abandon(transaction);
        }
    }

    /// The answer to its current call.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        (ledger, random): (&mut Ledger, &mut Seeded),
    ) -> Result<Then, String> {
        match answer.code {
            ErrorCode::None => self.on_success(answer.next, (ledger, random)),
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotLeaderOrFollower => Ok(Then::Again),
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerIdMapping => {
                self.stop(ledger);
                Ok(Then::Stop)
            }
            // Of the partition itself; of a coordinator's they are told as NOT_COORDINATOR or so.
            ErrorCode::KafkaStorageError | ErrorCode::NotEnoughReplicas if self.produces() => {
                Ok(Then::Again)
            }
            ErrorCode::RecordListTooLarge | ErrorCode::MessageTooLarge if self.produces() => {
                Ok(self.begin_anew(ledger))
            }
            ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidTxnState
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::TransactionAbortable
            | ErrorCode::UnknownServerError => Ok(self.begin_anew(ledger)),
            other => Err(format!("{other} is no answer to {:?}", self.call)),
        }
    }

    fn produces(&self) -> bool {
        matches!(self.call, Call::Produce { .. })
    }

    /// Its application is told, gives the transaction up and begins the next epoch.
    fn begin_anew(&mut self, ledger: &mut Ledger) -> Then {
        if let Some(transaction) = self.transaction.take() {
            ledger.abandon(transaction);
        }
        let producer = self.producer;
        self.go_on(Call::Init(producer))
    }

    fn on_success(
        &mut self,
        next: Option<ProducerIdAndEpoch>,
        (ledger, random): (&mut Ledger, &mut Seeded),
    ) -> Result<Then, String> {
        match self.call {
            Call::Init(_) => {
                let producer = next.ok_or("an answer without a producer")?;
                ledger.gave(self.id, producer)?;
                self.producer = Some(producer);
                self.sequences = [0; PARTITIONS_MAX];
                return Ok(self.begin(ledger, random));
            }
            Call::Add(_) => {}
            Call::Produce { partition, value, .. } => {
                self.sequences[partition] += 1;
                ledger.acknowledged(value);
            }
            Call::Commit(n) => ledger.committed_offset(n),
            Call::End(outcome) => {
                if let Some(transaction) = self.transaction.take() {
                    ledger.ended(transaction, outcome);
                }
                if self.protocol == Protocol::V2 {
                    let producer = next.ok_or("an answer without a producer")?;
                    if self.producer == Some(producer) {
                        return Err(format!("{producer} again after its transaction has ended"));
                    }
                    ledger.gave(self.id, producer)?;
                    self.producer = Some(producer);
                    self.sequences = [0; PARTITIONS_MAX];
                }
                return Ok(self.begin(ledger, random));
            }
        }
        Ok(self.next_call(ledger))
    }

    /// A transaction: some records, perhaps offsets, and its end.
    fn begin(&mut self, ledger: &mut Ledger, random: &mut Seeded) -> Then {
        let transaction = ledger.begin(self.transactional);
        self.transaction = Some(transaction);
        self.plan.clear();
        let mut added = Vec::new();
        let mut add = |plan: &mut VecDeque<Call>, place: Option<usize>| {
            if self.protocol == Protocol::V1 && !added.contains(&place) {
                added.push(place);
                plan.push_back(Call::Add(place));
            }
        };
        for _ in 0..1 + random.below(4) {
            let partition = random.below(self.partitions);
            add(&mut self.plan, Some(partition));
            let value = ledger.value(transaction);
            self.plan.push_back(Call::Produce { partition, sequence: 0, value });
        }
        if random.one_in(2) {
            add(&mut self.plan, None);
            self.plan.push_back(Call::Commit(ledger.offset(transaction)));
        }
        let outcome = if random.one_in(4) { Outcome::Abort } else { Outcome::Commit };
        self.plan.push_back(Call::End(outcome));
        self.next_call(ledger)
    }

    fn next_call(&mut self, ledger: &mut Ledger) -> Then {
        let mut call = self.plan.pop_front().expect("a plan ends with the end");
        match &mut call {
            Call::Produce { partition, sequence, .. } => *sequence = self.sequences[*partition],
            Call::End(Outcome::Commit) => {
                if let Some(transaction) = self.transaction {
                    ledger.commit_is_sent(transaction);
                }
            }
            Call::Init(_) | Call::Add(_) | Call::Commit(_) | Call::End(Outcome::Abort) => {}
        }
        self.go_on(call)
    }
}
