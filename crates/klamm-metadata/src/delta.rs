//! The next image in the making: records are replayed into it one after another. Cost follows
//! the change; what does not change is shared with the image before. Never touches the log.

use std::sync::Arc;

use klamm_model::{NodeId, PartitionIndex, ProducerId, TopicId, TopicIdPartition};
use klamm_persisted::metadata::{
    ClearElrRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord,
    PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};
use klamm_stdx::Str;

use crate::features::METADATA_VERSION;
use crate::{
    BrokerRegistration, Changes, ConfigResource, MetadataImage, MetadataVersion,
    PartitionRegistration, Provenance, QuotaKey, ReplayError, TopicImage, detach,
};

/// An image being changed, and what changed in it.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataDelta {
    image: MetadataImage,
    changes: Changes,
}

impl MetadataDelta {
    /// Starts from an image.
    #[must_use]
    pub fn new(image: &MetadataImage) -> Self {
        Self { image: image.clone(), changes: Changes::default() }
    }

    /// The image with all records so far.
    #[must_use]
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// What changed so far.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Says up to where the log has been read.
    pub fn read_to(&mut self, provenance: Provenance) {
        self.image.provenance = provenance;
    }

    /// Ends with the new image and what changed.
    #[must_use]
    pub fn apply(self) -> (MetadataImage, Changes) {
        (self.image, self.changes)
    }

    /// Takes over another delta that was started from this one's image.
    pub(crate) fn advance(&mut self, later: Self) {
        self.image = later.image;
        self.changes.append(later.changes);
    }

    /// Replays one record. Transactions are the [`Loader`](crate::Loader)'s.
    ///
    /// # Errors
    /// The record does not fit; the delta is as it was.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        use MetadataRecord as R;
        match record {
            R::RegisterBroker(r) => self.register_broker(r),
            R::UnregisterBroker(r) => {
                self.existing_broker(r.broker_id, r.broker_epoch)?;
                Arc::make_mut(&mut self.image.cluster).brokers.remove(&NodeId(r.broker_id));
                self.changes.brokers_changed.insert(NodeId(r.broker_id));
            }
            R::BrokerRegistrationChange(r) => {
                let next = self.known_broker(r.broker_id)?.merged(r)?;
                self.put_broker(next);
            }
            R::FenceBroker(r) => self.fence_or_unfence(r.id, r.epoch, Fencing::Fenced)?,
            R::UnfenceBroker(r) => self.fence_or_unfence(r.id, r.epoch, Fencing::Unfenced)?,
            R::Topic(r) => self.create_topic(r)?,
            R::RemoveTopic(r) => self.remove_topic(r)?,
            R::Partition(r) => self.put_partition(r)?,
            R::PartitionChange(r) => self.change_partition(r)?,
            R::ClearElr(r) => self.clear_elr(r)?,
            R::Config(r) => self.config(r),
            R::FeatureLevel(r) => self.feature_level(r)?,
            R::ClientQuota(r) => self.client_quota(r),
            R::ProducerIds(r) => {
                self.image.next_producer_id = Some(ProducerId(r.next_producer_id));
                self.changes.producer_ids_changed = true;
            }
            R::RegisterController(r) => {
                let controllers = &mut Arc::make_mut(&mut self.image.cluster).controllers;
                controllers.insert(NodeId(r.controller_id), Arc::new(detach::controller(r)));
                self.changes.controllers_changed.insert(NodeId(r.controller_id));
            }
            R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_)
            | R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::DelegationToken(_)
            | R::RemoveDelegationToken(_) => self.security(record)?,
            R::NoOp(_) => {}
            // Left in logs that once migrated from ZooKeeper: says nothing about the cluster now.
            R::ZkMigrationState(_) => {}
            R::BeginTransaction(_) | R::EndTransaction(_) | R::AbortTransaction(_) => {
                let why = "a transaction's record in what is not a log";
                return Err(ReplayError::Transaction { why });
            }
        }
        Ok(())
    }

    fn known_broker(&self, id: i32) -> Result<&Arc<BrokerRegistration>, ReplayError> {
        let id = NodeId(id);
        self.image.cluster.broker(id).ok_or(ReplayError::UnknownBroker { id })
    }

    fn existing_broker(
        &self,
        id: i32,
        epoch: i64,
    ) -> Result<&Arc<BrokerRegistration>, ReplayError> {
        let broker = self.known_broker(id)?;
        broker.check_epoch(epoch)?;
        Ok(broker)
    }

    fn put_broker(&mut self, broker: BrokerRegistration) {
        self.changes.brokers_changed.insert(broker.id);
        Arc::make_mut(&mut self.image.cluster).brokers.insert(broker.id, Arc::new(broker));
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        self.put_broker(BrokerRegistration::from_record(record));
    }

    fn fence_or_unfence(
        &mut self,
        id: i32,
        epoch: i64,
        fencing: Fencing,
    ) -> Result<(), ReplayError> {
        let broker = self.existing_broker(id, epoch)?;
        let fenced = matches!(fencing, Fencing::Fenced);
        self.put_broker(BrokerRegistration { fenced, ..BrokerRegistration::clone(broker) });
        Ok(())
    }

    fn create_topic(&mut self, record: &TopicRecord) -> Result<(), ReplayError> {
        let topics = &self.image.topics;
        if topics.id(&record.name).is_some() || topics.by_id(record.topic_id).is_some() {
            return Err(ReplayError::TopicExists {
                name: record.name.clone(),
                id: record.topic_id,
            });
        }
        Arc::make_mut(&mut self.image.topics).insert(TopicImage {
            name: record.name.detached(),
            id: record.topic_id,
            partitions: Default::default(),
        });
        self.changes.topics_created.insert(record.topic_id);
        Ok(())
    }

    /// Removes a topic and its configs: a topic created later under the name has none of them.
    fn remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ReplayError> {
        let id = record.topic_id;
        if self.image.topics.by_id(id).is_none() {
            return Err(ReplayError::UnknownTopic { id });
        }
        if let Some(topic) = Arc::make_mut(&mut self.image.topics).remove(id) {
            self.changes.delete_topic(&topic);
            let resource = ConfigResource::topic(topic.name.clone());
            if self.image.configs.contains_key(&resource) {
                Arc::make_mut(&mut self.image.configs).remove(&resource);
                self.changes.configs_changed.insert(resource);
            }
        }
        Ok(())
    }

    fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        let partition = PartitionRegistration::from_record(record)?;
        self.insert_partition(record.topic_id, record.partition_id, partition)
    }

    fn insert_partition(
        &mut self,
        topic_id: TopicId,
        index: PartitionIndex,
        partition: PartitionRegistration,
    ) -> Result<(), ReplayError> {
        if self.image.topics.by_id(topic_id).is_none() {
            return Err(ReplayError::UnknownTopic { id: topic_id });
        }
        if let Some(topic) = Arc::make_mut(&mut self.image.topics).topic_mut(topic_id) {
            topic.partitions.insert(index, Arc::new(partition));
        }
        let changed = TopicIdPartition { topic_id, partition: index };
        self.changes.partitions_changed.insert(changed);
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ReplayError> {
        let (topic_id, index) = (record.topic_id, record.partition_id);
        let topics = &self.image.topics;
        let topic = topics.by_id(topic_id).ok_or(ReplayError::UnknownTopic { id: topic_id })?;
        let partition = topic
            .partition(index)
            .ok_or(ReplayError::UnknownPartition { topic_id, partition: index })?;
        let next = partition.merged(record)?;
        self.insert_partition(topic_id, index, next)
    }

    /// Forgets eligible leader replicas of a topic, or of all if the name is empty.
    fn clear_elr(&mut self, record: &ClearElrRecord) -> Result<(), ReplayError> {
        let topics: Vec<Arc<TopicImage>> = if record.topic_name.is_empty() {
            self.image.topics.iter().cloned().collect()
        } else {
            let topic = self.image.topics.by_name(&record.topic_name);
            let unknown = || ReplayError::UnknownTopicName { name: record.topic_name.clone() };
            vec![Arc::clone(topic.ok_or_else(unknown)?)]
        };
        for topic in topics {
            for (index, partition) in &topic.partitions {
                if partition.eligible_leader_replicas.is_empty()
                    && partition.last_known_elr.is_empty()
                {
                    continue;
                }
                let next = PartitionRegistration {
                    eligible_leader_replicas: Vec::new(),
                    last_known_elr: Vec::new(),
                    ..PartitionRegistration::clone(partition)
                };
                self.insert_partition(topic.id, *index, next)?;
            }
        }
        Ok(())
    }

    fn config(&mut self, record: &ConfigRecord) {
        let resource = ConfigResource::new(record.resource_type, record.resource_name.detached());
        let all = Arc::make_mut(&mut self.image.configs);
        if let Some(value) = &record.value {
            let configs = Arc::make_mut(all.entry(resource.clone()).or_default());
            configs.insert(record.name.detached(), value.detached());
        } else if let Some(configs) = all.get_mut(&resource) {
            let configs = Arc::make_mut(configs);
            configs.remove(&record.name);
            if configs.is_empty() {
                all.remove(&resource);
            }
        }
        self.changes.configs_changed.insert(resource);
    }

    fn feature_level(&mut self, record: &FeatureLevelRecord) -> Result<(), ReplayError> {
        if record.name == METADATA_VERSION {
            let version = MetadataVersion::from_level(record.feature_level)?;
            Arc::make_mut(&mut self.image.features).metadata_version = version;
        } else {
            let levels = &mut Arc::make_mut(&mut self.image.features).levels;
            if record.feature_level == 0 {
                levels.remove(&record.name);
            } else {
                levels.insert(record.name.detached(), record.feature_level);
            }
        }
        self.changes.features_changed = true;
        Ok(())
    }

    fn client_quota(&mut self, record: &ClientQuotaRecord) {
        let mut entity: Vec<_> = record
            .entity
            .iter()
            .map(|part| (part.entity_type.detached(), part.entity_name.as_ref().map(Str::detached)))
            .collect();
        entity.sort_unstable();
        let key = QuotaKey { entity, key: record.key.detached() };
        let quotas = Arc::make_mut(&mut self.image.client_quotas);
        if record.remove {
            quotas.remove(&key);
        } else {
            quotas.insert(key, record.value);
        }
        self.changes.client_quotas_changed = true;
    }

    /// Keeps or forgets a record about who may do what.
    fn security(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        use MetadataRecord as R;
        let security = Arc::make_mut(&mut self.image.security);
        match record {
            R::AccessControlEntry(r) => {
                security.acls.insert(r.id, Arc::new(detach::acl(r)));
            }
            R::RemoveAccessControlEntry(r) => {
                let unknown = || ReplayError::Unknown { what: "ACL", id: r.id.to_string() };
                security.acls.remove(&r.id).ok_or_else(unknown)?;
            }
            R::UserScramCredential(r) => {
                security.scram.insert((r.mechanism, r.name.detached()), Arc::new(detach::scram(r)));
            }
            R::RemoveUserScramCredential(r) => {
                security.scram.remove(&(r.mechanism, r.name.clone()));
            }
            R::DelegationToken(r) => {
                let token = Arc::new(detach::delegation_token(r));
                security.delegation_tokens.insert(r.token_id.detached(), token);
            }
            R::RemoveDelegationToken(r) => {
                security.delegation_tokens.remove(&r.token_id);
            }
            _ => return Ok(()),
        }
        self.changes.security_changed = true;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Fencing {
    Fenced,
    Unfenced,
}
