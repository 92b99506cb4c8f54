//! The producer: records in, batches out, offsets back.
//!
//! ```text
//! send ──> Accumulator ──(full, lingered or flushed)──> Produce ──> acknowledged: offset
//!             ^                                            │
//!             └──────────── sent again, same sequence ─────┴──> failed: error
//! ```
//! A [`TransactionalProducer`] is one whose records count together or not at all (KIP-98, KIP-890).
//!
//! The accumulator decides and never asks the time; the sender is a task of the
//! worker that owns the connections. Sequence numbers (KIP-98) let the broker tell a batch that is
//! sent again from a new one.

mod accumulator;
mod batch;
mod coordinators;
mod identify;
mod request;
mod sender;
mod shared;
mod transaction;
mod transactional;
mod verdict;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use klamm_env::task;
use klamm_model::{Acks, Offset, PartitionIndex, Timestamp};
use klamm_records::Compression;
use klamm_stdx::Str;

use crate::cluster::{AutoCreate, Client};
use crate::error::{ClientError, Result};
use crate::partitioner::Partitioner;
pub use batch::Delivery;
use batch::RecordParts;
pub use coordinators::{GroupMetadata, TransactionOptions};
use shared::Shared;
pub use transactional::TransactionalProducer;

/// Largest record: brokers take far less, and a batch must stay below 2 GiB.
const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How records are sent. The defaults are those of Kafka's Java producer, but for the batch size.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// How many copies are waited for.
    pub acks: Acks,
    /// How batches are compressed.
    pub compression: Compression,
    /// Bytes at which a batch is full, before compression.
    pub batch_bytes_max: usize,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// Bytes of records that wait in all; more make the caller wait.
    pub buffer_bytes_max: usize,
    /// Requests on their way to one broker.
    pub in_flight_max: usize,
    /// How long a record may take with all attempts.
    pub delivery_timeout: Duration,
    /// Whether retries may lead to duplicates.
    pub idempotence: Idempotence,
    /// Whether sending to a topic may create it.
    pub create: AutoCreate,
}

/// Whether retries may lead to duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotence {
    /// The broker tells repeated batches by their sequence numbers. Needs `acks=all`.
    Enabled,
    /// A batch whose answer was lost may be there twice.
    Disabled,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::NONE,
            batch_bytes_max: 128 * 1024,
            linger: Duration::from_millis(5),
            buffer_bytes_max: 32 * 1024 * 1024,
            in_flight_max: 5,
            delivery_timeout: Duration::from_secs(120),
            idempotence: Idempotence::Enabled,
            create: AutoCreate::Allowed,
        }
    }
}

/// A record to send.
#[derive(Debug, Clone, Default)]
pub struct ProducerRecord {
    /// Its topic.
    pub topic: Str,
    /// Its partition; `None` leaves the choice to the key, or to us.
    pub partition: Option<PartitionIndex>,
    /// Its timestamp; `None` for now.
    pub timestamp: Option<Timestamp>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(Str, Option<Bytes>)>,
}

/// Where a record has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset; `None` with `acks=0`, or where the broker knows only that it has it.
    pub offset: Option<Offset>,
}

/// A producer. Its task ends with it; what was not flushed is lost then.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    shared: Rc<Shared>,
    topics: RefCell<HashMap<Str, KnownTopic>>,
}

#[derive(Debug)]
struct KnownTopic {
    partitioner: Partitioner,
    partition_count: i32,
}

impl Producer {
    /// A producer that shares the connections of `client`.
    ///
    /// # Errors
    /// The options contradict each other.
    pub fn new(client: Client, options: ProducerOptions) -> Result<Self> {
        Self::with_name(client, options, None)
    }

    /// A producer with a transactional id, if there is one.
    fn with_name(client: Client, options: ProducerOptions, name: Option<Str>) -> Result<Self> {
        if options.idempotence == Idempotence::Enabled && options.acks != Acks::All {
            return Err(ClientError::Invalid("an idempotent producer needs acks=all".into()));
        }
        if options.in_flight_max == 0 || options.batch_bytes_max == 0 {
            return Err(ClientError::Invalid("a producer needs room for one batch".into()));
        }
        let shared = Rc::new(Shared::new(client.clone(), options, name));
        task::spawn_local(sender::run(Rc::clone(&shared)));
        Ok(Self { client, shared, topics: RefCell::default() })
    }

    /// Takes a record into its partition's batch; waits while the buffer is full. What becomes
    /// of it is told by the [`Delivery`].
    ///
    /// # Errors
    /// The topic does not exist, the partition does not, or the record is too large.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        let partition = self.place(&record).await?;
        self.put(record, partition).await
    }

    /// The partition that a record goes to if it is sent next.
    async fn place(&self, record: &ProducerRecord) -> Result<PartitionIndex> {
        if !self.topics.borrow().contains_key(&record.topic) {
            let partition_count = self.shared.partition_count(&record.topic).await?;
            let partition_count = i32::try_from(partition_count).unwrap_or(i32::MAX);
            let known = KnownTopic { partitioner: Partitioner::default(), partition_count };
            self.topics.borrow_mut().insert(record.topic.detached(), known);
        }
        self.partition(record)
    }

    async fn put(&self, record: ProducerRecord, partition: PartitionIndex) -> Result<Delivery> {
        let timestamp = record.timestamp.unwrap_or_else(|| self.client.env().clock.wall());
        let parts = RecordParts {
            timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        if parts.len_bytes() > RECORD_BYTES_MAX {
            return Err(ClientError::Invalid(format!(
                "a record has {} bytes, more than {RECORD_BYTES_MAX}",
                parts.len_bytes()
            )));
        }
        self.shared.room_for(parts.len_bytes()).await;
        let (delivery, is_full) = self.shared.append(&record.topic, partition, &parts)?;
        if is_full {
            if record.key.is_none() && record.partition.is_none() {
                self.move_on(&record.topic);
            }
            // The sender lives on this thread: a caller that never waits would starve it.
            tokio::task::yield_now().await;
        }
        Ok(delivery)
    }

    fn partition(&self, record: &ProducerRecord) -> Result<PartitionIndex> {
        let topics = self.topics.borrow();
        let known = &topics[&record.topic];
        match record.partition {
            Some(partition) if !(0..known.partition_count).contains(&partition) => {
                Err(ClientError::Invalid(format!(
                    "topic '{}' has {} partitions, there is no {partition}",
                    record.topic, known.partition_count
                )))
            }
            Some(partition) => Ok(partition),
            None => Ok(known.partitioner.partition(record.key.as_ref(), known.partition_count)),
        }
    }

    /// Records without a key go to the next partition from now on.
    fn move_on(&self, topic: &Str) {
        if let Some(known) = self.topics.borrow_mut().get_mut(topic) {
            known.partitioner.on_full(known.partition_count);
        }
    }

    /// Sends everything now and waits until all of it is acknowledged or has failed.
    ///
    /// # Errors
    /// The first failure since the last flush.
    pub async fn flush(&self) -> Result<()> {
        self.shared.flush().await
    }

    /// Records that were acknowledged so far.
    #[must_use]
    pub fn acknowledged_count(&self) -> u64 {
        self.shared.acknowledged_count()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.close();
    }
}
