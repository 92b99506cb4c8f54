//! All topics, by name and by id. Never holds a topic twice: both maps share it.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

use crate::PartitionRegistration;

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Str,
    /// Its id; a topic that is created again has another one.
    pub id: TopicId,
    /// Its partitions by number.
    pub partitions: BTreeMap<PartitionIndex, Arc<PartitionRegistration>>,
}

impl TopicImage {
    /// A partition.
    #[must_use]
    pub fn partition(&self, partition: PartitionIndex) -> Option<&Arc<PartitionRegistration>> {
        self.partitions.get(&partition)
    }
}

/// All topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicsImage {
    by_id: BTreeMap<TopicId, Arc<TopicImage>>,
    by_name: BTreeMap<Str, TopicId>,
}

impl TopicsImage {
    /// The topic of an id.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    /// The topic of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// The id of a topic.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn partition(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<&Arc<PartitionRegistration>> {
        self.by_name(topic)?.partition(partition)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Str> {
        self.by_name.keys()
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn insert(&mut self, topic: TopicImage) {
        self.by_name.insert(topic.name.clone(), topic.id);
        self.by_id.insert(topic.id, Arc::new(topic));
    }

    pub(crate) fn remove(&mut self, id: TopicId) -> Option<Arc<TopicImage>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        Some(topic)
    }

    /// The topic to change; it is copied if an older image still has it.
    pub(crate) fn topic_mut(&mut self, id: TopicId) -> Option<&mut TopicImage> {
        self.by_id.get_mut(&id).map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::Uuid;

    fn topic(name: &str, id: u128) -> TopicImage {
        TopicImage { name: name.into(), id: Uuid(id), partitions: BTreeMap::new() }
    }

    #[test]
    fn a_topic_is_found_by_both_keys_until_it_is_removed() {
        let mut topics = TopicsImage::default();
        topics.insert(topic("b", 201));
        topics.insert(topic("a", 202));
        assert_eq!(topics.id("b"), Some(Uuid(201)));
        assert_eq!(topics.by_id(Uuid(202)).unwrap().name, "a");
        assert_eq!(topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(topics.remove(Uuid(201)).is_some());
        assert!(topics.remove(Uuid(201)).is_none());
        assert!(topics.by_name("b").is_none() && topics.len() == 1);
    }

    #[test]
    fn an_older_image_does_not_see_a_change() {
        let mut topics = TopicsImage::default();
        topics.insert(topic("a", 201));
        let older = topics.clone();
        topics.topic_mut(Uuid(201)).unwrap().partitions.insert(0, Arc::default());
        assert!(older.partition("a", 0).is_none());
        assert!(topics.partition("a", 0).is_some());
    }
}
