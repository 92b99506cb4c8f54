//! New topics. Never places a replica on a broker that is not registered, and never creates a
//! part of a topic.

use std::collections::{BTreeMap, BTreeSet};

use klamm_metadata::{CONFIG_TOPIC, Configs, VersionedRecord};
use klamm_model::{ErrorCode, NodeId, PartitionIndex, TopicId, check_topic_name, has_collision};
use klamm_persisted::metadata::{ConfigRecord, TopicRecord};
use klamm_stdx::Str;

use crate::core::RECORDS_PER_OPERATION_MAX;
use crate::layout::{Layout, manual};
use crate::new_partition::new_partition;
use crate::placement::Placement;
use crate::{ApiError, Context, Controller, ControllerResult, Mode};

/// Partitions that one request may create (Kafka: `MAX_PARTITIONS_PER_BATCH`).
pub const PARTITIONS_PER_REQUEST_MAX: usize = RECORDS_PER_OPERATION_MAX;

/// A topic to create.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: Str,
    /// How its partitions are placed.
    pub layout: Layout,
    /// Its configs; a config without a value is refused.
    pub configs: Vec<(Str, Option<Str>)>,
}

/// A topic that is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partition_count: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// The configs that were set on it; all others have their defaults.
    pub configs: Configs,
}

/// What became of each topic, in the order of the request.
pub type CreatedTopics = Vec<(Str, Result<CreatedTopic, ApiError>)>;

impl Controller {
    /// Creates topics; each succeeds or fails on its own.
    pub fn create_topics(
        &self,
        context: &Context<'_>,
        topics: &[NewTopic],
        mode: Mode,
    ) -> ControllerResult<CreatedTopics> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in topics {
            *names.entry(topic.name.as_str()).or_default() += 1;
        }
        let mut batch = Batch { created: BTreeSet::new(), records: Vec::new(), partitions: 0 };
        let mut results = CreatedTopics::with_capacity(names.len());
        let mut seen = BTreeSet::new();
        for topic in topics {
            let result = if names.get(topic.name.as_str()).is_some_and(|count| *count > 1) {
                if !seen.insert(topic.name.as_str()) {
                    continue;
                }
                let message = format!("topic '{}' is in the request more than once", topic.name);
                Err(ApiError::new(ErrorCode::InvalidRequest, message))
            } else {
                self.create_topic(context, topic, &mut batch)
            };
            results.push((topic.name.clone(), result));
        }
        mode.result(batch.records, results)
    }

    fn create_topic(
        &self,
        context: &Context<'_>,
        topic: &NewTopic,
        batch: &mut Batch,
    ) -> Result<CreatedTopic, ApiError> {
        check_name(context, &topic.name, &batch.created)?;
        let configs = self.checked_configs(&topic.configs)?;
        let replicas = self.replicas(context, &topic.layout, batch)?;
        let first = replicas.first().ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidPartitions, "a topic needs at least one partition")
        })?;
        let replication_factor = first.len() as i16;
        let id = context.random.uuid();
        let mut records = Vec::with_capacity(1 + configs.len() + replicas.len());
        let record = TopicRecord { name: topic.name.detached(), topic_id: id };
        records.push(context.record(record));
        for (name, value) in &configs {
            records.push(context.record(ConfigRecord {
                resource_type: CONFIG_TOPIC,
                resource_name: topic.name.detached(),
                name: name.clone(),
                value: Some(value.clone()),
            }));
        }
        for (index, replicas) in replicas.iter().enumerate() {
            records.push(new_partition(context, id, index as PartitionIndex, replicas)?);
        }
        if batch.records.len() + records.len() > RECORDS_PER_OPERATION_MAX {
            return Err(too_large());
        }
        batch.partitions += replicas.len();
        batch.records.append(&mut records);
        batch.created.insert(topic.name.clone());
        let partition_count = replicas.len() as i32;
        Ok(CreatedTopic { id, partition_count, replication_factor, configs })
    }

    fn checked_configs(&self, configs: &[(Str, Option<Str>)]) -> Result<Configs, ApiError> {
        let mut checked = Configs::new();
        for (name, value) in configs {
            let Some(value) = value else {
                let message = format!("config '{name}' has no value");
                return Err(ApiError::new(ErrorCode::InvalidConfig, message));
            };
            self.rules
                .check(CONFIG_TOPIC, name, value)
                .map_err(|message| ApiError::new(ErrorCode::InvalidConfig, message))?;
            if checked.insert(name.detached(), value.detached()).is_some() {
                let message = format!("config '{name}' is given more than once");
                return Err(ApiError::new(ErrorCode::InvalidRequest, message));
            }
        }
        Ok(checked)
    }

    /// The replicas of each partition from 0.
    fn replicas(
        &self,
        context: &Context<'_>,
        layout: &Layout,
        batch: &Batch,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        match layout {
            Layout::Contradicting => Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "replicas are assigned by hand: the partition count and the replication factor must be -1",
            )),
            Layout::Manual(assignments) => {
                batch.check_room(assignments.len())?;
                manual(context, assignments)
            }
            Layout::Automatic { partition_count, replication_factor } => {
                let (count, factor) = self.automatic(*partition_count, *replication_factor)?;
                batch.check_room(count)?;
                let mut placement = Placement::new(&context.image.cluster, context.random.bits());
                (0..count).map(|_| placement.place(factor)).collect()
            }
        }
    }

    fn automatic(
        &self,
        partition_count: i32,
        replication_factor: i16,
    ) -> Result<(usize, usize), ApiError> {
        let count = match partition_count {
            -1 => self.settings.num_partitions,
            count => count,
        };
        let factor = match replication_factor {
            -1 => self.settings.default_replication_factor,
            factor => factor,
        };
        let positive = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0);
        let count = positive(i64::from(count)).ok_or_else(|| {
            let message =
                format!("{count} partitions: there must be 1 or more, or -1 for the default");
            ApiError::new(ErrorCode::InvalidPartitions, message)
        })?;
        let factor = positive(i64::from(factor)).ok_or_else(|| {
            let message =
                format!("replication factor {factor}: it must be 1 or more, or -1 for the default");
            ApiError::new(ErrorCode::InvalidReplicationFactor, message)
        })?;
        Ok((count, factor))
    }
}

/// What a request has created so far.
struct Batch {
    created: BTreeSet<Str>,
    records: Vec<VersionedRecord>,
    partitions: usize,
}

impl Batch {
    fn check_room(&self, partitions: usize) -> Result<(), ApiError> {
        if self.partitions.saturating_add(partitions) > PARTITIONS_PER_REQUEST_MAX {
            return Err(too_large());
        }
        Ok(())
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        ErrorCode::PolicyViolation,
        format!("one request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions"),
    )
}

fn check_name(context: &Context<'_>, name: &str, created: &BTreeSet<Str>) -> Result<(), ApiError> {
    check_topic_name(name)
        .map_err(|error| ApiError::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    if context.image.topics.id(name).is_some() {
        let message = format!("topic '{name}' already exists");
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
    }
    // Other names cannot collide: most topics never look through all names.
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let mut others = context.image.topics.names().chain(created);
    if let Some(other) = others.find(|other| has_collision(other, name)) {
        let message = format!("topic '{name}' collides with topic '{other}'");
        return Err(ApiError::new(ErrorCode::InvalidTopicException, message));
    }
    Ok(())
}
