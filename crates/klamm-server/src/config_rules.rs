//! Which configs a resource may have, as klamm-config declares them, for the controller.

use std::sync::Arc;

use klamm_config::{
    AlterOp, ConfigKey, ConfigType, Properties, Scope, altered, broker_key, check_group, group_key,
    topic_key,
};
use klamm_controller::{ConfigRules, ConfigShape};
use klamm_metadata::{CONFIG_BROKER, CONFIG_CLIENT_METRICS, CONFIG_GROUP, CONFIG_TOPIC, Configs};
use klamm_stdx::Str;

/// The declared keys, and what this node's file says of their bounds.
#[derive(Debug)]
pub(crate) struct DeclaredConfigs {
    pub(crate) file: Arc<Properties>,
}

fn key(resource_type: i8, name: &str) -> Option<&'static ConfigKey> {
    match resource_type {
        CONFIG_TOPIC => topic_key(name),
        CONFIG_BROKER => broker_key(name),
        CONFIG_GROUP => group_key(name),
        _ => None,
    }
}

impl ConfigRules for DeclaredConfigs {
    fn check(&self, resource_type: i8, name: &str, value: &str) -> Result<(), String> {
        let scope = match resource_type {
            CONFIG_TOPIC => Scope::Topic,
            CONFIG_BROKER => Scope::Broker,
            CONFIG_GROUP => Scope::Group,
            CONFIG_CLIENT_METRICS => return Err("client metrics are not served yet".into()),
            other => return Err(format!("resources of type {other} have no configs")),
        };
        let checked = altered(scope, (name, AlterOp::Set), Some(value), (None, None));
        checked.map(drop).map_err(|error| error.to_string())
    }

    fn check_together(&self, resource_type: i8, configs: &Configs) -> Result<(), String> {
        if resource_type != CONFIG_GROUP {
            return Ok(());
        }
        let own = configs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        check_group(&own.collect(), &self.file)
    }

    fn shape(&self, resource_type: i8, name: &str) -> ConfigShape {
        match key(resource_type, name) {
            Some(key) if key.config_type == ConfigType::List => ConfigShape::List,
            Some(_) | None => ConfigShape::Single,
        }
    }

    fn default_value(&self, resource_type: i8, name: &str) -> Option<Str> {
        key(resource_type, name)?.default.value().map(Str::from)
    }
}
