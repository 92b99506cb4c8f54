//! What the broker's configuration says about consumer groups.

use klamm_config::{BrokerConfig, ConfigMap, GroupConfig, GroupsConfig, Properties};
use klamm_metadata::{CONFIG_GROUP, ConfigResource, MetadataImage};
use klamm_stdx::Str;

use super::assign::Assignor;
use crate::migration::MigrationPolicy;

/// The broker's configuration of groups, with what follows from it.
#[derive(Debug, Clone)]
pub struct ConsumerLimits {
    /// As configured.
    pub config: GroupsConfig,
    /// The assignors that members may ask for; the first is the default.
    pub(crate) assignors: Vec<Assignor>,
    /// Between which protocols groups may move.
    pub(crate) migration: MigrationPolicy,
    /// What groups have that say nothing themselves.
    defaults: GroupConfig,
}

impl ConsumerLimits {
    /// From the broker's configuration. Assignors that are not known are left out: the classes
    /// that Kafka would load have no meaning here.
    #[must_use]
    pub fn new(config: GroupsConfig) -> Self {
        let known = config.consumer_assignors.iter().filter_map(|name| Assignor::from_name(name));
        let mut assignors: Vec<Assignor> = known.collect();
        if assignors.is_empty() {
            assignors.push(Assignor::Uniform);
        }
        let defaults = GroupConfig::new(&config, &ConfigMap::new());
        let migration = MigrationPolicy::from_name(&config.consumer_migration_policy);
        Self { config, assignors, migration, defaults }
    }

    /// One group's configuration: its own over the broker's.
    pub(crate) fn config_of(&self, group_id: &Str, image: &MetadataImage) -> GroupConfig {
        if image.configs.is_empty() {
            return self.defaults;
        }
        let resource = ConfigResource::new(CONFIG_GROUP, group_id.clone());
        let Some(own) = image.configs_of(&resource) else { return self.defaults };
        let own = own.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        GroupConfig::new(&self.config, &own)
    }
}

impl Default for ConsumerLimits {
    fn default() -> Self {
        let loaded = BrokerConfig::load(&Properties::default());
        Self::new(loaded.expect("the defaults are a valid configuration").config.groups)
    }
}
