//! Batches by partition: which are filling, which may leave, which came back. Decides only: no
//! clock, no connection.
//!
//! ```text
//! filling ──(full, lingered, flushed)──> waiting ──take──> in flight ──acknowledge──> gone
//!                                           ^                  │
//!                                           └────come_back─────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use klamm_env::Moment;
use klamm_model::{PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};
use klamm_records::{BatchBuilder, BatchOptions, Compression, CompressionError, Producer};
use klamm_stdx::Str;

use super::batch::{Delivery, Fate, ReadyBatch, RecordParts};

/// A producer id and its epoch.
pub(super) type Identity = (ProducerId, ProducerEpoch);

/// When batches leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) compression: Compression,
    pub(super) batch_bytes_max: usize,
    pub(super) linger: Duration,
    /// Whether batches belong to transactions.
    pub(super) is_transactional: bool,
    /// Batches of one partition that may be on their way: without sequence numbers one, or a
    /// retry would change their order.
    pub(super) in_flight_max: usize,
}

/// All batches that are not acknowledged.
#[derive(Debug)]
pub(super) struct Accumulator {
    rules: Rules,
    partitions: HashMap<Str, HashMap<PartitionIndex, Queue>>,
    /// Bytes of all of them before compression.
    pub(super) buffered_bytes: usize,
    /// Batches that are filling or waiting or in flight.
    pub(super) batch_count: usize,
    is_flushing: bool,
    next_number: u64,
}

#[derive(Debug, Default)]
struct Queue {
    filling: Option<Filling>,
    waiting: VecDeque<ReadyBatch>,
    in_flight: usize,
    next_sequence: i32,
    /// The sequence number that the oldest batch without an answer has.
    next_acknowledged: i32,
    /// A batch has come back: until it is through, batches go one by one.
    retrying: usize,
}

#[derive(Debug)]
struct Filling {
    builder: BatchBuilder,
    created: Moment,
    number: u64,
    buffered_bytes: usize,
    fate: Rc<Fate>,
}

impl Accumulator {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            partitions: HashMap::new(),
            buffered_bytes: 0,
            batch_count: 0,
            is_flushing: false,
            next_number: 0,
        }
    }

    /// Takes a record; says whether its batch is full now.
    pub(super) fn append(
        &mut self,
        now: Moment,
        topic: &Str,
        partition: PartitionIndex,
        record: &RecordParts<'_>,
    ) -> Result<(Delivery, bool), CompressionError> {
        let len = record.len_bytes();
        let rules = self.rules;
        if !self.partitions.contains_key(topic) {
            self.partitions.insert(topic.detached(), HashMap::new());
        }
        let queue = self
            .partitions
            .get_mut(topic)
            .expect("it was just made sure of")
            .entry(partition)
            .or_default();
        let has_room =
            |filling: &Filling| filling.builder.len_bytes() + len <= rules.batch_bytes_max;
        if queue.filling.as_ref().is_some_and(|filling| !has_room(filling)) {
            queue.close(topic, partition)?;
        }
        let filling = queue.filling.get_or_insert_with(|| {
            self.batch_count += 1;
            self.next_number += 1;
            Filling::new(now, self.next_number, rules)
        });
        let index = filling.builder.record_count() as i64;
        record.push(&mut filling.builder);
        filling.buffered_bytes += len;
        self.buffered_bytes += len;
        let delivery = Delivery { fate: Rc::clone(&filling.fate), partition, index };
        let is_full = filling.builder.len_bytes() >= rules.batch_bytes_max;
        if is_full {
            queue.close(topic, partition)?;
        }
        Ok((delivery, is_full || queue.waiting.len() > 1))
    }

    /// From now on nothing lingers, until everything is gone.
    pub(super) fn start_flush(&mut self) {
        self.is_flushing = self.batch_count > 0;
    }

    /// Closes the batches that have lingered long enough; says when the next one has.
    pub(super) fn close_lingered(
        &mut self,
        now: Moment,
    ) -> Result<Option<Moment>, CompressionError> {
        let mut next: Option<Moment> = None;
        for (topic, partitions) in &mut self.partitions {
            for (partition, queue) in partitions {
                let Some(filling) = &queue.filling else { continue };
                let due = filling.created + self.rules.linger;
                if self.is_flushing || due <= now {
                    queue.close(topic, *partition)?;
                } else {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
        }
        Ok(next)
    }

    /// Partitions with a batch that may leave.
    pub(super) fn sendable(&self) -> Vec<TopicPartition> {
        let mut sendable = Vec::new();
        for (topic, partitions) in &self.partitions {
            for (partition, queue) in partitions {
                if !queue.waiting.is_empty() && queue.in_flight < queue.limit(self.rules) {
                    sendable.push(TopicPartition::new(topic.clone(), *partition));
                }
            }
        }
        sendable
    }

    /// The next batch of a partition, with its sequence number if there is an identity.
    pub(super) fn take(
        &mut self,
        partition: &TopicPartition,
        identity: Option<Identity>,
    ) -> Option<ReadyBatch> {
        let queue = self.partitions.get_mut(&partition.topic)?.get_mut(&partition.partition)?;
        let mut batch = queue.waiting.pop_front()?;
        if let Some((id, epoch)) = identity.filter(|_| batch.producer.is_none()) {
            batch.stamp(Producer { id, epoch, base_sequence: queue.next_sequence });
            queue.next_sequence = next_sequence(queue.next_sequence, batch.record_count);
        }
        queue.in_flight += 1;
        batch.attempts += 1;
        Some(batch)
    }

    /// A batch is to be sent again, before those that follow it.
    pub(super) fn come_back(&mut self, batch: ReadyBatch) {
        let Some(queue) = self.queue(&batch.partition) else { return };
        queue.in_flight -= 1;
        queue.retrying += usize::from(batch.attempts == 1);
        let is_before = |other: &ReadyBatch| other.number > batch.number;
        let at = queue.waiting.iter().position(is_before).unwrap_or(queue.waiting.len());
        queue.waiting.insert(at, batch);
    }

    /// Whether every batch before this one is acknowledged: a broker that misses one then has
    /// forgotten the producer (KIP-360; Kafka: `TransactionManager.isNextSequence`).
    pub(super) fn is_next(&self, batch: &ReadyBatch) -> bool {
        let queues = self.partitions.get(&batch.partition.topic);
        let queue = queues.and_then(|queues| queues.get(&batch.partition.partition));
        let sequence = batch.producer.map(|producer| producer.base_sequence);
        queue.is_some_and(|queue| Some(queue.next_acknowledged) == sequence)
    }

    /// A batch is acknowledged.
    pub(super) fn acknowledge(&mut self, batch: &ReadyBatch) {
        let next = batch.producer.map(|p| next_sequence(p.base_sequence, batch.record_count));
        if let (Some(queue), Some(next)) = (self.queue(&batch.partition), next) {
            queue.next_acknowledged = next;
        }
        self.finish(batch);
    }

    /// A batch is acknowledged or has failed.
    pub(super) fn finish(&mut self, batch: &ReadyBatch) {
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.buffered_bytes);
        self.batch_count -= 1;
        self.is_flushing &= self.batch_count > 0;
        if let Some(queue) = self.queue(&batch.partition) {
            queue.in_flight -= 1;
            queue.retrying -= usize::from(batch.attempts > 1);
        }
    }

    /// Sequences start again at 0 in every partition. Gives the batches that may be stored under
    /// their old sequence, taken out: sent again they could be there twice. Those that are
    /// certainly not stored stay, to be stamped anew.
    pub(super) fn start_over(&mut self) -> Vec<ReadyBatch> {
        let mut uncertain = Vec::new();
        for queue in self.partitions.values_mut().flat_map(HashMap::values_mut) {
            queue.next_sequence = 0;
            queue.next_acknowledged = 0;
            let (maybe_stored, mut rest): (VecDeque<_>, VecDeque<_>) =
                queue.waiting.drain(..).partition(|batch| batch.may_be_stored);
            rest.iter_mut().for_each(|batch| batch.producer = None);
            queue.waiting = rest;
            queue.retrying -= tried_once(&maybe_stored);
            // `finish` will count them down.
            queue.in_flight += maybe_stored.len();
            uncertain.extend(maybe_stored);
        }
        uncertain
    }

    /// Every batch that is not on its way, taken out: their transaction is over.
    pub(super) fn discard(&mut self) -> Result<Vec<ReadyBatch>, CompressionError> {
        let mut discarded = Vec::new();
        for (topic, partitions) in &mut self.partitions {
            for (partition, queue) in partitions {
                queue.close(topic, *partition)?;
                queue.retrying -= tried_once(&queue.waiting);
                // `finish` will count them down.
                queue.in_flight += queue.waiting.len();
                discarded.extend(queue.waiting.drain(..));
            }
        }
        Ok(discarded)
    }

    /// Whether a batch is on its way.
    pub(super) fn has_in_flight(&self) -> bool {
        self.partitions.values().flat_map(HashMap::values).any(|queue| queue.in_flight > 0)
    }

    fn queue(&mut self, partition: &TopicPartition) -> Option<&mut Queue> {
        self.partitions.get_mut(&partition.topic)?.get_mut(&partition.partition)
    }
}

impl Filling {
    fn new(now: Moment, number: u64, rules: Rules) -> Self {
        let options = BatchOptions {
            compression: rules.compression,
            is_transactional: rules.is_transactional,
            ..BatchOptions::default()
        };
        Self {
            builder: BatchBuilder::new(options),
            created: now,
            number,
            buffered_bytes: 0,
            fate: Rc::default(),
        }
    }
}

impl Queue {
    fn limit(&self, rules: Rules) -> usize {
        if self.retrying > 0 { 1 } else { rules.in_flight_max }
    }

    fn close(&mut self, topic: &Str, partition: PartitionIndex) -> Result<(), CompressionError> {
        let Some(filling) = self.filling.take() else { return Ok(()) };
        let record_count = i32::try_from(filling.builder.record_count())
            .expect("a batch's bytes bound its records far below 2^31");
        self.waiting.push_back(ReadyBatch {
            partition: TopicPartition::new(topic.clone(), partition),
            bytes: filling.builder.build()?.into(),
            record_count,
            buffered_bytes: filling.buffered_bytes,
            created: filling.created,
            number: filling.number,
            attempts: 0,
            may_be_stored: false,
            producer: None,
            last_error: None,
            fate: filling.fate,
        });
        Ok(())
    }
}

/// Batches that came back once: `finish` counts only those as retried that left again.
fn tried_once(batches: &VecDeque<ReadyBatch>) -> usize {
    batches.iter().filter(|batch| batch.attempts == 1).count()
}

/// Sequence numbers start again at 0 after 2^31-1 (Kafka: `DefaultRecordBatch.incrementSequence`).
fn next_sequence(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) % (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use klamm_model::Timestamp;

    use super::*;

    fn rules() -> Rules {
        Rules {
            compression: Compression::NONE,
            batch_bytes_max: 200,
            linger: Duration::from_millis(5),
            is_transactional: false,
            in_flight_max: 2,
        }
    }

    fn append(accumulator: &mut Accumulator, now_ms: u64, len: usize) -> i64 {
        let value = vec![b'x'; len];
        let record =
            RecordParts { timestamp: Timestamp(1), key: None, value: Some(&value), headers: &[] };
        let now = Moment::default().plus_ms(now_ms);
        let (delivery, _) = accumulator.append(now, &"t".into(), 0, &record).unwrap();
        delivery.index
    }

    fn take(accumulator: &mut Accumulator) -> Option<ReadyBatch> {
        let partition = accumulator.sendable().pop()?;
        accumulator.take(&partition, Some((ProducerId(1), ProducerEpoch(0))))
    }

    #[test]
    fn a_batch_leaves_when_it_has_lingered_and_not_before() {
        let mut accumulator = Accumulator::new(rules());
        assert_eq!(append(&mut accumulator, 0, 10), 0);
        assert_eq!(append(&mut accumulator, 1, 10), 1);
        let now = Moment::default().plus_ms(4);
        let due = accumulator.close_lingered(now).unwrap();
        assert_eq!(due, Some(Moment::default().plus_ms(5)));
        assert!(take(&mut accumulator).is_none());
        assert_eq!(accumulator.close_lingered(due.unwrap()).unwrap(), None);
        assert_eq!(take(&mut accumulator).unwrap().record_count, 2);
    }

    #[test]
    fn a_full_batch_leaves_at_once_and_a_large_record_has_one_of_its_own() {
        let mut accumulator = Accumulator::new(rules());
        append(&mut accumulator, 0, 50);
        append(&mut accumulator, 0, 1000);
        assert_eq!(take(&mut accumulator).unwrap().record_count, 1);
        assert_eq!(take(&mut accumulator).unwrap().record_count, 1);
        assert!(take(&mut accumulator).is_none());
    }

    #[test]
    fn sequences_count_records_and_start_again_after_the_last() {
        let mut accumulator = Accumulator::new(rules());
        append(&mut accumulator, 0, 10);
        append(&mut accumulator, 0, 10);
        append(&mut accumulator, 1, 1000);
        let sequence = |batch: Option<ReadyBatch>| batch.unwrap().producer.unwrap().base_sequence;
        assert_eq!(sequence(take(&mut accumulator)), 0);
        assert_eq!(sequence(take(&mut accumulator)), 2);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn a_batch_that_came_back_goes_first_alone_and_with_its_sequence() {
        let mut accumulator = Accumulator::new(rules());
        for now in 0..3 {
            append(&mut accumulator, now, 1000);
        }
        let first = take(&mut accumulator).unwrap();
        let second = take(&mut accumulator).unwrap();
        assert!(take(&mut accumulator).is_none(), "two are in flight");
        accumulator.come_back(second);
        accumulator.come_back(first);
        let first = take(&mut accumulator).unwrap();
        assert_eq!((first.producer.unwrap().base_sequence, first.attempts), (0, 2));
        assert!(take(&mut accumulator).is_none(), "one at a time until it is through");
        accumulator.finish(&first);
        let second = take(&mut accumulator).unwrap();
        assert_eq!(second.producer.unwrap().base_sequence, 1);
        accumulator.finish(&second);
        assert!(take(&mut accumulator).is_some());
        assert_eq!(accumulator.batch_count, 1);
    }

    #[test]
    fn after_a_new_start_only_batches_that_may_be_stored_are_given_up() {
        let mut accumulator = Accumulator::new(rules());
        for now in 0..4 {
            append(&mut accumulator, now, 1000);
        }
        let first = take(&mut accumulator).unwrap();
        let mut second = take(&mut accumulator).unwrap();
        accumulator.acknowledge(&first);
        assert!(accumulator.is_next(&second));
        second.may_be_stored = true;
        accumulator.come_back(second);
        let uncertain = accumulator.start_over();
        assert_eq!(uncertain.len(), 1);
        accumulator.finish(&uncertain[0]);
        let third = take(&mut accumulator).unwrap();
        assert_eq!(third.producer.unwrap().base_sequence, 0);
        assert!(accumulator.is_next(&third));
        accumulator.come_back(third);
        assert!(accumulator.start_over().is_empty(), "it was refused: it goes on");
        let third = take(&mut accumulator).unwrap();
        assert_eq!(third.producer.unwrap().base_sequence, 0);
        accumulator.acknowledge(&third);
        let fourth = take(&mut accumulator).unwrap();
        assert_eq!(fourth.producer.unwrap().base_sequence, 1);
    }

    #[test]
    fn a_batch_is_not_the_next_while_one_before_it_has_no_answer() {
        let mut accumulator = Accumulator::new(rules());
        append(&mut accumulator, 0, 1000);
        append(&mut accumulator, 1, 1000);
        let first = take(&mut accumulator).unwrap();
        let second = take(&mut accumulator).unwrap();
        assert!(accumulator.is_next(&first) && !accumulator.is_next(&second));
        accumulator.acknowledge(&first);
        assert!(accumulator.is_next(&second));
    }

    #[test]
    fn what_is_discarded_is_counted_down_and_what_is_on_its_way_is_not_touched() {
        let mut accumulator = Accumulator::new(rules());
        append(&mut accumulator, 0, 1000);
        append(&mut accumulator, 0, 10);
        let sent = take(&mut accumulator).unwrap();
        let discarded = accumulator.discard().unwrap();
        assert_eq!(discarded.len(), 1);
        accumulator.finish(&discarded[0]);
        assert!(accumulator.has_in_flight());
        accumulator.finish(&sent);
        assert!(!accumulator.has_in_flight());
        assert_eq!((accumulator.batch_count, accumulator.buffered_bytes), (0, 0));
    }

    #[test]
    fn a_flush_ends_the_lingering() {
        let mut accumulator = Accumulator::new(rules());
        append(&mut accumulator, 0, 10);
        accumulator.start_flush();
        assert_eq!(accumulator.close_lingered(Moment::default()).unwrap(), None);
        let batch = take(&mut accumulator).unwrap();
        accumulator.finish(&batch);
        assert_eq!((accumulator.batch_count, accumulator.buffered_bytes), (0, 0));
    }
}
