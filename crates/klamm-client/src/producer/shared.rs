//! What the producer and its task share: the batches, who the producer is, what is on its way, and
//! how each wakes the other. Sends nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use klamm_env::Moment;
use klamm_model::{NodeId, PartitionIndex, TopicPartition};
use klamm_stdx::Str;
use tokio::sync::Notify;

use super::accumulator::{Accumulator, Identity, Rules};
use super::batch::{Acknowledged, Delivery, ReadyBatch, RecordParts};
use super::verdict::may_be_in_transaction;
use super::{Idempotence, ProducerOptions};
use crate::cluster::Client;
use crate::error::{ClientError, Result};

/// What the producer and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) options: ProducerOptions,
    pub(super) transactional_id: Option<Str>,
    pub(super) accumulator: RefCell<Accumulator>,
    pub(super) identity: Cell<Option<Identity>>,
    /// A batch with a sequence number has failed: what follows it would be out of order.
    pub(super) identity_is_spent: Cell<bool>,
    /// The transaction cannot be committed: nothing of it is sent any more.
    pub(super) is_aborting: Cell<bool>,
    /// The coordinator may have heard of the transaction by a batch.
    has_written: Cell<bool>,
    /// The newest version of Produce that the transaction's protocol allows.
    produce_version_max: Cell<i16>,
    /// Requests on their way, by broker.
    in_flight: RefCell<HashMap<NodeId, usize>>,
    /// For the task: there is something to do.
    pub(super) wake: Notify,
    /// For those who wait: batches have left.
    progress: Notify,
    pub(super) is_closed: Cell<bool>,
    failure: RefCell<Option<ClientError>>,
    acknowledged_count: Cell<u64>,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        options: ProducerOptions,
        transactional_id: Option<Str>,
    ) -> Self {
        let in_flight_max = match options.idempotence {
            Idempotence::Enabled => options.in_flight_max,
            Idempotence::Disabled => 1,
        };
        let rules = Rules {
            compression: options.compression,
            batch_bytes_max: options.batch_bytes_max,
            linger: options.linger,
            is_transactional: transactional_id.is_some(),
            in_flight_max,
        };
        Self {
            client,
            options,
            transactional_id,
            accumulator: RefCell::new(Accumulator::new(rules)),
            identity: Cell::new(None),
            identity_is_spent: Cell::new(false),
            is_aborting: Cell::new(false),
            has_written: Cell::new(false),
            produce_version_max: Cell::new(i16::MAX),
            in_flight: RefCell::default(),
            wake: Notify::new(),
            progress: Notify::new(),
            is_closed: Cell::new(false),
            failure: RefCell::default(),
            acknowledged_count: Cell::new(0),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.client.env().clock.now()
    }

    /// How many partitions a topic has.
    pub(super) async fn partition_count(&self, topic: &Str) -> Result<usize> {
        Ok(self.client.topic(topic, self.options.create).await?.leaders.len())
    }

    /// Waits until so many bytes more are below the bound. A record that is larger than the bound
    /// goes alone.
    pub(super) async fn room_for(&self, bytes: usize) {
        loop {
            let progress = self.progress.notified();
            let buffered = self.accumulator.borrow().buffered_bytes;
            if buffered == 0 || buffered + bytes <= self.options.buffer_bytes_max {
                return;
            }
            self.wake.notify_one();
            progress.await;
        }
    }

    pub(super) fn append(
        &self,
        topic: &Str,
        partition: PartitionIndex,
        record: &RecordParts<'_>,
    ) -> Result<(Delivery, bool)> {
        let appended = self.accumulator.borrow_mut().append(self.now(), topic, partition, record);
        let (delivery, is_full) =
            appended.map_err(|error| ClientError::Invalid(error.to_string()))?;
        // A new batch needs its timer, a full one may leave.
        if is_full || delivery.index == 0 {
            self.wake.notify_one();
        }
        Ok((delivery, is_full))
    }

    pub(super) async fn flush(&self) -> Result<()> {
        loop {
            let progress = self.progress.notified();
            self.accumulator.borrow_mut().start_flush();
            if self.accumulator.borrow().batch_count == 0 {
                return self.failure.borrow_mut().take().map_or(Ok(()), Err);
            }
            self.wake.notify_one();
            progress.await;
        }
    }

    pub(super) fn acknowledged_count(&self) -> u64 {
        self.acknowledged_count.get()
    }

    /// What the producer is from now on. Nothing may be on its way.
    pub(super) fn start_as(&self, identity: Identity) {
        let nothing = self.accumulator.borrow_mut().start_over();
        assert!(nothing.is_empty(), "a transaction has ended with all of its batches");
        self.identity.set(Some(identity));
        self.identity_is_spent.set(false);
    }

    /// The producer id and epoch, once there are any.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.get()
    }

    /// Whether a batch has failed since the identity was given: what follows it would be out of
    /// order.
    pub(super) fn is_spent(&self) -> bool {
        self.identity_is_spent.get()
    }

    /// A transaction begins, in which this is the newest version of Produce.
    pub(super) fn begin(&self, produce_version_max: i16) {
        self.produce_version_max.set(produce_version_max);
        self.is_aborting.set(false);
        self.has_written.set(false);
        self.failure.borrow_mut().take();
    }

    /// The newest version of Produce that the transaction's protocol allows.
    pub(super) fn produce_version_max(&self) -> i16 {
        self.produce_version_max.get()
    }

    /// Whether a batch of the transaction may have brought its partition into it.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.get()
    }

    pub(super) fn on_attempt(&self, result: &Result<Acknowledged>) {
        let may_be = result.as_ref().err().is_none_or(may_be_in_transaction);
        self.has_written.set(self.has_written.get() | may_be);
    }

    /// Drops what is not on its way, and waits for what is.
    pub(super) async fn give_up(&self) {
        self.is_aborting.set(true);
        // It fails because it was told to.
        drop(self.flush().await);
    }

    /// The first failure since the last flush.
    pub(super) fn failure(&self) -> Option<ClientError> {
        self.failure.borrow().clone()
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.transactional_id.is_some()
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wake.notify_one();
    }

    pub(super) fn finish(&self, batch: &ReadyBatch, result: Result<Acknowledged>) {
        match &result {
            Ok(_) => {
                self.accumulator.borrow_mut().acknowledge(batch);
                let count = self.acknowledged_count.get() + batch.record_count as u64;
                self.acknowledged_count.set(count);
            }
            Err(error) => {
                self.accumulator.borrow_mut().finish(batch);
                self.identity_is_spent.set(self.identity_is_spent.get() | batch.producer.is_some());
                self.is_aborting.set(self.is_aborting.get() | self.is_transactional());
                self.failure.borrow_mut().get_or_insert_with(|| error.clone());
            }
        }
        batch.fate.tell(result);
        self.progress.notify_waiters();
    }

    /// The next batch of a partition fails.
    pub(super) fn fail_next(&self, partition: &TopicPartition, error: &ClientError) {
        let batch = self.accumulator.borrow_mut().take(partition, None);
        if let Some(batch) = batch {
            self.finish(&batch, Err(error.clone()));
        }
    }

    /// Whether a broker has as many requests as it may have.
    pub(super) fn is_busy(&self, broker: NodeId) -> bool {
        self.in_flight.borrow().get(&broker).is_some_and(|n| *n >= self.options.in_flight_max)
    }

    /// A request leaves.
    pub(super) fn on_sent(&self, broker: NodeId) {
        *self.in_flight.borrow_mut().entry(broker).or_default() += 1;
    }

    /// A request has its answer, or gets none.
    pub(super) fn on_answered(&self, broker: NodeId) {
        if let Some(n) = self.in_flight.borrow_mut().get_mut(&broker) {
            *n -= 1;
        }
    }
}
