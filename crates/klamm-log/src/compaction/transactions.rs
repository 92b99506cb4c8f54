//! Which batches belong to aborted transactions, and which markers nobody needs any more (Kafka:
//! `CleanedTransactionMetadata`). Fed with every batch in the order of the log.

use std::collections::{HashMap, HashSet};

use klamm_model::{Offset, ProducerId};
use klamm_records::BatchHeader;

use crate::segment::transaction_index::AbortedTransaction;

/// What a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Abort,
    Commit,
    /// It has no record left.
    Empty,
    /// It is no marker.
    Other,
}

/// Whether a batch is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It is needed.
    Needed,
    /// Data of an aborted transaction, or the marker of one that has no batches left.
    Obsolete,
}

#[derive(Debug)]
struct Aborted {
    transaction: AbortedTransaction,
    has_batches: bool,
}

/// The transactions that are open at one point of the walk.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted ones that begin later, the next one last.
    upcoming: Vec<AbortedTransaction>,
    aborted: HashMap<ProducerId, Aborted>,
    committed: HashSet<ProducerId>,
    /// Those whose markers stay: the new segment's index.
    kept: Vec<AbortedTransaction>,
}

impl Transactions {
    /// A walk over batches that may belong to these aborted transactions.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { upcoming: aborted, ..Self::default() }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(next) = self.upcoming.pop_if(|next| next.first_offset <= offset) {
            let is_over = |known: &Aborted| known.transaction.last_offset < next.first_offset;
            if self.aborted.get(&next.producer_id).is_none_or(is_over) {
                let begun = Aborted { transaction: next, has_batches: false };
                self.aborted.insert(next.producer_id, begun);
            }
        }
    }

    /// A batch of records.
    pub(super) fn on_data(&mut self, header: &BatchHeader) -> Need {
        self.begin_up_to(header.last_offset());
        let Some(producer) = header.producer.filter(|_| header.attributes.is_transactional())
        else {
            return Need::Needed;
        };
        if let Some(aborted) = self.aborted.get_mut(&producer.id) {
            aborted.has_batches = true;
            return Need::Obsolete;
        }
        self.committed.insert(producer.id);
        Need::Needed
    }

    /// A control batch. The marker of a transaction whose batches were seen stays for one more
    /// round, even if they go in this one.
    pub(super) fn on_control(&mut self, header: &BatchHeader, control: Control) -> Need {
        self.begin_up_to(header.last_offset());
        let Some(producer) = header.producer else { return Need::Needed };
        let is_needed = match control {
            Control::Abort => {
                // The index forgets what ended below the log's start. A batch of it may be there
                // for its sequence number: without the marker its transaction would seem open.
                let has_forgotten = self.committed.remove(&producer.id);
                match self.aborted.remove(&producer.id) {
                    Some(aborted) if aborted.has_batches => {
                        self.kept.push(aborted.transaction);
                        true
                    }
                    _ => has_forgotten,
                }
            }
            Control::Commit => self.committed.remove(&producer.id),
            Control::Empty => false,
            Control::Other => true,
        };
        if is_needed { Need::Needed } else { Need::Obsolete }
    }

    /// The aborted transactions whose markers were kept since the last question.
    pub(super) fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::{LeaderEpoch, ProducerEpoch, Timestamp};
    use klamm_records::{Attributes, Producer};

    use super::*;

    fn header(id: i64, offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(offset),
            batch_length: 100,
            partition_leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: Attributes::default().transactional(),
            last_offset_delta: 0,
            base_timestamp: Timestamp(0),
            max_timestamp: Timestamp(0),
            producer: Some(Producer {
                id: ProducerId(id),
                epoch: ProducerEpoch(0),
                base_sequence: 0,
            }),
            record_count: 1,
        }
    }

    fn aborted(id: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(id),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last),
        }
    }

    #[test]
    fn aborted_data_goes_and_its_marker_stays_while_data_was_there() {
        let mut t = Transactions::new(vec![aborted(1, 10, 12)]);
        assert_eq!(t.on_data(&header(1, 5)), Need::Needed, "an earlier transaction of it");
        assert_eq!(t.on_control(&header(1, 6), Control::Commit), Need::Needed);
        assert_eq!(t.on_data(&header(1, 10)), Need::Obsolete);
        assert_eq!(t.on_data(&header(2, 11)), Need::Needed);
        assert_eq!(t.on_control(&header(1, 12), Control::Abort), Need::Needed);
        assert_eq!(t.take_kept(), [aborted(1, 10, 12)]);
        assert_eq!(t.take_kept(), []);
        assert_eq!(t.on_data(&header(1, 13)), Need::Needed, "the next transaction of it");
    }

    #[test]
    fn a_marker_without_data_is_obsolete() {
        let mut t = Transactions::new(vec![aborted(1, 10, 12)]);
        assert_eq!(t.on_control(&header(1, 12), Control::Abort), Need::Obsolete);
        assert_eq!(t.on_control(&header(2, 13), Control::Commit), Need::Obsolete);
        assert_eq!(t.on_control(&header(3, 14), Control::Empty), Need::Obsolete);
        assert_eq!(t.on_control(&header(3, 15), Control::Other), Need::Needed);
        assert_eq!(t.take_kept(), []);
    }

    #[test]
    fn two_aborted_transactions_of_one_producer_are_told_apart() {
        let mut t = Transactions::new(vec![aborted(1, 20, 22), aborted(1, 10, 12)]);
        assert_eq!(t.on_data(&header(1, 10)), Need::Obsolete);
        assert_eq!(t.on_control(&header(1, 12), Control::Abort), Need::Needed);
        assert_eq!(t.on_data(&header(1, 15)), Need::Needed);
        assert_eq!(t.on_control(&header(1, 16), Control::Commit), Need::Needed);
        assert_eq!(t.on_data(&header(1, 21)), Need::Obsolete);
        assert_eq!(t.on_control(&header(1, 22), Control::Abort), Need::Needed);
        assert_eq!(t.take_kept(), [aborted(1, 10, 12), aborted(1, 20, 22)]);
    }

    #[test]
    fn a_transaction_whose_marker_is_gone_does_not_swallow_the_next() {
        let mut t = Transactions::new(vec![aborted(1, 10, 12), aborted(1, 20, 22)]);
        assert_eq!(t.on_data(&header(1, 10)), Need::Obsolete);
        assert_eq!(t.on_data(&header(1, 20)), Need::Obsolete);
        assert_eq!(t.on_control(&header(1, 22), Control::Abort), Need::Needed);
        assert_eq!(t.take_kept(), [aborted(1, 20, 22)]);
    }

    #[test]
    fn the_marker_of_an_abort_that_the_index_has_forgotten_stays_while_its_batches_do() {
        let mut t = Transactions::new(Vec::new());
        assert_eq!(t.on_data(&header(1, 10)), Need::Needed);
        assert_eq!(t.on_control(&header(1, 12), Control::Abort), Need::Needed);
        assert_eq!(t.on_control(&header(1, 13), Control::Abort), Need::Obsolete);
        assert_eq!(t.take_kept(), []);
    }

    #[test]
    fn data_without_a_transaction_is_needed() {
        let mut t = Transactions::new(vec![aborted(1, 10, 12)]);
        let mut plain = header(1, 10);
        plain.attributes = Attributes::default();
        assert_eq!(t.on_data(&plain), Need::Needed);
    }
}
