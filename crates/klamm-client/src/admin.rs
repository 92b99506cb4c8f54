//! Topics and configs, asked for and changed. Each function is one request; a refusal carries the
//! broker's own words.

use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    metadata_response::MetadataResponseTopic,
};
use klamm_stdx::Str;

use crate::cluster::{AutoCreate, Client};
use crate::error::{ClientError, Result};

/// Patience of the controller with a change.
const CHANGE_TIMEOUT_MS: i32 = 30_000;

/// A topic that is to be.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions; `None` for the broker's default.
    pub partition_count: Option<i32>,
    /// How many replicas each; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Its own configs.
    pub configs: Vec<(Str, Str)>,
}

/// A topic that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: Uuid,
    /// How many partitions it has.
    pub partition_count: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

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
    /// Creates a topic.
    ///
    /// # Errors
    /// The broker refused; `TOPIC_ALREADY_EXISTS` is a case that callers look for.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<CreatedTopic> {
        let config = |(name, value): &(Str, Str)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partition_count.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                assignments: Vec::new(),
                configs: topic.configs.iter().map(config).collect(),
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(&request).await?;
        let what = format!("creating topic '{}'", topic.name);
        let result = only(response.topics, &what)?;
        check(result.error_code, result.error_message.as_ref(), &what)?;
        Ok(CreatedTopic {
            topic_id: result.topic_id,
            partition_count: result.num_partitions,
            replication_factor: result.replication_factor,
        })
    }

    /// Deletes a topic with everything in it.
    ///
    /// # Errors
    /// The broker refused.
    pub async fn delete_topic(&self, name: &Str) -> Result<()> {
        let version = self.any().await?.version(klamm_protocol::ApiKey::DeleteTopics)?;
        let mut request =
            DeleteTopicsRequest { timeout_ms: CHANGE_TIMEOUT_MS, ..Default::default() };
        match version {
            ..=5 => request.topic_names = vec![name.clone()],
            _ => {
                let topic = DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
                request.topics = vec![topic];
            }
        }
        let response = self.call(&request).await?;
        self.forget_topic(name);
        let what = format!("deleting topic '{name}'");
        let result = only(response.responses, &what)?;
        check(result.error_code, result.error_message.as_ref(), &what)
    }

    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// The broker refused.
    pub async fn create_partitions(&self, name: &Str, partition_count: i32) -> Result<()> {
        let topic =
            CreatePartitionsTopic { name: name.clone(), count: partition_count, assignments: None };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: CHANGE_TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(&request).await?;
        self.forget_topic(name);
        let what = format!("adding partitions to topic '{name}'");
        let result = only(response.results, &what)?;
        check(result.error_code, result.error_message.as_ref(), &what)
    }

    /// The topics of these names, or all. A name that is no topic is an error.
    ///
    /// # Errors
    /// No broker could be asked, or a topic does not exist.
    pub async fn describe_topics(
        &self,
        names: Option<&[Str]>,
    ) -> Result<Vec<MetadataResponseTopic>> {
        let mut topics = self.metadata(names, AutoCreate::Never).await?.topics;
        for topic in &topics {
            let name = topic.name.clone().unwrap_or_default();
            check(topic.error_code, None, &format!("topic '{name}'"))?;
        }
        topics.sort_by(|a, b| a.name.as_deref().cmp(&b.name.as_deref()));
        for topic in &mut topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
        Ok(topics)
    }

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

/// The one result of a request about one thing.
pub(crate) fn only<T>(results: Vec<T>, what: &str) -> Result<T> {
    let none = || ClientError::Invalid(format!("{what}: the broker's answer does not tell"));
    results.into_iter().next().ok_or_else(none)
}

/// A refusal, unless the code is none.
pub(crate) fn check(code: i16, message: Option<&Str>, what: &str) -> Result<()> {
    if code == ErrorCode::None.code() {
        return Ok(());
    }
    Err(ClientError::refused(code, message.map(Str::as_str), what))
}
