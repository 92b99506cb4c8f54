//! A partition as a fetch names it: by topic id, or in old versions by name.

use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

/// What a fetch session remembers a partition by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FetchKey {
    /// By id; zero before version 13.
    pub topic_id: TopicId,
    /// By name; empty from version 13 on.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionIndex,
}
