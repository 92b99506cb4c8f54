//! Committed offsets: who may commit what, and what is remembered.

use std::collections::{BTreeMap, HashMap};

use klamm_model::{
    ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId,
};
use klamm_stdx::Str;

/// A position that a group has reached in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the last record read, if the client knew it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own words.
    pub metadata: Str,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Asked for by the client in old versions: when it may be forgotten.
    pub expires_at: Option<Timestamp>,
    /// The topic's id, if the client told it.
    pub topic_id: Option<TopicId>,
}

/// One line of a commit.
#[derive(Debug, Clone)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: Str,
    /// Its id, if the client told it.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the last record read, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own words.
    pub metadata: Str,
}

/// An OffsetCommit request.
#[derive(Debug, Clone)]
pub struct OffsetCommit {
    /// The member; empty for a consumer outside the group's protocol.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// The generation it believes in; -1 without one.
    pub generation_id: GenerationId,
    /// From old versions: how long to keep the offsets.
    pub retention_ms: Option<i64>,
    /// The lines.
    pub offsets: Vec<OffsetToCommit>,
}

/// What became of one line of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionResult {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionIndex,
    /// Success or why not.
    pub error: ErrorCode,
}

/// A partition and what is committed for it.
pub type OffsetOfPartition = (PartitionIndex, Option<CommittedOffset>);

/// The answer to a fetch of offsets: for each topic its partitions, `None` where nothing is
/// committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetsOfGroup {
    /// By topic, in the order of the question.
    pub topics: Vec<(Str, Vec<OffsetOfPartition>)>,
}

/// What the broker's configuration says about offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetLimits {
    /// `offset.metadata.max.bytes`.
    pub metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub check_interval_ms: u64,
}

impl Default for OffsetLimits {
    fn default() -> Self {
        Self {
            metadata_bytes_max: 4_096,
            retention_ms: 7 * 24 * 3_600_000,
            check_interval_ms: 600_000,
        }
    }
}

/// The committed offsets of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    by_topic: BTreeMap<Str, BTreeMap<PartitionIndex, CommittedOffset>>,
    /// Commits that were appended and are not committed yet, by partition: what is in flight must
    /// not be expired.
    in_flight: HashMap<(Str, PartitionIndex), usize>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_topic.is_empty() && self.in_flight.is_empty()
    }

    pub(crate) fn one(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub(crate) fn put(&mut self, topic: Str, partition: PartitionIndex, offset: CommittedOffset) {
        self.by_topic.entry(topic).or_default().insert(partition, offset);
    }

    pub(crate) fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        if let Some(partitions) = self.by_topic.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Str, PartitionIndex, &CommittedOffset)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        })
    }

    pub(crate) fn fetch(&self, asked: Option<&[(Str, Vec<PartitionIndex>)]>) -> OffsetsOfGroup {
        let topics = match asked {
            Some(asked) => asked
                .iter()
                .map(|(topic, partitions)| {
                    let line = |p: &PartitionIndex| (*p, self.one(topic, *p).cloned());
                    (topic.clone(), partitions.iter().map(line).collect())
                })
                .collect(),
            None => self
                .by_topic
                .iter()
                .map(|(topic, partitions)| {
                    let lines = partitions.iter().map(|(p, offset)| (*p, Some(offset.clone())));
                    (topic.clone(), lines.collect())
                })
                .collect(),
        };
        OffsetsOfGroup { topics }
    }

    pub(crate) fn started(&mut self, topic: &Str, partition: PartitionIndex) {
        *self.in_flight.entry((topic.clone(), partition)).or_default() += 1;
    }

    pub(crate) fn ended(&mut self, topic: &Str, partition: PartitionIndex) {
        let key = (topic.clone(), partition);
        if let Some(n) = self.in_flight.get_mut(&key) {
            *n -= 1;
            if *n == 0 {
                self.in_flight.remove(&key);
            }
        }
    }

    /// The lines that were not renewed since `idle_since` plus retention, or whose own time is up.
    pub(crate) fn expired(
        &self,
        wall: Timestamp,
        retention_ms: i64,
        idle_since: Option<Timestamp>,
    ) -> Vec<(Str, PartitionIndex)> {
        let is_due = |offset: &CommittedOffset| match offset.expires_at {
            Some(at) => at <= wall,
            None => {
                let since =
                    idle_since.map_or(offset.committed_at, |idle| idle.max(offset.committed_at));
                wall.0.saturating_sub(since.0) >= retention_ms
            }
        };
        self.all()
            .filter(|(topic, partition, offset)| {
                is_due(offset) && !self.in_flight.contains_key(&((*topic).clone(), *partition))
            })
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect()
    }
}
