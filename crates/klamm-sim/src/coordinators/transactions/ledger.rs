//! What the clients know of their transactions, held against what readers have seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use klamm_coordinator::Loaded;
use klamm_group_coordinator::Record;
use klamm_model::ProducerId;
use klamm_transaction_coordinator::{Outcome, ProducerIdAndEpoch};

use crate::coordinators::ensure;

/// How a transaction ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    /// It was aborted, or nobody ever asked for its commit.
    Aborted,
    /// Its commit was asked for, and no answer came.
    Unknown,
}

#[derive(Debug)]
struct Transaction {
    transactional: usize,
    fate: Fate,
    is_commit_sent: bool,
    /// Those that were acknowledged.
    values: Vec<u64>,
    offset: Option<i64>,
    is_offset_acknowledged: bool,
}

/// Every transaction.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: Vec<Transaction>,
    of_value: Vec<usize>,
    of_offset: BTreeMap<i64, usize>,
    /// Who was given each epoch of a producer.
    given: HashMap<ProducerIdAndEpoch, usize>,
    last_offset: i64,
    /// Values that a reader saw, in order.
    seen: Vec<u64>,
    /// Committed offsets that a reader saw, the last of each transactional id.
    fetched: BTreeMap<usize, i64>,
    all_fetched: BTreeSet<i64>,
}

impl Ledger {
    pub(super) fn begin(&mut self, transactional: usize) -> usize {
        self.transactions.push(Transaction {
            transactional,
            fate: Fate::Open,
            is_commit_sent: false,
            values: Vec::new(),
            offset: None,
            is_offset_acknowledged: false,
        });
        self.transactions.len() - 1
    }

    /// A value for a record of a transaction.
    pub(super) fn value(&mut self, transaction: usize) -> u64 {
        self.of_value.push(transaction);
        self.of_value.len() as u64 - 1
    }

    /// An offset for a transaction, higher than all before.
    pub(super) fn offset(&mut self, transaction: usize) -> i64 {
        self.last_offset += 1;
        self.transactions[transaction].offset = Some(self.last_offset);
        self.of_offset.insert(self.last_offset, transaction);
        self.last_offset
    }

    pub(super) fn acknowledged(&mut self, value: u64) {
        self.transactions[self.of_value[value as usize]].values.push(value);
    }

    pub(super) fn committed_offset(&mut self, n: i64) {
        self.transactions[self.of_offset[&n]].is_offset_acknowledged = true;
    }

    pub(super) fn commit_is_sent(&mut self, transaction: usize) {
        self.transactions[transaction].is_commit_sent = true;
    }

    pub(super) fn ended(&mut self, transaction: usize, outcome: Outcome) {
        self.transactions[transaction].fate = match outcome {
            Outcome::Commit => Fate::Committed,
            Outcome::Abort => Fate::Aborted,
        };
    }

    /// Its client will not hear of it any more.
    pub(super) fn abandon(&mut self, transaction: usize) {
        let known = &mut self.transactions[transaction];
        known.fate = if known.is_commit_sent { Fate::Unknown } else { Fate::Aborted };
    }

    /// A client was told what it is: nobody else ever was the same.
    pub(super) fn gave(
        &mut self,
        client: usize,
        producer: ProducerIdAndEpoch,
    ) -> Result<(), String> {
        let before = self.given.insert(producer, client);
        ensure(before.is_none_or(|other| other == client), || {
            format!("{producer} was given to two clients")
        })
    }

    /// A reader saw records.
    pub(super) fn saw(&mut self, values: Vec<u64>) {
        self.seen.extend(values);
    }

    /// A reader was told the committed offset of a transactional id's partition.
    pub(super) fn fetched(&mut self, transactional: usize, n: i64) -> Result<(), String> {
        let before = self.fetched.insert(transactional, n).unwrap_or(-1);
        self.all_fetched.insert(n);
        ensure(n >= before, || {
            format!("the committed offset of {transactional} went back from {before} to {n}")
        })
    }

    pub(super) fn committed_count(&self) -> usize {
        self.transactions.iter().filter(|t| t.fate == Fate::Committed).count()
    }

    /// What readers have seen is what was committed: whole, once, and nothing else. `applied` are
    /// the offsets that a transaction committed, by the group's log.
    pub(super) fn check(&self, applied: &BTreeSet<i64>) -> Result<(), String> {
        let mut times = vec![0_usize; self.of_value.len()];
        self.seen.iter().for_each(|value| times[*value as usize] += 1);
        for (value, times) in times.iter().enumerate() {
            let known = &self.transactions[self.of_value[value]];
            ensure(*times <= 1, || format!("value {value} was read {times} times"))?;
            ensure(*times == 0 || known.fate != Fate::Aborted, || {
                format!("value {value} of an aborted transaction was read")
            })?;
        }
        for (index, known) in self.transactions.iter().enumerate() {
            let read = known.values.iter().filter(|value| times[**value as usize] > 0).count();
            let of = known.values.len();
            ensure(read == 0 || read == of, || {
                format!("transaction {index} is torn: {read} of {of} records were read")
            })?;
            ensure(known.fate != Fate::Committed || read == of, || {
                format!(
                    "transaction {index} is committed and {read} of {of} records were read: {known:?}"
                )
            })?;
            let Some(n) = known.offset.filter(|_| known.is_offset_acknowledged) else { continue };
            let counts = applied.contains(&n);
            ensure(known.fate != Fate::Committed || counts, || {
                format!("offset {n} of committed transaction {index} does not count")
            })?;
            ensure(of == 0 || counts == (read > 0), || {
                format!("transaction {index}: offset {n} counts: {counts}, records read: {read}")
            })?;
        }
        self.check_offsets(applied)
    }

    fn check_offsets(&self, applied: &BTreeSet<i64>) -> Result<(), String> {
        for n in applied.iter().chain(&self.all_fetched) {
            let known = self.of_offset.get(n).map(|index| &self.transactions[*index]);
            let fate = known.map(|known| known.fate);
            ensure(fate.is_some_and(|fate| fate != Fate::Aborted), || {
                format!("offset {n} counts, of a transaction that is {fate:?}")
            })?;
        }
        for (transactional, n) in &self.fetched {
            let last = applied
                .iter()
                .rfind(|n| self.transactions[self.of_offset[n]].transactional == *transactional);
            ensure(last == Some(n), || {
                format!("the committed offset of {transactional} is {n} instead of {last:?}")
            })?;
        }
        Ok(())
    }
}

/// The offsets that transactions committed, by the group's log.
pub(super) fn applied(group_log: Vec<Loaded>) -> BTreeSet<i64> {
    let mut open = BTreeMap::<ProducerId, Vec<i64>>::new();
    let mut applied = BTreeSet::new();
    for loaded in group_log {
        match loaded {
            Loaded::Transactional(producer, (key, value)) => {
                let record = Record::from_key_value(key, value).expect("our own record");
                if let Record::Offset { offset: Some(offset), .. } = record {
                    open.entry(producer.id).or_default().push(offset.offset.0);
                }
            }
            Loaded::End(end) => {
                let offsets = open.remove(&end.producer.id).unwrap_or_default();
                applied.extend(offsets.into_iter().filter(|_| end.is_commit));
            }
            Loaded::Record(_) => {}
        }
    }
    applied
}
