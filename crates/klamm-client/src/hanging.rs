//! Which transactions hang (KIP-664): a partition has one open, and no coordinator will ever end it
//! there. Then the last stable offset stands still, and nothing behind it is read as committed or
//! compacted. Decides only.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_model::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use klamm_stdx::Str;

/// A transactional id as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The id.
    pub transactional_id: Str,
    /// The broker that coordinates it.
    pub coordinator_id: i32,
    /// The state of its transaction, in Kafka's words.
    pub state: Str,
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// How long a transaction may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// When the open transaction began.
    pub started_at: Option<Timestamp>,
    /// The partitions in it.
    pub partitions: Vec<TopicPartition>,
}

/// A producer as a partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its newest epoch here.
    pub epoch: ProducerEpoch,
    /// The sequence number of its last record; -1 if none is remembered.
    pub last_sequence: i32,
    /// The timestamp of its last record.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that last ended a transaction of it.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}

/// A transaction that nobody will end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangingTransaction {
    /// Where.
    pub partition: TopicPartition,
    /// Whose.
    pub producer: ActiveProducer,
    /// The transactional id that the producer has now, if it has one.
    pub transactional_id: Option<Str>,
}

/// The producers of some partitions.
pub type ProducersByPartition = BTreeMap<TopicPartition, Vec<ActiveProducer>>;

/// Open transactions whose last record is older than `timeout_max`.
pub(crate) fn overdue(
    producers: &ProducersByPartition,
    now: Timestamp,
    timeout_max: Duration,
) -> Vec<(TopicPartition, ActiveProducer)> {
    let timeout_ms = i64::try_from(timeout_max.as_millis()).unwrap_or(i64::MAX);
    let is_overdue = |producer: &&ActiveProducer| {
        producer.transaction_start.is_some()
            && now.0.saturating_sub(producer.last_timestamp.0) > timeout_ms
    };
    let of = |(partition, producers): (&TopicPartition, &Vec<ActiveProducer>)| {
        let overdue: Vec<_> = producers.iter().filter(is_overdue).copied().collect();
        overdue.into_iter().map(|p| (partition.clone(), p)).collect::<Vec<_>>()
    };
    producers.iter().flat_map(of).collect()
}

/// Those that are in no transaction of a coordinator (Kafka: `TransactionsCommand`'s
/// `FindHangingTransactionsCommand`).
pub(crate) fn hanging(
    candidates: Vec<(TopicPartition, ActiveProducer)>,
    known: &[TransactionDescription],
) -> Vec<HangingTransaction> {
    let judge = |(partition, producer): (TopicPartition, ActiveProducer)| {
        let of_producer = known.iter().find(|transaction| transaction.producer_id == producer.id);
        let will_end = of_producer.is_some_and(|known| known.partitions.contains(&partition));
        let transactional_id = of_producer.map(|known| known.transactional_id.clone());
        (!will_end).then_some(HangingTransaction { partition, producer, transactional_id })
    };
    candidates.into_iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(id: i64, last_timestamp: i64, start: Option<i64>) -> ActiveProducer {
        ActiveProducer {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            last_sequence: 0,
            last_timestamp: Timestamp(last_timestamp),
            coordinator_epoch: None,
            transaction_start: start.map(Offset),
        }
    }

    fn known(id: i64, partitions: &[i32]) -> TransactionDescription {
        TransactionDescription {
            transactional_id: format!("of {id}").into(),
            coordinator_id: 1,
            state: "Ongoing".into(),
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(0),
            timeout_ms: 1,
            started_at: None,
            partitions: partitions.iter().map(|index| TopicPartition::new("t", *index)).collect(),
        }
    }

    #[test]
    fn only_transactions_that_are_open_and_old_are_looked_at() {
        let partition = TopicPartition::new("t", 0);
        let of = |last, start| {
            let producers = [(partition.clone(), vec![producer(1, last, start)])].into();
            overdue(&producers, Timestamp(1_000_000), Duration::from_millis(1000)).len()
        };
        assert_eq!(of(998_999, Some(5)), 1);
        assert_eq!(of(999_000, Some(5)), 0, "it is just as old as it may be");
        assert_eq!(of(1_000_001, Some(5)), 0, "its clock is ahead of ours");
        assert_eq!(of(0, None), 0, "it has ended");
    }

    #[test]
    fn a_transaction_hangs_unless_its_coordinator_has_the_partition_in_it() {
        let candidate = |index| (TopicPartition::new("t", index), producer(7, 0, Some(5)));
        let judged = |index, known: &[_]| {
            let found = hanging(vec![candidate(index)], known);
            found.into_iter().next().map(|hanging| hanging.transactional_id)
        };
        assert_eq!(judged(0, &[known(7, &[0])]), None);
        assert_eq!(judged(1, &[known(7, &[0])]), Some(Some("of 7".into())));
        assert_eq!(judged(0, &[known(7, &[])]), Some(Some("of 7".into())), "it has ended");
        assert_eq!(judged(0, &[known(8, &[0])]), Some(None), "nobody knows the producer");
    }
}
