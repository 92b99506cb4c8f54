//! A node's configuration is loaded: every value read, checked alone and against the others. What
//! is wrong is collected, so that one start tells all of it.

use crate::broker::{BrokerConfig, InternalTopic};
use crate::checks;
use crate::node::{self, Roles};
use crate::reader::Reader;
use crate::sections::{
    ControllerConfig, GroupsConfig, LogConfig, NetworkConfig, TransactionsConfig,
};
use crate::value::items;
use crate::{ConfigErrors, ConfigMap, Layers, Properties, TopicConfig, listeners, quorum};

/// A configuration and what its owner should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// Keys that are unknown or have no effect.
    pub warnings: Vec<String>,
}

impl BrokerConfig {
    /// Reads a file's keys (empty: the zero configuration).
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(file: &Properties) -> Result<Loaded, ConfigErrors> {
        let none = ConfigMap::new();
        Self::load_layers(&Layers { per_broker: &none, cluster: &none, file })
    }

    /// Reads a file's keys with what was changed while the cluster ran on top.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load_layers(layers: &Layers<'_>) -> Result<Loaded, ConfigErrors> {
        let reader = Reader::new(layers);
        let mut warnings = checks::check_keys(&reader);
        let config = Self::read(&reader);
        warnings.extend(checks::doubt(&config));
        checks::check_relations(&reader, &config);
        let errors = reader.into_errors();
        if errors.is_empty() { Ok(Loaded { config, warnings }) } else { Err(ConfigErrors(errors)) }
    }

    fn read(r: &Reader<'_>) -> Self {
        let roles = r.text("process.roles");
        let roles = Roles {
            broker: items(&roles).any(|role| role == "broker"),
            controller: items(&roles).any(|role| role == "controller"),
        };
        let node = node::read(r, roles);
        Self {
            listeners: listeners::read(r, roles),
            metrics: listeners::read_metrics(r),
            quorum: quorum::read(r, node.node_id, roles),
            node,
            network: NetworkConfig::read(r),
            log: LogConfig::read(r),
            controller: ControllerConfig::read(r),
            groups: GroupsConfig::read(r),
            transactions: TransactionsConfig::read(r),
            offsets_topic: InternalTopic {
                partitions: r.number("offsets.topic.num.partitions"),
                replication_factor: r.number("offsets.topic.replication.factor"),
                segment_bytes: r.number("offsets.topic.segment.bytes"),
            },
            transaction_topic: InternalTopic {
                partitions: r.number("transaction.state.log.num.partitions"),
                replication_factor: r.number("transaction.state.log.replication.factor"),
                segment_bytes: r.number("transaction.state.log.segment.bytes"),
            },
            topic_defaults: TopicConfig::defaults(r),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_declared_to_act_is_read() {
        let none = ConfigMap::new();
        let file = Properties::default();
        let layers = Layers { per_broker: &none, cluster: &none, file: &file };
        let reader = Reader::new(&layers);
        checks::check_keys(&reader);
        let config = BrokerConfig::read(&reader);
        checks::check_relations(&reader, &config);
        assert_eq!(reader.unread(), Vec::<&str>::new());
    }
}
