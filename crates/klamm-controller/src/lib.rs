//! The cluster's decisions: which topics there are, who holds and leads partitions, which
//! configs are set, which brokers belong.
//!
//! [`Controller`] is a plain state machine over a [`MetadataImage`]: an operation gives records
//! and a response ([`ControllerResult`]) and changes nothing itself. Never opens a file or a
//! connection.
//!
//! [`MetadataImage`]: klamm_metadata::MetadataImage

mod brokers;
mod core;
mod create_topics;
mod elections;
mod error;
mod heartbeats;
mod liveness;
mod partitions_of_brokers;
mod placement;
mod producer_ids;
mod rules;
#[cfg(test)]
mod testing;

pub use brokers::BrokerToRegister;
pub use core::{
    Context, Controller, ControllerResult, DeleteTopics, Mode, RECORDS_PER_OPERATION_MAX, Settings,
    UncleanLeaderElection,
};
pub use create_topics::{
    CreatedTopic, CreatedTopics, Layout, NewTopic, PARTITIONS_PER_REQUEST_MAX,
};
pub use error::ApiError;
pub use liveness::{BrokerHeartbeat, BrokerWish, HeartbeatReply};
pub use producer_ids::{PRODUCER_ID_BLOCK_LEN, ProducerIdBlock};
pub use rules::{ConfigRules, ConfigShape};
