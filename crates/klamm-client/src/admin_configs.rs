//! Configs of topics, brokers and groups, asked for and changed.

use klamm_protocol::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use klamm_stdx::Str;

use crate::admin::{check, only};
use crate::cluster::Client;
use crate::error::Result;

/// What has configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic.
    Topic(Str),
    /// One broker, or all of them with an empty name.
    Broker(Str),
    /// A group.
    Group(Str),
}

impl ConfigResource {
    /// Its number and name on the wire (Kafka: `ConfigResource.Type`).
    #[must_use]
    pub fn to_wire(&self) -> (i8, Str) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(name) => (4, name.clone()),
            Self::Group(name) => (32, name.clone()),
        }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic '{name}'"),
            Self::Broker(name) if name.is_empty() => f.write_str("all brokers"),
            Self::Broker(name) => write!(f, "broker {name}"),
            Self::Group(name) => write!(f, "group '{name}'"),
        }
    }
}

/// A config of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: Str,
    /// Its value; `None` if it is secret or has none.
    pub value: Option<Str>,
    /// Whether it may not be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is secret.
    pub is_sensitive: bool,
    /// Where the value comes from.
    pub source: ConfigOrigin,
    /// What it means, if the broker told.
    pub documentation: Option<Str>,
}

/// Where a config's value comes from (Kafka: `DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// The topic.
    Topic,
    /// This broker, while it runs.
    Broker,
    /// All brokers, while they run.
    Cluster,
    /// The broker's file.
    File,
    /// Nobody set it.
    Default,
    /// The group.
    Group,
    /// Something that we do not know.
    Other(i8),
}

impl ConfigOrigin {
    fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::Cluster,
            4 => Self::File,
            5 => Self::Default,
            8 => Self::Group,
            other => Self::Other(other),
        }
    }

    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::Cluster => "cluster",
            Self::File => "file",
            Self::Default => "default",
            Self::Group => "group",
            Self::Other(_) => "other",
        }
    }
}

/// A change of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Give it this value.
    Set(Str, Str),
    /// Take its value away, so that the default is back.
    Unset(Str),
}

impl Client {
    /// The configs of a resource, by name.
    ///
    /// # Errors
    /// The broker refused.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, resource_name) = resource.to_wire();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: None,
            }],
            include_synonyms: false,
            include_documentation: true,
        };
        let what = format!("reading the configs of {resource}");
        let result = only(self.call(&request).await?.results, &what)?;
        check(result.error_code, result.error_message.as_ref(), &what)?;
        let mut entries: Vec<_> = result
            .configs
            .into_iter()
            .map(|config| ConfigEntry {
                name: config.name,
                value: config.value,
                is_read_only: config.read_only,
                is_sensitive: config.is_sensitive,
                source: ConfigOrigin::from_wire(config.config_source),
                documentation: config.documentation,
            })
            .collect();
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok(entries)
    }

    /// Changes some configs of a resource, all or none.
    ///
    /// # Errors
    /// The broker refused.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.to_wire();
        let change = |change: &ConfigChange| match change {
            ConfigChange::Set(name, value) => AlterableConfig {
                name: name.clone(),
                config_operation: 0,
                value: Some(value.clone()),
            },
            ConfigChange::Unset(name) => {
                AlterableConfig { name: name.clone(), config_operation: 1, value: None }
            }
        };
        let configs = changes.iter().map(change).collect();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource { resource_type, resource_name, configs }],
            validate_only: false,
        };
        let what = format!("changing the configs of {resource}");
        let result = only(self.call(&request).await?.responses, &what)?;
        check(result.error_code, result.error_message.as_ref(), &what)
    }
}
