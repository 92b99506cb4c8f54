//! What changes in a consumer group, one record each.

use klamm_model::Timestamp;
use klamm_stdx::Str;

use super::member::{Current, Subscription};
use super::partitions::Partitions;

/// What a record says; `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The group's epoch; without it the group is no more.
    Group(Option<GroupEpoch>),
    /// A member's subscription; without it the member is no more.
    Member(Str, Option<Box<Subscription>>),
    /// The epoch of the target assignment.
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have.
    Target(Str, Option<Partitions>),
    /// What a member has.
    Current(Str, Option<Box<Current>>),
    /// The topics that a pattern stands for.
    Regex(Str, Option<ResolvedRegex>),
    /// The topics' partitions as Kafka before 4.1 kept them; nothing follows from them.
    PartitionMetadata,
}

/// A group's epoch, and the topics that it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpoch {
    /// The epoch.
    pub epoch: i32,
    /// A hash of the topics and partitions that members read (KIP-1101).
    pub metadata_hash: i64,
}

/// The group's epoch that the target was computed for, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group's epoch.
    pub epoch: i32,
    /// When; zero if it is not known.
    pub at: Timestamp,
}

/// What a pattern stood for when it was looked at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// Topics, in order.
    pub topics: Vec<Str>,
    /// The offset of the metadata that was looked at.
    pub version: i64,
    /// When.
    pub at: Timestamp,
}

impl Change {
    /// Whether there is a group where this is said; a tombstone may outlive its group.
    pub(crate) fn makes_a_group(&self) -> bool {
        match self {
            Self::Group(value) => value.is_some(),
            Self::Member(_, value) => value.is_some(),
            Self::TargetEpoch(value) => value.is_some(),
            Self::Target(_, value) => value.is_some(),
            Self::Current(_, value) => value.is_some(),
            Self::Regex(_, value) => value.is_some(),
            Self::PartitionMetadata => false,
        }
    }
}
