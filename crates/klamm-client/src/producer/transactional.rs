//! A producer whose records count together or not at all (KIP-98, KIP-447, KIP-890). Asks the
//! coordinators; what an answer means is decided in [`super::transaction`].

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_codec::Message;
use klamm_model::{NodeId, Offset, ProducerEpoch, ProducerId, TopicPartition};
use klamm_protocol::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest,
    InitProducerIdRequest, Request, TxnOffsetCommitRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};
use klamm_stdx::Str;

use super::accumulator::Identity;
use super::transaction::{Outcome, Transaction};
use super::verdict::may_be_in_transaction;
use super::{Delivery, Idempotence, Producer, ProducerOptions, ProducerRecord};
use crate::admin::check;
use crate::cluster::{Client, Coordinated, Purpose};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// The feature that says which protocol a cluster speaks, and its level from which on each
/// transaction has its epoch.
const FEATURE: (&str, i16) = ("transaction.version", 2);
/// The newest version of AddPartitionsToTxn that clients use; later ones are for brokers.
const ADD_PARTITIONS_UNTIL: i16 = 3;

/// The transactions of a producer.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// Its name: whoever opens a producer with it later fences the one before.
    pub transactional_id: Str,
    /// How long a transaction may stay open before the coordinator aborts it.
    pub timeout: Duration,
}

impl TransactionOptions {
    /// With the timeout of Kafka's Java producer, a minute.
    #[must_use]
    pub fn new(transactional_id: impl Into<Str>) -> Self {
        Self { transactional_id: transactional_id.into(), timeout: Duration::from_secs(60) }
    }
}

/// A consumer as its group knows it; a group that has moved on refuses its offsets (KIP-447).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group_id: Str,
    /// The member; empty if the group is only a place for offsets.
    pub member_id: Str,
    /// Its name that survives restarts.
    pub instance_id: Option<Str>,
    /// The generation it is in; -1 without one.
    pub generation_id: i32,
}

impl GroupMetadata {
    /// A group without members, used for its offsets alone.
    #[must_use]
    pub fn without_member(group_id: impl Into<Str>) -> Self {
        let group_id = group_id.into();
        Self { group_id, generation_id: -1, ..Self::default() }
    }
}

/// The protocol of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Partitions are announced before they are written to.
    V1,
    /// The first write announces them, and every transaction has its own epoch (KIP-890).
    V2,
}

impl Protocol {
    /// The newest version of a request in this protocol.
    fn version_max(self, api: ApiKey) -> i16 {
        match (self, api) {
            (Self::V1, ApiKey::Produce) => 11,
            (Self::V1, ApiKey::EndTxn | ApiKey::TxnOffsetCommit) => 4,
            (_, ApiKey::AddPartitionsToTxn) => ADD_PARTITIONS_UNTIL,
            _ => i16::MAX,
        }
    }
}

/// A producer with transactions.
///
/// Errors are told apart: [`ClientError::MustAbort`] is cured by [`TransactionalProducer::abort`],
/// [`ClientError::Fenced`] by nothing. An error of [`TransactionalProducer::commit`] that is
/// neither leaves it unknown what became of the transaction: commit again. A transaction that is
/// open when its producer is dropped is aborted by its timeout, or by the next producer of the name.
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: Producer,
    client: Client,
    options: TransactionOptions,
    transaction: Transaction,
    protocol: Protocol,
    coordinator: Option<NodeId>,
}

impl TransactionalProducer {
    /// Opens a producer: those that had the name before are fenced, and what they left open is
    /// aborted.
    ///
    /// # Errors
    /// The options contradict each other, or the coordinator refused.
    pub async fn open(
        client: Client,
        options: TransactionOptions,
        producer: ProducerOptions,
    ) -> Result<Self> {
        if producer.idempotence == Idempotence::Disabled {
            return Err(ClientError::Invalid("transactions need an idempotent producer".into()));
        }
        if options.transactional_id.is_empty() {
            return Err(ClientError::Invalid("a transactional id has at least one letter".into()));
        }
        let name = Some(options.transactional_id.clone());
        let producer = Producer::with_name(client.clone(), producer, name)?;
        let mut this = Self {
            producer,
            client,
            options,
            transaction: Transaction::new(),
            protocol: Protocol::V1,
            coordinator: None,
        };
        let identity = this.init(None).await?;
        this.producer.shared.start_as(identity);
        Ok(this)
    }

    /// The producer id and epoch.
    ///
    /// # Panics
    /// Never: [`TransactionalProducer::open`] got them.
    #[must_use]
    pub fn identity(&self) -> (ProducerId, ProducerEpoch) {
        self.producer.shared.identity().expect("it was opened with one")
    }

    /// Begins a transaction. The coordinator hears of it with the first record.
    ///
    /// # Errors
    /// One is open, or the producer is over.
    pub async fn begin(&mut self) -> Result<()> {
        let connection = self.coordinator().await?;
        let (feature, v2_from) = FEATURE;
        let is_v2 = connection.feature_level(feature) >= v2_from
            && connection.version(ApiKey::EndTxn)? > Protocol::V1.version_max(ApiKey::EndTxn);
        self.transaction.begin()?;
        self.protocol = if is_v2 { Protocol::V2 } else { Protocol::V1 };
        self.producer.shared.begin(self.protocol.version_max(ApiKey::Produce));
        Ok(())
    }

    /// Takes a record into the transaction, as [`Producer::send`].
    ///
    /// # Errors
    /// No transaction is open, an earlier record has failed, or as [`Producer::send`].
    pub async fn send(&mut self, record: ProducerRecord) -> Result<Delivery> {
        self.transaction.check_open()?;
        if let Some(error) = self.producer.shared.failure() {
            return Err(self.transaction.on_batch_failed(error));
        }
        let index = self.producer.place(&record).await?;
        let partition = TopicPartition::new(record.topic.detached(), index);
        if !self.transaction.has(&partition) {
            let added = self.add(&partition).await;
            // It may be in the transaction also without a clear answer.
            if added.as_ref().err().is_none_or(|error| !error.is_certain()) {
                self.transaction.add(partition);
            }
            added.map_err(|error| self.transaction.on_refused(error))?;
        }
        self.producer.put(record, index).await
    }

    /// Sends everything now and waits until all of it is acknowledged or has failed.
    ///
    /// # Errors
    /// The first failure: the transaction is to be aborted.
    pub async fn flush(&mut self) -> Result<()> {
        let flushed = self.producer.flush().await;
        flushed.map_err(|error| self.transaction.on_batch_failed(error))
    }

    /// Commits offsets of a group with the transaction.
    ///
    /// # Errors
    /// The group has moved on, or a coordinator refused: the transaction is to be aborted.
    pub async fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Offset)],
        group: &GroupMetadata,
    ) -> Result<()> {
        self.transaction.check_open()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let sent = self.commit_offsets(offsets, group).await;
        let may_be = |error: &ClientError| match self.protocol {
            Protocol::V1 => !error.is_certain(),
            Protocol::V2 => may_be_in_transaction(error),
        };
        if sent.as_ref().err().is_none_or(may_be) {
            self.transaction.add_offsets();
        }
        sent.map_err(|error| self.transaction.on_refused(error))
    }

    /// Ends the transaction: its records count.
    ///
    /// # Errors
    /// A record was not written (the transaction is to be aborted), the producer was fenced, or
    /// the coordinator did not answer: then what became of it is unknown, and the same call asks
    /// again.
    pub async fn commit(&mut self) -> Result<()> {
        self.transaction.check_end(Outcome::Commit)?;
        self.flush().await?;
        self.end(Outcome::Commit).await
    }

    /// Ends the transaction: its records do not count. What was not sent yet is not sent.
    ///
    /// # Errors
    /// The producer was fenced, or the coordinator did not answer: the same call asks again.
    pub async fn abort(&mut self) -> Result<()> {
        self.transaction.check_end(Outcome::Abort)?;
        self.producer.shared.give_up().await;
        self.end(Outcome::Abort).await
    }

    async fn end(&mut self, outcome: Outcome) -> Result<()> {
        // An end that the coordinator does not expect would look like one of a fenced producer.
        let has_records = match self.protocol {
            Protocol::V1 => self.transaction.has_partitions(),
            Protocol::V2 => self.producer.shared.has_written(),
        };
        let is_empty = !has_records && !self.transaction.has_offsets();
        self.transaction.start_end(outcome);
        let next = match is_empty {
            true => Ok(None),
            false => self.end_at_coordinator(outcome).await,
        };
        let next = match next {
            // Its sequence numbers are no longer those of the brokers (KIP-360).
            Ok(None) if self.producer.shared.is_spent() => {
                self.init(Some(self.identity())).await.map(Some)
            }
            other => other,
        };
        let next = next.map_err(|error| self.transaction.on_end_failed(error))?;
        if let Some(identity) = next {
            self.producer.shared.start_as(identity);
        }
        self.transaction.on_ended();
        Ok(())
    }

    /// What the producer is after the transaction, if the coordinator told.
    async fn end_at_coordinator(&mut self, outcome: Outcome) -> Result<Option<Identity>> {
        let (id, epoch) = self.identity();
        let request = EndTxnRequest {
            transactional_id: self.options.transactional_id.clone(),
            producer_id: id.0,
            producer_epoch: epoch.0,
            committed: outcome == Outcome::Commit,
        };
        let what = match outcome {
            Outcome::Commit => self.what("committing a transaction"),
            Outcome::Abort => self.what("aborting a transaction"),
        };
        let response =
            self.ask(&request, |response| check(response.error_code, None, &what)).await?;
        let is_told = self.protocol == Protocol::V2 && response.producer_id >= 0;
        let next = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
        Ok(is_told.then_some(next))
    }

    async fn init(&mut self, expected: Option<Identity>) -> Result<Identity> {
        let (id, epoch) = expected.unwrap_or((ProducerId(-1), ProducerEpoch(-1)));
        let timeout = i32::try_from(self.options.timeout.as_millis());
        let request = InitProducerIdRequest {
            transactional_id: Some(self.options.transactional_id.clone()),
            transaction_timeout_ms: timeout.unwrap_or(i32::MAX),
            producer_id: id.0,
            producer_epoch: epoch.0,
            ..InitProducerIdRequest::default()
        };
        let what = self.what("asking for a producer id");
        let response =
            self.ask(&request, |response| check(response.error_code, None, &what)).await?;
        Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
    }

    /// Tells the coordinator of a partition, where a write does not do that.
    async fn add(&mut self, partition: &TopicPartition) -> Result<()> {
        if self.protocol == Protocol::V2 {
            return Ok(());
        }
        let (id, epoch) = self.identity();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.options.transactional_id.clone(),
            v3_and_below_producer_id: id.0,
            v3_and_below_producer_epoch: epoch.0,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: partition.topic.clone(),
                partitions: vec![partition.partition],
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let what = self.what(&format!("adding {partition} to a transaction"));
        let checked = |response: &klamm_protocol::AddPartitionsToTxnResponse| {
            let results = response.results_by_topic_v3_and_below.iter();
            let mut codes = results
                .flat_map(|topic| &topic.results_by_partition)
                .map(|result| result.partition_error_code);
            codes.try_for_each(|code| check(code, None, &what))
        };
        self.ask(&request, checked).await.map(drop)
    }

    async fn commit_offsets(
        &mut self,
        offsets: &[(TopicPartition, Offset)],
        group: &GroupMetadata,
    ) -> Result<()> {
        let (id, epoch) = self.identity();
        if self.protocol == Protocol::V1 {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.options.transactional_id.clone(),
                producer_id: id.0,
                producer_epoch: epoch.0,
                group_id: group.group_id.clone(),
            };
            let what = self.what("adding offsets to a transaction");
            self.ask(&request, |response| check(response.error_code, None, &what)).await?;
            // From here on there is something to end, whatever becomes of the offsets.
            self.transaction.add_offsets();
        }
        let request = TxnOffsetCommitRequest {
            transactional_id: self.options.transactional_id.clone(),
            group_id: group.group_id.clone(),
            producer_id: id.0,
            producer_epoch: epoch.0,
            generation_id: group.generation_id,
            member_id: group.member_id.clone(),
            group_instance_id: group.instance_id.clone(),
            topics: topics(offsets),
        };
        let mut retry = Retry::default();
        loop {
            match self.commit_offsets_once(&request).await {
                Err(error) if error.is_retriable() && retry.again().await => {}
                other => return other,
            }
        }
    }

    async fn commit_offsets_once(&self, request: &TxnOffsetCommitRequest) -> Result<()> {
        let id = self.client.group_coordinator(&request.group_id).await?;
        let connection = self.client.broker(id, Purpose::Coordinator).await?;
        let version = self.version(&connection, ApiKey::TxnOffsetCommit)?;
        let response = connection.call_version(request, version).await?;
        let what = self.what(&format!("committing offsets of group '{}'", request.group_id));
        let mut lines = response.topics.iter().flat_map(|topic| &topic.partitions);
        lines.try_for_each(|line| check(line.error_code, None, &what))
    }

    /// Asks the transaction coordinator until it answers with more than "not now".
    async fn ask<R, C>(&mut self, request: &R, checked: C) -> Result<R::Response>
    where
        R: Request,
        R::Response: Message,
        C: Fn(&R::Response) -> Result<()>,
    {
        let mut retry = Retry::default();
        loop {
            let asked = match self.coordinator().await {
                Ok(connection) => {
                    let version = self.version(&connection, R::KEY)?;
                    connection.call_version(request, version).await
                }
                Err(error) => Err(error),
            };
            match asked.and_then(|response| checked(&response).map(|()| response)) {
                Err(error) if error.is_retriable() => {
                    self.coordinator = None;
                    if !retry.again().await {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    async fn coordinator(&mut self) -> Result<Connection> {
        let id = match self.coordinator {
            Some(id) => id,
            None => {
                let name = &self.options.transactional_id;
                self.client.coordinator(Coordinated::TransactionalId, name).await?
            }
        };
        let connection = self.client.broker(id, Purpose::Coordinator).await;
        // One that does not answer may have been replaced.
        self.coordinator = connection.is_ok().then_some(id);
        connection
    }

    fn version(&self, connection: &Connection, api: ApiKey) -> Result<i16> {
        Ok(connection.version(api)?.min(self.protocol.version_max(api)))
    }

    fn what(&self, doing: &str) -> String {
        format!("{doing} as '{}'", self.options.transactional_id)
    }
}

fn topics(offsets: &[(TopicPartition, Offset)]) -> Vec<TxnOffsetCommitRequestTopic> {
    let mut topics: BTreeMap<Str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics.entry(partition.topic.clone()).or_default().push(TxnOffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_leader_epoch: -1,
            committed_metadata: Some(Str::new()),
        });
    }
    let topic = |(name, partitions)| TxnOffsetCommitRequestTopic { name, partitions };
    topics.into_iter().map(topic).collect()
}
