//! What new metadata means for this broker: partitions to open, lead or forget, configurations to
//! take, groups to load.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_config::{BrokerConfig, ConfigMap, Layers, Properties, TopicConfig};
use klamm_coordinator::CoordinatorHandle;
use klamm_group_coordinator::{GroupShard, Request};
use klamm_metadata::{
    CONFIG_BROKER, CONFIG_TOPIC, Changes, ConfigResource, MetadataImage, PartitionRegistration,
    Publisher, TopicImage,
};
use klamm_model::{
    DirectoryId, LeaderEpoch, NodeId, PartitionIndex, TopicIdPartition, TopicPartition, Uuid,
};
use klamm_replication::{
    Age, CoordinatorPartition, FirstWrites, NewPartition, Partitions, log_config, rules,
};
use klamm_stdx::Str;
use klamm_transaction_coordinator::TransactionShard;

use crate::cleaner::Cleaners;
use crate::coordinators::{Coordinated, Coordinators};
use crate::mover::Movers;

/// Applies metadata to the partitions of this broker.
pub(crate) struct BrokerPublisher {
    node_id: NodeId,
    partitions: Arc<Partitions>,
    cleaners: Arc<Cleaners>,
    movers: Arc<Movers>,
    /// Whether the dynamic configs say, or have said, anything.
    is_dynamic: bool,
    groups: CoordinatorHandle<GroupShard>,
    properties: Arc<Properties>,
    config: Arc<BrokerConfig>,
    /// What topics have that say nothing themselves; changes with the broker's dynamic configs.
    topic_defaults: TopicConfig,
    transactions: CoordinatorHandle<TransactionShard>,
    /// Partitions of the coordinators' topics that are loaded here, with the epoch of their leader.
    loaded: BTreeMap<(Coordinated, PartitionIndex), LeaderEpoch>,
    /// Of the partitions that the metadata names now.
    age: Age,
}

impl Publisher for BrokerPublisher {
    fn publish(&mut self, changes: &Changes, image: &Arc<MetadataImage>) {
        for (topic_id, name) in &changes.topics_deleted {
            self.partitions.delete_topic(name, *topic_id);
            let name = name.clone();
            self.groups.tell_all(move || Request::TopicDeleted(name.clone()));
        }
        if changes.configs_changed.iter().any(|resource| resource.resource_type == CONFIG_BROKER) {
            self.on_broker_configs(image);
        }
        for resource in changes.configs_changed.iter().filter(|r| r.resource_type == CONFIG_TOPIC) {
            if let Some(topic) = image.topics.by_name(&resource.name) {
                self.reconfigure(image, topic);
            }
        }
        // Configs of groups, and topics with the racks of their replicas.
        if !changes.partitions_changed.is_empty()
            || !changes.topics_deleted.is_empty()
            || !changes.configs_changed.is_empty()
            || !changes.brokers_changed.is_empty()
        {
            self.groups.publish(Arc::clone(image));
        }
        self.assign(image, changes.partitions_changed.iter().copied());
    }
}

impl BrokerPublisher {
    /// A publisher that has published nothing yet.
    pub(crate) fn new(
        config: &Arc<BrokerConfig>,
        properties: &Arc<Properties>,
        (partitions, coordinators): (&Arc<Partitions>, &Coordinators),
        (cleaners, movers): (Arc<Cleaners>, Arc<Movers>),
    ) -> Self {
        Self {
            node_id: config.node.node_id,
            partitions: Arc::clone(partitions),
            cleaners,
            movers,
            is_dynamic: false,
            groups: coordinators.groups.handle(),
            transactions: coordinators.transactions.handle(),
            properties: Arc::clone(properties),
            topic_defaults: config.topic_defaults.clone(),
            config: Arc::clone(config),
            loaded: BTreeMap::new(),
            age: Age::Old,
        }
    }

    /// Applies an image as a whole, at the start.
    pub(crate) fn publish_all(&mut self, image: &Arc<MetadataImage>) {
        self.partitions.directories().cordon(&self.config.node.cordoned_log_dirs);
        self.partitions.on_first_writes(first_writes(&self.config));
        self.on_broker_configs(image);
        self.groups.publish(Arc::clone(image));
        let all: Vec<TopicIdPartition> = image
            .topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .keys()
                    .map(|partition| TopicIdPartition { topic_id: topic.id, partition: *partition })
            })
            .collect();
        self.assign(image, all.into_iter());
        self.age = Age::New;
    }

    fn assign(&mut self, image: &MetadataImage, changed: impl Iterator<Item = TopicIdPartition>) {
        let mut mine = Vec::new();
        let mut coordinated = Vec::new();
        for id in changed {
            let Some(topic) = image.topics.by_id(id.topic_id) else { continue };
            let Some(registration) = topic.partition(id.partition) else { continue };
            if !registration.replicas.contains(&self.node_id) {
                continue;
            }
            let new = self.new_partition(image, topic, id.partition, registration);
            if let Some(kind) = Coordinated::of(&topic.name) {
                coordinated.push(((kind, id.partition), new.leader_epoch));
            }
            mine.push(new);
        }
        if mine.is_empty() {
            return;
        }
        let failed = self.partitions.assign(mine);
        for (id, error) in failed {
            tracing::error!(partition = %id, %error, "a partition is offline");
        }
        for (shard, epoch) in coordinated {
            self.coordinate(shard, epoch);
        }
    }

    fn new_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        partition: PartitionIndex,
        registration: &PartitionRegistration,
    ) -> NewPartition {
        let config = self.topic_config(image, &topic.name);
        let named = |id: &DirectoryId| {
            ![Uuid::DIRECTORY_UNASSIGNED, Uuid::DIRECTORY_LOST, Uuid::DIRECTORY_MIGRATING]
                .contains(id)
        };
        NewPartition {
            name: TopicPartition::new(topic.name.clone(), partition),
            topic_id: topic.id,
            directory: registration.directory(self.node_id).filter(named),
            config: log_config(&config, expiration_ms(&self.config)),
            rules: rules(&config),
            leader_epoch: (registration.leader == Some(self.node_id))
                .then_some(registration.leader_epoch),
            age: self.age,
        }
    }

    fn coordinate(&mut self, shard: (Coordinated, PartitionIndex), epoch: Option<LeaderEpoch>) {
        let (kind, partition) = shard;
        let Some(epoch) = epoch else {
            if self.loaded.remove(&shard).is_some() {
                match kind {
                    Coordinated::Groups => self.groups.unload(partition),
                    Coordinated::Transactions => self.transactions.unload(partition),
                }
            }
            return;
        };
        let is_new = self.loaded.get(&shard) != Some(&epoch);
        let found = self.partitions.by_name(kind.topic(), partition);
        if let Some(log) = found.filter(|_| is_new) {
            self.loaded.insert(shard, epoch);
            let log = Arc::new(CoordinatorPartition(log));
            match kind {
                Coordinated::Groups => self.groups.load(partition, log),
                Coordinated::Transactions => self.transactions.load(partition, log),
            }
        }
    }

    fn topic_config(&self, image: &MetadataImage, topic: &Str) -> TopicConfig {
        match image.configs_of(&ConfigResource::topic(topic.clone())) {
            Some(configs) => self.topic_defaults.with(&text_map(configs)),
            None => self.topic_defaults.clone(),
        }
    }

    fn reconfigure(&self, image: &MetadataImage, topic: &TopicImage) {
        let config = self.topic_config(image, &topic.name);
        for partition in topic.partitions.keys() {
            if let Some(partition) = self.partitions.by_name(&topic.name, *partition) {
                let log = log_config(&config, expiration_ms(&self.config));
                partition.reconfigure(log, rules(&config));
            }
        }
    }

    /// The broker's dynamic configs changed: topics that say nothing themselves follow.
    fn on_broker_configs(&mut self, image: &MetadataImage) {
        let own = configs(image, &ConfigResource::broker(self.node_id.to_string()));
        let cluster = configs(image, &ConfigResource::broker(""));
        let was_dynamic =
            std::mem::replace(&mut self.is_dynamic, !own.is_empty() || !cluster.is_empty());
        if !self.is_dynamic && !was_dynamic {
            return;
        }
        let layers = Layers { per_broker: &own, cluster: &cluster, file: &self.properties };
        match BrokerConfig::load_layers(&layers) {
            Ok(loaded) => {
                self.partitions.on_first_writes(first_writes(&loaded.config));
                self.topic_defaults = loaded.config.topic_defaults;
                self.cleaners.reconfigure(&loaded.config.log);
                self.movers.reconfigure(&loaded.config.log);
                self.partitions.directories().cordon(&loaded.config.node.cordoned_log_dirs);
            }
            Err(errors) => {
                tracing::error!(%errors, "dynamic configs cannot be applied: the earlier values hold");
                return;
            }
        }
        image.topics.iter().for_each(|topic| self.reconfigure(image, topic));
    }
}

fn first_writes(config: &BrokerConfig) -> FirstWrites {
    match config.transactions.partition_verification_enable {
        true => FirstWrites::Verified,
        false => FirstWrites::Trusted,
    }
}

fn configs(image: &MetadataImage, resource: &ConfigResource) -> ConfigMap {
    image.configs_of(resource).map(|configs| text_map(configs)).unwrap_or_default()
}

fn text_map(configs: &klamm_metadata::Configs) -> ConfigMap {
    configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn expiration_ms(config: &BrokerConfig) -> i64 {
    i64::try_from(config.log.producer_id_expiration_ms).unwrap_or(i64::MAX)
}
