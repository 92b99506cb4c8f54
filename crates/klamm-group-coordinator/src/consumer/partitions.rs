//! Sets of partitions, by topic id.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{PartitionIndex, TopicId};

/// What a member is to have.
pub type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// What a member has, each with the epoch in which it got it (KIP-1251).
pub type Owned = BTreeMap<TopicId, BTreeMap<PartitionIndex, i32>>;

/// A topic and some of its partitions, as clients tell them.
pub type TopicPartitions = (TopicId, Vec<PartitionIndex>);

/// Whether a set has a partition.
pub(crate) fn contains(owned: &Owned, topic_id: TopicId, partition: PartitionIndex) -> bool {
    owned.get(&topic_id).is_some_and(|partitions| partitions.contains_key(&partition))
}

/// Every partition with its topic.
pub(crate) fn each(owned: &Owned) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    owned.iter().flat_map(|(topic_id, partitions)| partitions.keys().map(move |p| (*topic_id, *p)))
}

/// Adds a partition that is had since `epoch`.
pub(crate) fn put(owned: &mut Owned, at: (TopicId, PartitionIndex), epoch: i32) {
    owned.entry(at.0).or_default().insert(at.1, epoch);
}

/// As clients are told.
pub(crate) fn listed(owned: &Owned) -> Vec<TopicPartitions> {
    owned.iter().map(|(id, partitions)| (*id, partitions.keys().copied().collect())).collect()
}

/// Whether everything in `told` is in `owned`.
pub(crate) fn is_subset(told: &[TopicPartitions], owned: &Owned) -> bool {
    told.iter().all(|(id, partitions)| partitions.iter().all(|p| contains(owned, *id, *p)))
}

/// Whether both have the same partitions, whenever they got them.
pub(crate) fn same(a: &Owned, b: &Owned) -> bool {
    a.len() == b.len() && each(a).eq(each(b))
}
