//! What differs between two images, so that whoever follows the metadata looks only at that.
//! Never says how: the images do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_model::{NodeId, TopicId, TopicIdPartition};
use klamm_stdx::Str;

use crate::{ConfigResource, MetadataImage, TopicImage};

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Topics that are new.
    pub topics_created: BTreeSet<TopicId>,
    /// Topics that are gone, with the name that they had.
    pub topics_deleted: BTreeMap<TopicId, Str>,
    /// Partitions that are new or changed, those of created topics included.
    pub partitions_changed: BTreeSet<TopicIdPartition>,
    /// Resources with a config that was set or removed.
    pub configs_changed: BTreeSet<ConfigResource>,
    /// Brokers that registered, changed or are gone.
    pub brokers_changed: BTreeSet<NodeId>,
    /// Controllers that registered.
    pub controllers_changed: BTreeSet<NodeId>,
    /// Feature levels.
    pub features_changed: bool,
    /// Client quotas.
    pub client_quotas_changed: bool,
    /// The next producer id.
    pub producer_ids_changed: bool,
    /// ACLs, SCRAM credentials or delegation tokens.
    pub security_changed: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes that a topic is gone.
    pub(crate) fn delete_topic(&mut self, topic: &TopicImage) {
        let partition = |partition| TopicIdPartition { topic_id: topic.id, partition };
        for index in topic.partitions.keys() {
            self.partitions_changed.remove(&partition(*index));
        }
        // Who never saw the topic need not hear of its end.
        if !self.topics_created.remove(&topic.id) {
            self.topics_deleted.insert(topic.id, topic.name.clone());
        }
    }

    /// These changes and then those.
    pub(crate) fn append(&mut self, later: Self) {
        for (id, name) in later.topics_deleted {
            self.partitions_changed.retain(|partition| partition.topic_id != id);
            if !self.topics_created.remove(&id) {
                self.topics_deleted.insert(id, name);
            }
        }
        self.topics_created.extend(later.topics_created);
        self.partitions_changed.extend(later.partitions_changed);
        self.configs_changed.extend(later.configs_changed);
        self.brokers_changed.extend(later.brokers_changed);
        self.controllers_changed.extend(later.controllers_changed);
        self.features_changed |= later.features_changed;
        self.client_quotas_changed |= later.client_quotas_changed;
        self.producer_ids_changed |= later.producer_ids_changed;
        self.security_changed |= later.security_changed;
    }

    /// What leads from one image to another, by comparing all of both. For a snapshot that
    /// replaces an image; a [`MetadataDelta`](crate::MetadataDelta) knows without comparing.
    #[must_use]
    pub fn between(old: &MetadataImage, new: &MetadataImage) -> Self {
        let mut changes = Self {
            features_changed: old.features != new.features,
            client_quotas_changed: old.client_quotas != new.client_quotas,
            producer_ids_changed: old.next_producer_id != new.next_producer_id,
            security_changed: old.security != new.security,
            configs_changed: differing(&old.configs, &new.configs),
            brokers_changed: differing(&old.cluster.brokers, &new.cluster.brokers),
            controllers_changed: differing(&old.cluster.controllers, &new.cluster.controllers),
            ..Self::default()
        };
        for topic in old.topics.iter().filter(|topic| new.topics.by_id(topic.id).is_none()) {
            changes.topics_deleted.insert(topic.id, topic.name.clone());
        }
        for topic in new.topics.iter() {
            let before = old.topics.by_id(topic.id);
            if before.is_none() {
                changes.topics_created.insert(topic.id);
            }
            if before.is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            for (index, partition) in &topic.partitions {
                if before.and_then(|before| before.partition(*index)) != Some(partition) {
                    let changed = TopicIdPartition { topic_id: topic.id, partition: *index };
                    changes.partitions_changed.insert(changed);
                }
            }
        }
        changes
    }
}

/// The keys whose values differ, or that only one map has.
fn differing<K: Ord + Clone, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let other = new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, _)| key);
    gone.chain(other).cloned().collect()
}
