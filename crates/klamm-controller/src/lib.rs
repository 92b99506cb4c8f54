//! The cluster's decisions: which topics there are, who holds and leads partitions, which
//! configs are set, which brokers belong.
//!
//! [`Controller`] is a plain state machine over a [`MetadataImage`]: an operation gives records
//! and a response ([`ControllerResult`]) and changes nothing itself. Never opens a file or a
//! connection.
//!
//! [`MetadataImage`]: klamm_metadata::MetadataImage

mod activation;
mod alter_configs;
#[cfg(test)]
mod alter_configs_tests;
mod alter_partition;
mod brokers;
mod core;
mod create_partitions;
mod create_topics;
#[cfg(test)]
mod create_topics_tests;
mod delete_topics;
mod directories;
mod elections;
mod error;
mod heartbeats;
mod job;
mod layout;
mod liveness;
mod new_partition;
mod partitions_of_brokers;
mod placement;
mod producer_ids;
mod rules;
mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod testing;
mod turn;

pub use activation::Activation;
pub use alter_configs::{AlterConfigs, AlteredResources, ConfigChange, ReplaceConfigs};
pub use alter_partition::{AlterPartition, AlteredPartitions, InSyncReplica};
pub use brokers::BrokerToRegister;
pub use core::{
    Context, Controller, ControllerResult, DeleteTopics, Mode, RECORDS_PER_OPERATION_MAX, Settings,
    UncleanLeaderElection,
};
pub use create_partitions::{GrownTopics, MorePartitions};
pub use create_topics::{CreatedTopic, CreatedTopics, NewTopic, PARTITIONS_PER_REQUEST_MAX};
pub use delete_topics::{DeletedTopic, TopicToDelete};
pub use directories::{ASSIGNMENTS_MAX, AssignedReplicas};
pub use error::ApiError;
pub use layout::Layout;
pub use liveness::{BrokerHeartbeat, BrokerWish, HeartbeatReply};
pub use producer_ids::{PRODUCER_ID_BLOCK_LEN, ProducerIdBlock};
pub use rules::{ConfigRules, ConfigShape};
pub use task::{ControllerHandle, QUEUE_LEN, start};
pub use turn::{ControllerParts, MetadataLog};

pub use klamm_metadata::{MetadataHandle, Publisher};
