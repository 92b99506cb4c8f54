//! What a transactional producer asks the coordinators, its own and those of groups, in the words
//! of the protocol that the cluster speaks. Knows nothing of what is open: see
//! [`super::transaction`].

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
use super::transaction::Outcome;
use crate::admin::check;
use crate::cluster::{Client, Purpose};
use crate::connection::Connection;
use crate::coordinator::Coordinated;
use crate::error::Result;
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
pub(super) enum Protocol {
    /// Partitions are announced before they are written to.
    V1,
    /// The first write announces them, and every transaction has its own epoch (KIP-890).
    V2,
}

impl Protocol {
    /// The newest version of a request in this protocol.
    pub(super) fn version_max(self, api: ApiKey) -> i16 {
        match (self, api) {
            (Self::V1, ApiKey::Produce) => 11,
            (Self::V1, ApiKey::EndTxn | ApiKey::TxnOffsetCommit) => 4,
            (_, ApiKey::AddPartitionsToTxn) => ADD_PARTITIONS_UNTIL,
            _ => i16::MAX,
        }
    }
}

/// The coordinators of a producer.
#[derive(Debug)]
pub(super) struct Coordinators {
    client: Client,
    options: TransactionOptions,
    /// Of the transaction that is open, or was last.
    pub(super) protocol: Protocol,
    /// The producer's own, as far as it is known.
    coordinator: Option<NodeId>,
}

impl Coordinators {
    pub(super) fn new(client: Client, options: TransactionOptions) -> Self {
        Self { client, options, protocol: Protocol::V1, coordinator: None }
    }

    /// The protocol that the cluster speaks now.
    pub(super) async fn spoken(&mut self) -> Result<Protocol> {
        let connection = self.coordinator().await?;
        let (feature, v2_from) = FEATURE;
        let is_v2 = connection.feature_level(feature) >= v2_from
            && connection.version(ApiKey::EndTxn)? > Protocol::V1.version_max(ApiKey::EndTxn);
        Ok(if is_v2 { Protocol::V2 } else { Protocol::V1 })
    }

    /// What the producer is after the transaction, if the coordinator told.
    pub(super) async fn end(
        &mut self,
        (id, epoch): Identity,
        outcome: Outcome,
    ) -> Result<Option<Identity>> {
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

    /// Opens the name, or has the expected identity go on in its next epoch.
    pub(super) async fn init(&mut self, expected: Option<Identity>) -> Result<Identity> {
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
    pub(super) async fn add(
        &mut self,
        (id, epoch): Identity,
        partition: &TopicPartition,
    ) -> Result<()> {
        if self.protocol == Protocol::V2 {
            return Ok(());
        }
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

    /// Tells the coordinator that offsets of a group will be in the transaction.
    pub(super) async fn add_group(
        &mut self,
        (id, epoch): Identity,
        group: &GroupMetadata,
    ) -> Result<()> {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.options.transactional_id.clone(),
            producer_id: id.0,
            producer_epoch: epoch.0,
            group_id: group.group_id.clone(),
        };
        let what = self.what("adding offsets to a transaction");
        self.ask(&request, |response| check(response.error_code, None, &what)).await.map(drop)
    }

    /// Has the group's coordinator take offsets into the transaction.
    pub(super) async fn commit_offsets(
        &self,
        (id, epoch): Identity,
        offsets: &[(TopicPartition, Offset)],
        group: &GroupMetadata,
    ) -> Result<()> {
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
