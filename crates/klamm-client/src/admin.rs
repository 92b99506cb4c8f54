//! Topics, asked for and changed. Each function is one request; a refusal carries the
//! broker's own words.

use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
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
