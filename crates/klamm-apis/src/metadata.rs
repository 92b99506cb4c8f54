//! Metadata (key 3): brokers, topics, and who leads what. Served: v0-v13.
//!
//! v1 all topics by null · v4 creation on demand · v5 offline replicas · v7 leader epochs · v8
//! operations (KIP-430) · v9 flexible · v10 topic ids (KIP-516) · v12 topics by id · v13 an error
//! for the whole answer (KIP-1102).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_metadata::{MetadataImage, TopicImage};
use klamm_model::{ErrorCode, NodeId, Uuid, check_topic_name, is_internal_topic};
use klamm_protocol::metadata_request::MetadataRequestTopic;
use klamm_protocol::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm_protocol::{Listener, MetadataRequest, MetadataResponse};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::describe_cluster::{NO_OPERATIONS, authorized};
use crate::internal_topics::create_on_demand;

/// Before this version an empty list asks for all topics.
const NULL_MEANS_ALL_FROM: i16 = 1;
/// From here on topics may be asked for by id; the versions with ids before it cannot answer that.
const TOPIC_IDS_FROM: i16 = 12;
/// Before this version a client cannot say no to creation.
const CREATION_CHOICE_FROM: i16 = 4;

pub(crate) struct Metadata;

impl Api for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: MetadataRequest,
        version: i16,
    ) -> Reply<MetadataResponse> {
        let may_create = request.allow_auto_topic_creation || version < CREATION_CHOICE_FROM;
        let asked =
            request.topics.filter(|topics| version >= NULL_MEANS_ALL_FROM || !topics.is_empty());
        let asks_by_id =
            |topic: &MetadataRequestTopic| topic.name.is_none() || topic.topic_id != Uuid::ZERO;
        if version < TOPIC_IDS_FROM && asked.iter().flatten().any(asks_by_id) {
            return refuse_ids(asked.unwrap_or_default()).into();
        }
        let described = Described {
            listener: Rc::clone(&caller.listener_name),
            operations: topic_operations(request.include_topic_authorized_operations),
        };
        let topics = match asked {
            None => {
                let image = ctx.metadata.image();
                image.topics.iter().map(|topic| described.topic(&image, topic)).collect()
            }
            Some(asked) => named_topics(&ctx, &described, asked, may_create).await,
        };
        let image = ctx.metadata.image();
        MetadataResponse {
            brokers: brokers(&image, &caller.listener_name),
            cluster_id: Some(ctx.cluster_id.clone()),
            controller_id: ctx.node_id.0,
            topics,
            cluster_authorized_operations: authorized(
                request.include_cluster_authorized_operations && (8..=10).contains(&version),
            ),
            ..MetadataResponse::default()
        }
        .into()
    }
}

/// Every topic is refused: v10 and v11 have ids, but no way to tell a topic without a name. Kafka:
/// `MetadataRequest.getErrorResponse`.
fn refuse_ids(asked: Vec<MetadataRequestTopic>) -> MetadataResponse {
    let refused = asked.into_iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        topic_authorized_operations: NO_OPERATIONS,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse { topics: refused.collect(), ..MetadataResponse::default() }
}

/// Without an authorizer everybody may do everything with a topic: the bits of READ, WRITE,
/// CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) fn topic_operations(is_asked: bool) -> i32 {
    const TOPIC_OPERATIONS: [u32; 8] = [3, 4, 5, 6, 7, 8, 10, 11];
    if !is_asked {
        return NO_OPERATIONS;
    }
    TOPIC_OPERATIONS.iter().fold(0, |bits, operation| bits | 1 << operation)
}

fn brokers(image: &MetadataImage, listener: &str) -> Vec<MetadataResponseBroker> {
    let alive = image.cluster.brokers.iter().filter(|(_, broker)| !broker.fenced);
    alive
        .filter_map(|(id, broker)| {
            let endpoint = Context::endpoint(&image.cluster, *id, listener)?;
            Some(MetadataResponseBroker {
                node_id: id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
            })
        })
        .collect()
}

async fn named_topics(
    ctx: &Context,
    described: &Described,
    asked: Vec<MetadataRequestTopic>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let image = ctx.metadata.image();
    let mut topics = Vec::with_capacity(asked.len());
    let mut missing: Vec<Str> = Vec::new();
    for topic in asked {
        // An id goes before a name: Kafka's client sends an empty name with it.
        let name = topic.name.filter(|_| topic.topic_id.is_zero());
        let found = match &name {
            Some(name) => image.topics.by_name(name),
            None => image.topics.by_id(topic.topic_id),
        };
        match (found, name) {
            (Some(found), _) => topics.push(described.topic(&image, found)),
            (None, Some(name)) => missing.push(name),
            (None, None) => {
                let mut line = described.refused(None, ErrorCode::UnknownTopicId);
                line.topic_id = topic.topic_id;
                topics.push(line);
            }
        }
    }
    for name in missing {
        let code = match check_topic_name(&name) {
            Err(_) => ErrorCode::InvalidTopicException,
            Ok(()) if may_create && ctx.config.log.auto_create_topics_enable => {
                create_on_demand(ctx, &name).await
            }
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
        };
        let image = ctx.metadata.image();
        match image.topics.by_name(&name) {
            Some(created) if code.is_none() => topics.push(described.topic(&image, created)),
            _ => {
                let code = if code.is_none() { ErrorCode::LeaderNotAvailable } else { code };
                topics.push(described.refused(Some(name), code));
            }
        }
    }
    topics
}

/// How topics are told to this caller.
struct Described {
    listener: Rc<str>,
    operations: i32,
}

impl Described {
    fn topic(&self, image: &MetadataImage, topic: &TopicImage) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().map(|(index, partition)| {
            let leader = partition
                .leader
                .filter(|id| Context::endpoint(&image.cluster, *id, &self.listener).is_some());
            let code = match (partition.leader, leader) {
                (_, Some(_)) => ErrorCode::None,
                (Some(_), None) => ErrorCode::ListenerNotFound,
                (None, None) => ErrorCode::LeaderNotAvailable,
            };
            let is_offline = |id: &&NodeId| !image.cluster.is_replica_online(partition, **id);
            let offline = partition.replicas.iter().filter(is_offline);
            MetadataResponsePartition {
                error_code: code.code(),
                partition_index: *index,
                leader_id: leader.map_or(-1, |id| id.0),
                leader_epoch: partition.leader_epoch.0,
                replica_nodes: ids(&partition.replicas),
                isr_nodes: ids(&partition.isr),
                offline_replicas: offline.map(|id| id.0).collect(),
            }
        });
        MetadataResponseTopic {
            error_code: 0,
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: is_internal_topic(&topic.name),
            partitions: partitions.collect(),
            topic_authorized_operations: self.operations,
        }
    }

    fn refused(&self, name: Option<Str>, code: ErrorCode) -> MetadataResponseTopic {
        MetadataResponseTopic {
            error_code: code.code(),
            is_internal: name.as_ref().is_some_and(|name| is_internal_topic(name)),
            name,
            topic_authorized_operations: NO_OPERATIONS,
            ..MetadataResponseTopic::default()
        }
    }
}

pub(crate) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|id| id.0).collect()
}
