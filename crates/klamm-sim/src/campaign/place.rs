//! Where the logs of a campaign are, and what they are called.

use std::path::PathBuf;

use klamm_log::{OffsetCheckpoint, names};
use klamm_model::{NodeId, TopicPartition};

pub(super) const NODE: NodeId = NodeId(1);
const TOPIC: &str = "t";

pub(crate) fn root() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn partition_path(i: usize) -> PathBuf {
    root().join(names::partition_dir(TOPIC, partition_index(i)))
}

pub(crate) fn partition_index(i: usize) -> i32 {
    i32::try_from(i).expect("there are few partitions")
}

pub(crate) fn partition_name(i: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, partition_index(i))
}

/// How far logs are compacted.
pub(super) fn cleaner_offsets() -> OffsetCheckpoint {
    OffsetCheckpoint::new(root().join(names::CLEANER_OFFSETS))
}
