//! What the metadata says of a partition that this broker is to have.

use klamm_log::LogConfig;
use klamm_model::{DirectoryId, LeaderEpoch, TopicId, TopicPartition};
use klamm_records::Rules;

/// A partition that this broker has a replica of.
#[derive(Debug, Clone)]
pub struct NewPartition {
    /// Its name.
    pub name: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// The directory that the metadata names, if it does.
    pub directory: Option<DirectoryId>,
    /// Its log's configuration.
    pub config: LogConfig,
    /// What its topic asks of batches.
    pub rules: Rules,
    /// The epoch in which this broker leads it; `None` if another does.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whether there may be something of it on the disks.
    pub age: Age,
}

/// When a partition came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Before this node was started: if it is nowhere, it may be in a directory that failed.
    Old,
    /// Just now.
    New,
}
