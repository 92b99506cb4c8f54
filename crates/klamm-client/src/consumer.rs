//! The consumer of partitions that the caller names: where it is in each, and records in order.
//!
//! One fetch is on its way to each broker while the records of the one before are handed out.
//! Each fetch stands for itself (no fetch session): what is asked for changes with every answer.

mod decode;
mod fetch;
mod options;
mod start_at;
pub(crate) mod times;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use klamm_env::task;
use klamm_model::{ErrorCode, NodeId, Offset, PartitionIndex, Timestamp};
use klamm_model::{TopicId, TopicPartition};
use klamm_records::Scratch;
use klamm_stdx::Str;
use tokio::task::JoinSet;

use crate::cluster::{AutoCreate, Client};
use crate::error::{ClientError, Result};
use crate::offsets::OffsetSpec;
use fetch::{Fetched, FetchedPartition};
pub use options::{ConsumerOptions, OffsetReset};
pub use start_at::StartAt;
pub(crate) use start_at::resolve;

/// Pause after a fetch that failed for a passing reason.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Fetches that may fail one after the other before the caller is told.
const FAILURES_MAX: u32 = 20;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: Str,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order; keys are meant to be UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// A consumer of partitions that the caller names.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    partitions: BTreeMap<TopicPartition, Position>,
    ready: VecDeque<ConsumerRecord>,
    fetches: JoinSet<(NodeId, Result<Vec<Fetched>>)>,
    fetching: Vec<NodeId>,
    failures: u32,
    scratch: Scratch,
    /// Changes with every assignment, so that answers to old questions are told apart.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    /// What the caller gets next.
    next: Offset,
    /// What is fetched next; records up to here wait in `ready`.
    fetch: Offset,
    end: Option<Offset>,
    topic_id: TopicId,
}

impl Consumer {
    /// A consumer of nothing yet. It shares the connections of `client`.
    #[must_use]
    pub fn new(client: Client, options: ConsumerOptions) -> Self {
        Self {
            client,
            options,
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            fetches: JoinSet::new(),
            fetching: Vec::new(),
            failures: 0,
            scratch: Scratch::default(),
            generation: 0,
        }
    }

    /// Reads these partitions from now on, and no others.
    ///
    /// # Errors
    /// A topic or partition does not exist, or an offset cannot be found.
    pub async fn assign(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<()> {
        self.clear();
        let found = resolve(&self.client, partitions, self.options.isolation).await?;
        for (partition, offset) in found {
            let topic = self.client.topic(&partition.topic, AutoCreate::Never).await?;
            let position =
                Position { next: offset, fetch: offset, end: None, topic_id: topic.topic_id };
            self.partitions.insert(partition, position);
        }
        Ok(())
    }

    /// Reads nothing from now on; records that were fetched and not given are forgotten.
    pub fn clear(&mut self) {
        self.generation += 1;
        self.partitions.clear();
        self.ready.clear();
        self.fetches.abort_all();
        self.fetches = JoinSet::new();
        self.fetching.clear();
    }

    /// The partitions, and the offset that comes next in each.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.partitions.iter().map(|(partition, position)| (partition, position.next))
    }

    /// Whether everything has been given that was there at the last fetch of each partition.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let is_at_end = |p: &Position| p.end.is_some_and(|end| p.next >= end);
        self.ready.is_empty() && self.partitions.values().all(is_at_end)
    }

    /// The next records, at most [`ConsumerOptions::max_poll_records`]; none if none came within
    /// `wait`. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// A broker refused for good or for too long, or records are damaged.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>> {
        let deadline = self.client.env().clock.now() + wait;
        loop {
            if self.ready.len() < self.options.max_poll_records {
                self.start_fetches().await?;
            }
            if !self.ready.is_empty() {
                return Ok(self.give());
            }
            let limit = deadline.since(self.client.env().clock.now());
            if self.fetches.is_empty() {
                task::sleep(limit.min(RETRY_PAUSE)).await;
            } else {
                match task::timeout(limit, self.fetches.join_next()).await {
                    Some(Some(Ok((broker, result)))) => self.on_fetched(broker, result).await?,
                    Some(Some(Err(error))) => return Err(ClientError::Invalid(error.to_string())),
                    Some(None) | None => {}
                }
            }
            // Another answer may be here already: it is taken before the wait is over.
            if self.ready.is_empty() && limit.is_zero() {
                return Ok(Vec::new());
            }
        }
    }

    fn give(&mut self) -> Vec<ConsumerRecord> {
        let count = self.ready.len().min(self.options.max_poll_records);
        let records: Vec<_> = self.ready.drain(..count).collect();
        for record in &records {
            self.advance(&record.topic, record.partition, record.offset.plus(1));
        }
        // What was skipped at the end (control records, aborted ones) is behind us too.
        if self.ready.is_empty() {
            for position in self.partitions.values_mut() {
                position.next = position.fetch;
            }
        }
        records
    }

    fn advance(&mut self, topic: &Str, partition: PartitionIndex, next: Offset) {
        let key = TopicPartition { topic: topic.clone(), partition };
        if let Some(position) = self.partitions.get_mut(&key) {
            position.next = next;
        }
    }

    /// Asks every broker that leads one of the partitions and is not being asked yet.
    async fn start_fetches(&mut self) -> Result<()> {
        let keys: Vec<_> = self.partitions.keys().collect();
        let by_leader = self.client.by_leader(&keys).await?;
        for (leader, partitions) in by_leader {
            if self.fetching.contains(&leader) {
                continue;
            }
            let questions = partitions
                .into_iter()
                .filter_map(|partition| {
                    let position = self.partitions.get(&partition)?;
                    Some((partition, position.fetch, position.topic_id))
                })
                .collect();
            let (client, options) = (self.client.clone(), self.options.clone());
            self.fetching.push(leader);
            self.fetches.spawn_local(async move {
                (leader, fetch::fetch(&client, leader, questions, &options).await)
            });
        }
        Ok(())
    }

    async fn on_fetched(&mut self, broker: NodeId, result: Result<Vec<Fetched>>) -> Result<()> {
        self.fetching.retain(|other| *other != broker);
        let mut last = None;
        match result {
            Ok(fetched) => {
                for answer in fetched {
                    if let Err(error) = self.on_partition(answer).await {
                        last = Some(error);
                    }
                }
            }
            Err(error) => last = Some(error),
        }
        let Some(error) = last else {
            self.failures = 0;
            return Ok(());
        };
        self.failures += 1;
        if !error.is_retriable() || self.failures >= FAILURES_MAX {
            return Err(error);
        }
        tracing::debug!(%error, "a fetch is tried again");
        for partition in self.partitions.keys() {
            self.client.forget_topic(&partition.topic);
        }
        task::sleep(RETRY_PAUSE).await;
        Ok(())
    }

    async fn on_partition(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { partition, offset, result } = fetched;
        let Some(position) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if position.fetch != offset {
            return Ok(());
        }
        match result {
            Ok(FetchedPartition { records, aborted, end }) => {
                let mut decoder = decode::Decoder {
                    partition: &partition,
                    from: offset,
                    isolation: self.options.isolation,
                    aborted,
                    out: &mut self.ready,
                };
                let next = decoder.decode(&records, &mut self.scratch)?;
                position.fetch = next;
                position.end = Some(end);
                if self.ready.is_empty() {
                    position.next = next;
                }
                Ok(())
            }
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                self.reset(&partition, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn reset(&mut self, partition: &TopicPartition, error: ClientError) -> Result<()> {
        let spec = match self.options.reset {
            OffsetReset::Earliest => OffsetSpec::Earliest,
            OffsetReset::Latest => OffsetSpec::Latest,
            OffsetReset::None => return Err(error),
        };
        let partitions = [partition.clone()];
        let found = self.client.list_offsets(&partitions, spec, self.options.isolation).await?;
        let offset = found.get(partition).copied().flatten().unwrap_or(Offset::ZERO);
        tracing::info!(%partition, %offset, "the position was outside of the log and is reset");
        if let Some(position) = self.partitions.get_mut(partition) {
            position.fetch = offset;
            position.next = offset;
        }
        Ok(())
    }
}
