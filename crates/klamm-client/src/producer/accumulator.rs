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
mod tests;
