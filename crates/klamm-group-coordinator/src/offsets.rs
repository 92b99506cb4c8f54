//! Committed offsets: what can be asked and answered, and what is remembered ([`OffsetStore`]).

mod requests;
mod store;

use klamm_coordinator::TransactionalProducer;
use klamm_model::{
    ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, Verification,
};
use klamm_stdx::Str;

pub(crate) use store::OffsetStore;

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
    /// The generation it believes in, or the member's epoch; -1 without one.
    pub generation_id: GenerationId,
    /// Whether the request can tell a member's epoch.
    pub epochs: MemberEpochs,
    /// From old versions: how long to keep the offsets.
    pub retention_ms: Option<i64>,
    /// The lines.
    pub offsets: Vec<OffsetToCommit>,
}

/// Whether a version of OffsetCommit knows the epochs of members (from 9 on, KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEpochs {
    /// It does.
    Known,
    /// It is older.
    Unknown,
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

/// What is known of a partition's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundOffset {
    /// Nothing.
    None,
    /// It is committed.
    Committed(CommittedOffset),
    /// A transaction that may change it is open, and who asks wants to be sure (KIP-447).
    Unstable,
}

/// A partition and what is committed for it.
pub type OffsetOfPartition = (PartitionIndex, FoundOffset);

/// The answer to a fetch of offsets: for each topic its partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetsOfGroup {
    /// By topic, in the order of the question.
    pub topics: Vec<(Str, Vec<OffsetOfPartition>)>,
}

/// An OffsetFetch request, as far as it concerns one group.
#[derive(Debug, Clone)]
pub struct OffsetFetch {
    /// These partitions, or all that have an offset.
    pub asked: Option<Vec<(Str, Vec<PartitionIndex>)>>,
    /// Whether offsets that may change are told.
    pub stability: Stability,
    /// Who asks, if it says so: a member of the consumer protocol and its epoch.
    pub member: Option<(Str, i32)>,
}

/// Whether offsets that an open transaction may change are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// They are, as they were before it.
    Any,
    /// They are not.
    Required,
}

/// A TxnOffsetCommit request: offsets that count when a transaction is committed.
#[derive(Debug, Clone)]
pub struct TransactionalCommit {
    /// Whose transaction.
    pub producer: TransactionalProducer,
    /// That its coordinator knows of this partition of ours.
    pub verification: Option<Verification>,
    /// Who commits what.
    pub commit: OffsetCommit,
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
