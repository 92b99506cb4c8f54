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
mod listener;
mod listeners;
mod load;
mod node;
mod properties;
mod quorum;
mod reader;
mod reference;
mod sections;
mod topic;
mod valid;
mod value;

pub use broker::{BrokerConfig, InternalTopic};
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
pub use listener::{Listener, ListenerName, ListenersConfig, MetricsListener, SecurityProtocol};
pub use load::Loaded;
pub use node::{NodeConfig, Roles};
pub use properties::{FILE_BYTES_MAX, KEYS_MAX, Properties, PropertiesError};
pub use quorum::{QuorumConfig, Voter};
pub use reference::render_reference;
pub use sections::{ControllerConfig, GroupsConfig, LogConfig, NetworkConfig, TransactionsConfig};
pub use topic::{
    Cleanup, Compression, CompressionLevels, Durability, TimestampType, TopicConfig,
    check_topic_overrides,
};
pub use valid::Valid;
pub use value::ConfigType;
