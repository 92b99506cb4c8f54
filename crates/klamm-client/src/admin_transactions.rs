//! Transactions, asked for and repaired (KIP-664). Which of them hang is decided in
//! [`crate::hanging`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use klamm_protocol::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    ListTransactionsRequest, WriteTxnMarkersRequest,
    describe_producers_request::TopicRequest,
    describe_producers_response::ProducerState,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};
use klamm_stdx::Str;

use crate::admin::{check, only};
use crate::cluster::{AutoCreate, Client, Purpose};
use crate::coordinator::Coordinated;
use crate::error::{ClientError, Result};
use crate::hanging::{
    ActiveProducer, HangingTransaction, ProducersByPartition, TransactionDescription, hanging,
    overdue,
};
use crate::retry::Retry;

/// Which transactions are listed; the default is all.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Only in these states, in Kafka's words.
    pub states: Vec<Str>,
    /// Only of these producers.
    pub producer_ids: Vec<ProducerId>,
    /// Only those that have been open for longer (KIP-994).
    pub longer_than: Option<Duration>,
    /// Only ids that match this regular expression (KIP-1152).
    pub pattern: Option<Str>,
}

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: Str,
    /// Its producer.
    pub producer_id: ProducerId,
    /// The state of its transaction, in Kafka's words.
    pub state: Str,
}

impl Client {
    /// The transactional ids of all brokers, by name.
    ///
    /// # Errors
    /// A broker refused or cannot be reached, or it does not know one of the states.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>> {
        let longer_than = filter.longer_than.map(|age| i64::try_from(age.as_millis()));
        let request = ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.iter().map(|id| id.0).collect(),
            duration_filter: longer_than.map_or(-1, |ms| ms.unwrap_or(i64::MAX)),
            transactional_id_pattern: filter.pattern.clone(),
        };
        let mut listed = Vec::new();
        for broker in self.metadata(Some(&[]), AutoCreate::Never).await?.brokers {
            let mut retry = Retry::default();
            let response = loop {
                let connection = self.broker(broker.node_id.into(), Purpose::Data).await?;
                let response = connection.call(&request).await?;
                match check(response.error_code, None, "listing transactions") {
                    Ok(()) => break response,
                    Err(error) if error.is_retriable() && retry.again().await => {}
                    Err(error) => return Err(error),
                }
            };
            if let Some(state) = response.unknown_state_filters.first() {
                return Err(ClientError::Invalid(format!("'{state}' is no state")));
            }
            listed.extend(response.transaction_states.into_iter().map(|line| TransactionListing {
                transactional_id: line.transactional_id.detached(),
                producer_id: ProducerId(line.producer_id),
                state: line.transaction_state.detached(),
            }));
        }
        listed.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(listed)
    }

    /// A transactional id as its coordinator knows it.
    ///
    /// # Errors
    /// The coordinator refused; `TRANSACTIONAL_ID_NOT_FOUND` if it does not know the id.
    pub async fn describe_transaction(
        &self,
        transactional_id: &Str,
    ) -> Result<TransactionDescription> {
        let what = format!("describing transactional id '{transactional_id}'");
        let request =
            DescribeTransactionsRequest { transactional_ids: vec![transactional_id.clone()] };
        let mut retry = Retry::default();
        loop {
            let id = self.coordinator(Coordinated::TransactionalId, transactional_id).await?;
            let connection = self.broker(id, Purpose::Coordinator).await?;
            let found = only(connection.call(&request).await?.transaction_states, &what)?;
            match check(found.error_code, None, &what) {
                Ok(()) => {}
                Err(error) if error.is_retriable() && retry.again().await => continue,
                Err(error) => return Err(error),
            }
            let partitions = found.topics.iter().flat_map(|topic| {
                let name = topic.topic.detached();
                topic.partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
            });
            let started_at = found.transaction_start_time_ms;
            return Ok(TransactionDescription {
                transactional_id: found.transactional_id.detached(),
                coordinator_id: id.0,
                state: found.transaction_state.detached(),
                producer_id: ProducerId(found.producer_id),
                producer_epoch: ProducerEpoch(found.producer_epoch),
                timeout_ms: found.transaction_timeout_ms,
                started_at: (started_at >= 0).then_some(Timestamp(started_at)),
                partitions: partitions.collect(),
            });
        }
    }

    /// Who writes to some partitions, as their leaders know it.
    ///
    /// # Errors
    /// A topic does not exist, or a leader refused for too long.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<ProducersByPartition> {
        let mut found = ProducersByPartition::new();
        let mut retry = Retry::default();
        loop {
            let missing: Vec<_> =
                partitions.iter().filter(|partition| !found.contains_key(*partition)).collect();
            if missing.is_empty() {
                return Ok(found);
            }
            let left_out = "describing producers: the broker leaves partitions out";
            let mut failed = ClientError::Invalid(left_out.into());
            for (leader, of_leader) in self.by_leader(&missing).await? {
                let connection = self.broker(leader, Purpose::Data).await?;
                let response = connection.call(&producers_request(&of_leader)).await?;
                if let Err(error) = take_producers(response, &mut found) {
                    failed = error;
                }
            }
            if partitions.iter().all(|partition| found.contains_key(partition)) {
                continue;
            }
            missing.iter().for_each(|partition| self.forget_topic(&partition.topic));
            if !(failed.is_retriable() && retry.again().await) {
                return Err(failed);
            }
        }
    }

    /// The transactions in some partitions that nobody will end: open for longer than any may be,
    /// and in none that a coordinator has.
    ///
    /// # Errors
    /// A broker refused or cannot be reached.
    pub async fn hanging_transactions(
        &self,
        partitions: &[TopicPartition],
        timeout_max: Duration,
    ) -> Result<Vec<HangingTransaction>> {
        let producers = self.describe_producers(partitions).await?;
        let now = self.env().clock.wall();
        let candidates = overdue(&producers, now, timeout_max);
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let ids: BTreeSet<ProducerId> = candidates.iter().map(|(_, p)| p.id).collect();
        let filter =
            TransactionFilter { producer_ids: ids.into_iter().collect(), ..Default::default() };
        let mut known = Vec::new();
        for line in self.list_transactions(&filter).await? {
            match self.describe_transaction(&line.transactional_id).await {
                Ok(description) => known.push(description),
                // It has expired since.
                Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(hanging(candidates, &known))
    }

    /// Ends a producer's open transaction in one partition as aborted, without its coordinator:
    /// a marker with the epochs that the partition has.
    ///
    /// # Errors
    /// The leader refused, for example because the producer or coordinator has moved on.
    pub async fn abort_in_partition(
        &self,
        partition: &TopicPartition,
        producer: &ActiveProducer,
    ) -> Result<()> {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: partition.topic.clone(),
                    partition_indexes: vec![partition.partition],
                }],
                coordinator_epoch: producer.coordinator_epoch.unwrap_or(0),
                // As before KIP-890: with its own epoch, because nobody has given it the next.
                ..WritableTxnMarker::default()
            }],
        };
        let what = format!("aborting a transaction in {partition}");
        let mut retry = Retry::default();
        loop {
            let leaders = self.by_leader(&[partition]).await?;
            let leader = only(leaders.into_keys().collect(), &what)?;
            let connection = self.broker(leader, Purpose::Data).await?;
            let marker = only(connection.call(&request).await?.markers, &what)?;
            let topic = only(marker.topics, &what)?;
            match check(only(topic.partitions, &what)?.error_code, None, &what) {
                Err(error) if error.is_retriable() && retry.again().await => {
                    self.forget_topic(&partition.topic);
                }
                other => return other,
            }
        }
    }
}

fn producers_request(partitions: &[TopicPartition]) -> DescribeProducersRequest {
    let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition);
    }
    let topic = |(name, partition_indexes)| TopicRequest { name, partition_indexes };
    DescribeProducersRequest { topics: topics.into_iter().map(topic).collect() }
}

/// Takes what was told; gives the last refusal.
fn take_producers(
    response: DescribeProducersResponse,
    found: &mut ProducersByPartition,
) -> Result<()> {
    let mut refused = Ok(());
    for topic in response.topics {
        let name = topic.name.detached();
        for partition in topic.partitions {
            let key = TopicPartition::new(name.clone(), partition.partition_index);
            let what = format!("describing the producers of {key}");
            match check(partition.error_code, partition.error_message.as_ref(), &what) {
                Ok(()) => {
                    found.insert(key, partition.active_producers.iter().map(producer).collect());
                }
                Err(error) => refused = Err(error),
            }
        }
    }
    refused
}

fn producer(state: &ProducerState) -> ActiveProducer {
    let start = state.current_txn_start_offset;
    ActiveProducer {
        id: ProducerId(state.producer_id),
        epoch: ProducerEpoch(i16::try_from(state.producer_epoch).unwrap_or(-1)),
        last_sequence: state.last_sequence,
        last_timestamp: Timestamp(state.last_timestamp),
        coordinator_epoch: (state.coordinator_epoch >= 0).then_some(state.coordinator_epoch),
        transaction_start: (start >= 0).then_some(Offset(start)),
    }
}
