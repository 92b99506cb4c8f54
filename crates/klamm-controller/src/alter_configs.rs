//! Configs of topics, brokers, groups and client metrics change. Never keeps a value that the
//! rules refuse; a resource's configs change all together or not at all.

use std::collections::BTreeMap;

use klamm_metadata::{
    CONFIG_BROKER, CONFIG_CLIENT_METRICS, CONFIG_GROUP, CONFIG_TOPIC, ConfigResource, Configs,
    VersionedRecord,
};
use klamm_model::{ErrorCode, NodeId, check_topic_name};
use klamm_persisted::metadata::ConfigRecord;
use klamm_stdx::Str;

use crate::core::RECORDS_PER_OPERATION_MAX;
use crate::{ApiError, ConfigShape, Context, Controller, ControllerResult, Mode};

/// Bytes that a config's value may have (Kafka: a value must fit a metadata record).
const VALUE_BYTES_MAX: usize = 32_767;

/// How a config changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// It has this value.
    Set(Str),
    /// It has its default.
    Delete,
    /// The list has these values too.
    Append(Str),
    /// The list has these values no longer.
    Subtract(Str),
}

impl ConfigChange {
    /// From IncrementalAlterConfigs.
    ///
    /// # Errors
    /// The operation is unknown, or has no value although it needs one.
    pub fn from_request(name: &str, operation: i8, value: Option<Str>) -> Result<Self, ApiError> {
        let refuse = |message| ApiError::new(ErrorCode::InvalidRequest, message);
        let needed = |value: Option<Str>| {
            value.ok_or_else(|| refuse(format!("config '{name}' has no value")))
        };
        match operation {
            0 => needed(value).map(Self::Set),
            1 => Ok(Self::Delete),
            2 => needed(value).map(Self::Append),
            3 => needed(value).map(Self::Subtract),
            _ => Err(refuse(format!("operation {operation} on config '{name}' is unknown"))),
        }
    }
}

/// The changes of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    /// The resource.
    pub resource: ConfigResource,
    /// Names and how they change; a name may be there once.
    pub changes: Vec<(Str, ConfigChange)>,
}

/// All configs of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaceConfigs {
    /// The resource.
    pub resource: ConfigResource,
    /// Names and values; what is not here has its default.
    pub configs: Vec<(Str, Option<Str>)>,
}

/// What became of each resource, in the order of the request.
pub type AlteredResources = Vec<(ConfigResource, Result<(), ApiError>)>;

impl Controller {
    /// Changes configs one by one (IncrementalAlterConfigs).
    pub fn alter_configs(
        &self,
        context: &Context<'_>,
        requests: &[AlterConfigs],
        mode: Mode,
    ) -> ControllerResult<AlteredResources> {
        let resources = requests.iter().map(|request| &request.resource).collect();
        self.for_each_resource(context, resources, mode, |index, current| {
            self.changed(&requests[index], current)
        })
    }

    /// Replaces all configs of resources (AlterConfigs).
    pub fn replace_configs(
        &self,
        context: &Context<'_>,
        requests: &[ReplaceConfigs],
        mode: Mode,
    ) -> ControllerResult<AlteredResources> {
        let resources = requests.iter().map(|request| &request.resource).collect();
        self.for_each_resource(context, resources, mode, |index, _| replaced(&requests[index]))
    }

    fn for_each_resource(
        &self,
        context: &Context<'_>,
        resources: Vec<&ConfigResource>,
        mode: Mode,
        next: impl Fn(usize, &Configs) -> Result<Configs, ApiError>,
    ) -> ControllerResult<AlteredResources> {
        let mut counts: BTreeMap<&ConfigResource, usize> = BTreeMap::new();
        for resource in &resources {
            *counts.entry(resource).or_default() += 1;
        }
        let nothing = Configs::new();
        let mut records = Vec::new();
        let mut results = AlteredResources::with_capacity(resources.len());
        for (index, resource) in resources.into_iter().enumerate() {
            let current = context.image.configs_of(resource).map_or(&nothing, |configs| configs);
            let result = if counts.get(resource) == Some(&1) {
                check_resource(context, resource)
                    .and_then(|()| next(index, current))
                    .and_then(|next| self.config_records(context, resource, current, &next))
                    .and_then(|changed| check_room(records.len(), changed))
            } else {
                let message = format!("resource '{}' is in the request twice", resource.name);
                Err(ApiError::new(ErrorCode::InvalidRequest, message))
            };
            let result = result.map(|mut changed| records.append(&mut changed));
            results.push((resource.clone(), result));
        }
        mode.result(records, results)
    }

    /// The configs of a resource after its changes.
    fn changed(&self, request: &AlterConfigs, current: &Configs) -> Result<Configs, ApiError> {
        let mut next = current.clone();
        let mut seen = std::collections::BTreeSet::new();
        for (name, change) in &request.changes {
            if !seen.insert(name) {
                let message = format!("config '{name}' is in the request more than once");
                return Err(ApiError::new(ErrorCode::InvalidRequest, message));
            }
            let value = match change {
                ConfigChange::Set(value) => Some(value.detached()),
                ConfigChange::Delete => None,
                ConfigChange::Append(values) | ConfigChange::Subtract(values) => {
                    let kind = request.resource.resource_type;
                    Some(self.list(kind, name, current.get(name), (change, values))?)
                }
            };
            match value {
                Some(value) => drop(next.insert(name.detached(), value)),
                None => drop(next.remove(name)),
            }
        }
        Ok(next)
    }

    /// A list with values more or less.
    fn list(
        &self,
        kind: i8,
        name: &Str,
        current: Option<&Str>,
        (change, values): (&ConfigChange, &Str),
    ) -> Result<Str, ApiError> {
        if self.rules.shape(kind, name) != ConfigShape::List {
            let message = format!("config '{name}' is no list: it can be set and deleted only");
            return Err(ApiError::new(ErrorCode::InvalidConfig, message));
        }
        let current = current.cloned().or_else(|| self.rules.default_value(kind, name));
        let current = current.unwrap_or_default();
        let mut parts: Vec<&str> = parts(&current).collect();
        for value in self::parts(values) {
            let is_there = parts.contains(&value);
            match change {
                ConfigChange::Subtract(_) => parts.retain(|part| *part != value),
                _ if is_there => {}
                _ => parts.push(value),
            }
        }
        Ok(Str::from(parts.join(",")))
    }

    /// The records that lead from some configs to others.
    fn config_records(
        &self,
        context: &Context<'_>,
        resource: &ConfigResource,
        current: &Configs,
        next: &Configs,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let record = |name: &Str, value| {
            context.record(ConfigRecord {
                resource_type: resource.resource_type,
                resource_name: resource.name.detached(),
                name: name.clone(),
                value,
            })
        };
        let mut records = Vec::new();
        for name in current.keys().filter(|name| !next.contains_key(*name)) {
            check_min_insync_replicas(context, resource, name, None)?;
            records.push(record(name, None));
        }
        for (name, value) in next.iter().filter(|(name, value)| current.get(*name) != Some(value)) {
            if value.len() > VALUE_BYTES_MAX {
                let message = format!(
                    "config '{name}' has {} bytes, at most {VALUE_BYTES_MAX} fit",
                    value.len()
                );
                return Err(ApiError::new(ErrorCode::InvalidConfig, message));
            }
            self.rules
                .check(resource.resource_type, name, value)
                .map_err(|message| ApiError::new(ErrorCode::InvalidConfig, message))?;
            check_min_insync_replicas(context, resource, name, Some(value))?;
            records.push(record(name, Some(value.clone())));
        }
        if !records.is_empty() {
            self.rules
                .check_together(resource.resource_type, next)
                .map_err(|message| ApiError::new(ErrorCode::InvalidConfig, message))?;
        }
        Ok(records)
    }
}

fn check_room(
    written: usize,
    changed: Vec<VersionedRecord>,
) -> Result<Vec<VersionedRecord>, ApiError> {
    if written + changed.len() > RECORDS_PER_OPERATION_MAX {
        let message = format!("one request may change at most {RECORDS_PER_OPERATION_MAX} configs");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    Ok(changed)
}

fn replaced(request: &ReplaceConfigs) -> Result<Configs, ApiError> {
    let mut next = Configs::new();
    for (name, value) in &request.configs {
        let Some(value) = value else {
            let message = format!("config '{name}' has no value");
            return Err(ApiError::new(ErrorCode::InvalidConfig, message));
        };
        if next.insert(name.detached(), value.detached()).is_some() {
            let message = format!("config '{name}' is in the request more than once");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok(next)
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Elections count on one `min.insync.replicas` for the whole cluster where topics have none
/// (KIP-966): a broker has none of its own, and the cluster's cannot be taken away.
fn check_min_insync_replicas(
    context: &Context<'_>,
    resource: &ConfigResource,
    name: &str,
    value: Option<&Str>,
) -> Result<(), ApiError> {
    if name != "min.insync.replicas"
        || resource.resource_type != CONFIG_BROKER
        || !context.image.features.has_eligible_leader_replicas()
    {
        return Ok(());
    }
    let message = match (resource.name.is_empty(), value) {
        (true, Some(_)) => return Ok(()),
        (true, None) => {
            "min.insync.replicas of the cluster cannot be removed while eligible.leader.replicas.version is on"
        }
        // What was there before the feature may still go.
        (false, None) => return Ok(()),
        (false, Some(_)) => {
            "a broker cannot have its own min.insync.replicas while eligible.leader.replicas.version is on"
        }
    };
    Err(ApiError::new(ErrorCode::InvalidConfig, message))
}

/// Checks that a resource may have configs.
fn check_resource(context: &Context<'_>, resource: &ConfigResource) -> Result<(), ApiError> {
    let name = &resource.name;
    let refuse = |code, message| Err(ApiError::new(code, message));
    match resource.resource_type {
        CONFIG_TOPIC if name.is_empty() => {
            refuse(ErrorCode::InvalidRequest, "there are no configs of all topics".to_owned())
        }
        CONFIG_TOPIC => {
            check_topic_name(name).map_err(|error| {
                ApiError::new(ErrorCode::InvalidTopicException, error.to_string())
            })?;
            if context.image.topics.id(name).is_some() {
                return Ok(());
            }
            refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
        }
        CONFIG_BROKER if name.is_empty() => Ok(()),
        CONFIG_BROKER => match name.parse::<i32>() {
            Ok(id) if is_node(context, NodeId(id)) => Ok(()),
            Ok(id) => refuse(ErrorCode::BrokerIdNotRegistered, format!("there is no node {id}")),
            Err(_) => refuse(ErrorCode::InvalidRequest, format!("'{name}' is no broker id")),
        },
        CONFIG_GROUP | CONFIG_CLIENT_METRICS if name.is_empty() => {
            refuse(ErrorCode::InvalidRequest, "the resource has no name".to_owned())
        }
        CONFIG_GROUP | CONFIG_CLIENT_METRICS => Ok(()),
        other => {
            refuse(ErrorCode::InvalidRequest, format!("resources of type {other} have no configs"))
        }
    }
}

fn is_node(context: &Context<'_>, id: NodeId) -> bool {
    let cluster = &context.image.cluster;
    cluster.brokers.contains_key(&id) || cluster.controllers.contains_key(&id)
}
