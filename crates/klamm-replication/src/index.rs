//! Partitions by name and by topic id. Never changed: another takes its place.

use std::collections::HashMap;
use std::sync::Arc;

use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

use crate::partition::Partition;

/// The partitions of a topic.
pub(crate) type OfTopic = HashMap<PartitionIndex, Arc<Partition>>;

/// Topics first, so that a lookup makes no key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    by_topic: HashMap<Str, Arc<OfTopic>>,
    names: HashMap<TopicId, Str>,
}

impl Index {
    pub(crate) fn by_name(&self, topic: &str, partition: PartitionIndex) -> Option<Arc<Partition>> {
        self.by_topic.get(topic)?.get(&partition).cloned()
    }

    pub(crate) fn by_id(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
    ) -> Option<Arc<Partition>> {
        self.by_name(self.names.get(&topic_id)?, partition)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.by_topic.values().flat_map(|topic| topic.values().cloned()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.values().map(|topic| topic.len()).sum()
    }

    /// The partitions of a topic, to be changed and put back.
    pub(crate) fn copy_of(&self, topic: &str) -> OfTopic {
        self.by_topic.get(topic).map(|topic| OfTopic::clone(topic)).unwrap_or_default()
    }

    /// A topic has a name.
    pub(crate) fn name(&mut self, topic_id: TopicId, topic: &Str) {
        self.names.insert(topic_id, topic.clone());
    }

    /// The partitions of these topics are others now.
    pub(crate) fn put(&mut self, changed: HashMap<Str, OfTopic>) {
        self.by_topic
            .extend(changed.into_iter().map(|(topic, partitions)| (topic, Arc::new(partitions))));
    }

    /// A topic is gone; gives its partitions.
    pub(crate) fn remove(&mut self, topic: &str, topic_id: TopicId) -> Option<Arc<OfTopic>> {
        self.names.remove(&topic_id);
        self.by_topic.remove(topic)
    }
}
