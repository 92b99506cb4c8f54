//! Every configuration key, declared once: type, default, accepted values, meaning.
//!
//! Layers, the later one wins: default < file < cluster-wide < one broker < topic or group.
//! Values arrive as text (a [`Properties`] file, records of the metadata log) and leave typed
//! ([`BrokerConfig`], [`TopicConfig`], [`GroupConfig`]). Reads no file, no environment, no clock.

mod broker;
mod change;
mod checks;
mod describe;
mod error;
mod group;
mod key;
mod keys;
mod layers;
mod listeners;
mod properties;
mod quorum;
mod reference;
mod topic;
mod valid;
mod value;

pub use broker::{
    BrokerConfig, ControllerConfig, GroupsConfig, InternalTopic, Loaded, LogConfig, NetworkConfig,
    NodeConfig, Roles, TransactionsConfig,
};
pub use change::{AlterOp, ChangeError, Scope, altered, check_broker_change, check_change};
pub use describe::{
    ConfigSource, DescribedConfig, Synonym, describe_broker, describe_group, describe_topic,
};
pub use error::{ConfigError, ConfigErrors};
pub use group::{GroupConfig, check_group};
pub use key::{ConfigKey, Default, Effect, Importance, UpdateMode};
pub use keys::{
    broker_key, broker_keys, client_metrics_keys, group_key, group_keys, topic_key, topic_keys,
};
pub use layers::{ConfigMap, Layers};
pub use listeners::{Listener, ListenerName, ListenersConfig, MetricsListener, SecurityProtocol};
pub use properties::{FILE_BYTES_MAX, KEYS_MAX, Properties, PropertiesError};
pub use quorum::{QuorumConfig, Voter};
pub use reference::render_reference;
pub use topic::{
    Cleanup, Compression, CompressionLevels, Durability, TimestampType, TopicConfig,
    check_topic_overrides,
};
pub use valid::Valid;
pub use value::ConfigType;
