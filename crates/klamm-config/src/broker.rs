//! A node's configuration, typed.

use crate::TopicConfig;
use crate::listener::{ListenersConfig, MetricsListener};
use crate::node::NodeConfig;
use crate::quorum::QuorumConfig;
use crate::sections::{
    ControllerConfig, GroupsConfig, LogConfig, NetworkConfig, TransactionsConfig,
};

/// How an internal topic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas; whoever creates it takes fewer when fewer brokers live.
    pub replication_factor: i16,
    /// Its segment size.
    pub segment_bytes: i32,
}

/// A node's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Identity.
    pub node: NodeConfig,
    /// Listeners.
    pub listeners: ListenersConfig,
    /// Where metrics are served.
    pub metrics: Vec<MetricsListener>,
    /// The metadata quorum.
    pub quorum: QuorumConfig,
    /// Connections and requests.
    pub network: NetworkConfig,
    /// Log directories.
    pub log: LogConfig,
    /// The controller.
    pub controller: ControllerConfig,
    /// Groups.
    pub groups: GroupsConfig,
    /// Transactions.
    pub transactions: TransactionsConfig,
    /// The offsets topic.
    pub offsets_topic: InternalTopic,
    /// The transaction topic.
    pub transaction_topic: InternalTopic,
    /// What a topic without configs of its own gets.
    pub topic_defaults: TopicConfig,
}
