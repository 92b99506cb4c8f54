//! CreateTopics (key 19): creates topics. Served: v2-v7.
//!
//! v4 the broker's defaults by -1 (KIP-464) · v5 flexible, the topic is told (KIP-525) · v7 topic
//! ids (KIP-516).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_config::{ConfigMap, Layers, describe_topic};
use klamm_controller::{ApiError, CreatedTopic, Layout, Mode, NewTopic};
use klamm_model::{ErrorCode, NodeId};
use klamm_protocol::create_topics_request::CreatableTopic;
use klamm_protocol::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use klamm_protocol::{CreateTopicsRequest, CreateTopicsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::describe_configs::dynamic;

/// From here on the answer tells what was created.
const TOLD_FROM: i16 = 5;

pub(crate) struct CreateTopics;

impl Api for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=7;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: CreateTopicsRequest,
        version: i16,
    ) -> Reply<CreateTopicsResponse> {
        let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Apply };
        let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let topics = request.topics.into_iter().map(new_topic).collect();
        let topics = match ctx.controller.create_topics(topics, mode).await {
            Ok(created) => created
                .into_iter()
                .map(|(name, result)| line(&ctx, name, result, version))
                .collect(),
            Err(error) => names
                .into_iter()
                .map(|name| line(&ctx, name, Err(error.clone()), version))
                .collect(),
        };
        CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }.into()
    }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignment = |a: klamm_protocol::create_topics_request::CreatableReplicaAssignment| {
        (a.partition_index, a.broker_ids.into_iter().map(NodeId).collect())
    };
    let assignments = topic.assignments.into_iter().map(assignment).collect();
    NewTopic {
        name: topic.name.detached(),
        layout: Layout::from_request(topic.num_partitions, topic.replication_factor, assignments),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (config.name.detached(), config.value.map(|value| value.detached())))
            .collect(),
    }
}

fn line(
    ctx: &Context,
    name: Str,
    result: Result<CreatedTopic, ApiError>,
    version: i16,
) -> CreatableTopicResult {
    match result {
        Ok(created) => CreatableTopicResult {
            configs: (version >= TOLD_FROM).then(|| configs(ctx, &created)),
            name,
            topic_id: created.id,
            num_partitions: created.partition_count,
            replication_factor: created.replication_factor,
            ..CreatableTopicResult::default()
        },
        Err(error) => CreatableTopicResult {
            name,
            error_code: error.code.code(),
            error_message: Some(Str::from(
                error.message.unwrap_or_else(|| error.code.name().to_owned()),
            )),
            num_partitions: -1,
            replication_factor: -1,
            configs: (version >= TOLD_FROM).then(Vec::new),
            topic_config_error_code: ErrorCode::None.code(),
            ..CreatableTopicResult::default()
        },
    }
}

fn configs(ctx: &Context, created: &CreatedTopic) -> Vec<CreatableTopicConfigs> {
    let (per_broker, cluster) = dynamic(ctx);
    let layers = Layers { per_broker: &per_broker, cluster: &cluster, file: &ctx.properties };
    let own: ConfigMap =
        created.configs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let described = describe_topic(&layers, &own).into_iter();
    described
        .map(|config| CreatableTopicConfigs {
            name: Str::from(config.name),
            value: config.value.map(Str::from),
            read_only: config.read_only,
            config_source: config.source.code(),
            is_sensitive: config.sensitive,
        })
        .collect()
}
