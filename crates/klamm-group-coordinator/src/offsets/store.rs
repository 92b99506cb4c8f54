//! The committed offsets of a shard's groups, and those of open transactions.
//!
//! ```text
//! commit ───────────────────────────────▶ committed
//! commit in a transaction ──▶ open ──┬──▶ committed, if nothing newer is
//!                                    └──▶ forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::{PartitionIndex, ProducerId, Timestamp};
use klamm_stdx::Str;

use super::{CommittedOffset, FoundOffset, OffsetsOfGroup, Stability};
use crate::record::Record;

/// Group, topic, partition.
type Key = (Str, Str, PartitionIndex);

/// An offset with its place among all of the shard's: what is later in the log has more.
#[derive(Debug, Clone)]
struct Stored {
    offset: CommittedOffset,
    order: u64,
}

/// The committed offsets of one group.
#[derive(Debug, Default)]
struct Offsets {
    by_topic: BTreeMap<Str, BTreeMap<PartitionIndex, Stored>>,
    /// How many open transactions have an offset of a partition.
    open: HashMap<(Str, PartitionIndex), usize>,
    /// When the newest was committed.
    last_commit: Option<Timestamp>,
}

impl Offsets {
    fn all(&self) -> impl Iterator<Item = (&Str, PartitionIndex, &CommittedOffset)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(p, stored)| (topic, *p, &stored.offset))
        })
    }

    fn is_open(&self, topic: &Str, partition: PartitionIndex) -> bool {
        !self.open.is_empty() && self.open.contains_key(&(topic.clone(), partition))
    }

    fn find(&self, topic: &Str, partition: PartitionIndex, stability: Stability) -> FoundOffset {
        if stability == Stability::Required && self.is_open(topic, partition) {
            return FoundOffset::Unstable;
        }
        match self.by_topic.get(topic).and_then(|partitions| partitions.get(&partition)) {
            Some(stored) => FoundOffset::Committed(stored.offset.clone()),
            None => FoundOffset::None,
        }
    }

    /// Says how many lines there are more.
    fn put(&mut self, topic: Str, partition: PartitionIndex, stored: Stored) -> usize {
        self.last_commit = self.last_commit.max(Some(stored.offset.committed_at));
        let partitions = self.by_topic.entry(topic).or_default();
        match partitions.get(&partition) {
            Some(known) if known.order >= stored.order => 0,
            _ => usize::from(partitions.insert(partition, stored).is_none()),
        }
    }

    /// Says how many lines there are less.
    fn remove(&mut self, topic: &str, partition: PartitionIndex) -> usize {
        let Some(partitions) = self.by_topic.get_mut(topic) else { return 0 };
        let was_there = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.by_topic.remove(topic);
        }
        usize::from(was_there)
    }
}

/// The committed offsets of a shard.
#[derive(Debug, Default)]
pub(crate) struct OffsetStore {
    groups: HashMap<Str, Offsets>,
    open: HashMap<ProducerId, HashMap<Key, Stored>>,
    last_order: u64,
    /// Lines of all groups and open transactions.
    len: usize,
}

impl OffsetStore {
    /// A record about an offset is in the log, outside of any transaction.
    pub(crate) fn apply(&mut self, record: &Record) {
        let Record::Offset { group_id, topic, partition, offset } = record else { return };
        match offset {
            Some(offset) => {
                self.last_order += 1;
                let stored = Stored { offset: offset.clone(), order: self.last_order };
                let offsets = self.groups.entry(group_id.clone()).or_default();
                self.len += offsets.put(topic.clone(), *partition, stored);
            }
            None => self.remove(&(group_id.clone(), topic.clone(), *partition)),
        }
    }

    /// A record about an offset is in the log, in a producer's transaction.
    pub(crate) fn apply_open(&mut self, producer: ProducerId, record: &Record) {
        let Record::Offset { group_id, topic, partition, offset: Some(offset) } = record else {
            return;
        };
        self.last_order += 1;
        let stored = Stored { offset: offset.clone(), order: self.last_order };
        let key = (group_id.clone(), topic.clone(), *partition);
        if self.open.entry(producer).or_default().insert(key, stored).is_none() {
            self.len += 1;
            let offsets = self.groups.entry(group_id.clone()).or_default();
            *offsets.open.entry((topic.clone(), *partition)).or_default() += 1;
        }
    }

    /// A producer's transaction is over.
    pub(crate) fn end(&mut self, producer: ProducerId, is_commit: bool) {
        for ((group_id, topic, partition), stored) in
            self.open.remove(&producer).into_iter().flatten()
        {
            self.close((&group_id, &topic, partition));
            self.len -= 1;
            if is_commit || is_seeded(CoordinatorBug::AbortedOffsetsCount) {
                let offsets = self.groups.entry(group_id).or_default();
                self.len += offsets.put(topic, partition, stored);
            }
        }
    }

    /// One open transaction less has an offset of this partition.
    fn close(&mut self, (group_id, topic, partition): (&Str, &Str, PartitionIndex)) {
        let Some(offsets) = self.groups.get_mut(group_id) else { return };
        let key = (topic.clone(), partition);
        if let Some(n) = offsets.open.get_mut(&key) {
            *n -= 1;
            if *n == 0 {
                offsets.open.remove(&key);
            }
        }
        self.forget_empty(group_id);
    }

    fn forget_empty(&mut self, group_id: &Str) {
        if self.groups.get(group_id).is_some_and(|o| o.by_topic.is_empty() && o.open.is_empty()) {
            self.groups.remove(group_id);
        }
    }

    /// An offset is gone, and what transactions that are open would make of it.
    fn remove(&mut self, key: &Key) {
        let (group_id, topic, partition) = key;
        let Some(offsets) = self.groups.get_mut(group_id) else { return };
        self.len -= offsets.remove(topic, *partition);
        offsets.open.remove(&(topic.clone(), *partition));
        self.forget_empty(group_id);
        for open in self.open.values_mut() {
            self.len -= usize::from(open.remove(key).is_some());
        }
    }

    /// Lines of all groups and open transactions.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether a group has an offset of a partition, or may have when a transaction ends.
    pub(crate) fn contains_line(
        &self,
        group_id: &Str,
        topic: &Str,
        partition: PartitionIndex,
    ) -> bool {
        self.groups.get(group_id).is_some_and(|offsets| {
            offsets.is_open(topic, partition)
                || offsets.by_topic.get(topic).is_some_and(|known| known.contains_key(&partition))
        })
    }

    /// When a group committed last.
    pub(crate) fn last_commit(&self, group_id: &Str) -> Option<Timestamp> {
        self.groups.get(group_id)?.last_commit
    }

    /// Whether a transaction with offsets of a group is open.
    pub(crate) fn has_open(&self, group_id: &Str) -> bool {
        self.groups.get(group_id).is_some_and(|offsets| !offsets.open.is_empty())
    }

    /// Whether a group has offsets, or may have when a transaction ends.
    pub(crate) fn contains(&self, group_id: &Str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// Groups with offsets.
    pub(crate) fn group_ids(&self) -> impl Iterator<Item = &Str> {
        self.groups.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What a group has committed: of these partitions, or of all.
    pub(crate) fn fetch(
        &self,
        group_id: &Str,
        asked: Option<&[(Str, Vec<PartitionIndex>)]>,
        stability: Stability,
    ) -> OffsetsOfGroup {
        let none = Offsets::default();
        let offsets = self.groups.get(group_id).unwrap_or(&none);
        let topics = match asked {
            Some(asked) => asked
                .iter()
                .map(|(topic, partitions)| {
                    let line = |p: &PartitionIndex| (*p, offsets.find(topic, *p, stability));
                    (topic.clone(), partitions.iter().map(line).collect())
                })
                .collect(),
            None => offsets
                .by_topic
                .iter()
                .map(|(topic, partitions)| {
                    let line = |p: &PartitionIndex| (*p, offsets.find(topic, *p, stability));
                    (topic.clone(), partitions.keys().map(line).collect())
                })
                .collect(),
        };
        OffsetsOfGroup { topics }
    }

    /// Tombstones for all offsets of a group, those of open transactions too.
    pub(crate) fn tombstones(&self, group_id: &Str) -> Vec<Record> {
        let Some(offsets) = self.groups.get(group_id) else { return Vec::new() };
        let open = offsets.open.keys().map(|(topic, partition)| (topic, *partition));
        let mut all: Vec<_> = offsets.all().map(|(topic, p, _)| (topic, p)).chain(open).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|(topic, p)| tombstone(group_id, topic, p)).collect()
    }

    /// A tombstone for an offset, if there is one, or a transaction may make one.
    pub(crate) fn tombstone_of(
        &self,
        group_id: &Str,
        topic: &Str,
        partition: PartitionIndex,
    ) -> Option<Record> {
        let offsets = self.groups.get(group_id)?;
        let is_known = offsets.is_open(topic, partition)
            || offsets.find(topic, partition, Stability::Any) != FoundOffset::None;
        is_known.then(|| tombstone(group_id, topic, partition))
    }

    /// Tombstones for the offsets of a topic that is gone.
    pub(crate) fn tombstones_of_topic(&self, topic: &Str) -> Vec<Record> {
        let mut records = Vec::new();
        for (group_id, offsets) in &self.groups {
            let committed = offsets.by_topic.get(topic).into_iter().flat_map(BTreeMap::keys);
            let open = offsets.open.keys().filter(|(of, _)| of == topic).map(|(_, p)| p);
            let all: BTreeSet<PartitionIndex> = committed.chain(open).copied().collect();
            records.extend(all.into_iter().map(|p| tombstone(group_id, topic, p)));
        }
        records
    }

    /// Tombstones for the lines of a group that were not renewed since `idle_since` plus
    /// retention, or whose own time is up.
    pub(crate) fn expired(
        &self,
        group_id: &Str,
        (wall, retention_ms): (Timestamp, i64),
        idle_since: Option<Timestamp>,
    ) -> Vec<Record> {
        let Some(offsets) = self.groups.get(group_id) else { return Vec::new() };
        let is_due = |offset: &CommittedOffset| match offset.expires_at {
            Some(at) => at <= wall,
            None => {
                let since =
                    idle_since.map_or(offset.committed_at, |idle| idle.max(offset.committed_at));
                wall.0.saturating_sub(since.0) >= retention_ms
            }
        };
        offsets
            .all()
            .filter(|(topic, p, offset)| is_due(offset) && !offsets.is_open(topic, *p))
            .map(|(topic, p, _)| tombstone(group_id, topic, p))
            .collect()
    }
}

fn tombstone(group_id: &Str, topic: &Str, partition: PartitionIndex) -> Record {
    Record::Offset { group_id: group_id.clone(), topic: topic.clone(), partition, offset: None }
}

#[cfg(test)]
mod tests;
