//! Topics that come into being because somebody needs them.

use klamm_config::InternalTopic;
use klamm_controller::{Layout, Mode, NewTopic};
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC};
use klamm_stdx::Str;

use crate::Context;

/// Creates a topic that a client asked for (`auto.create.topics.enable`), or an internal one with
/// the broker's settings for it. One that exists by now is as good.
pub(crate) async fn create_on_demand(ctx: &Context, name: &Str) -> ErrorCode {
    let topic = match &**name {
        GROUP_OFFSETS_TOPIC => offsets_topic(ctx),
        TRANSACTION_STATE_TOPIC => transaction_topic(ctx),
        _ if klamm_model::is_internal_topic(name) => return ErrorCode::UnknownTopicOrPartition,
        _ => NewTopic { name: name.detached(), layout: Layout::default(), configs: Vec::new() },
    };
    match create(ctx, topic).await {
        ErrorCode::TopicAlreadyExists => ErrorCode::None,
        code => code,
    }
}

/// Partitions of an internal topic; `None` while it does not exist.
pub(crate) fn partition_count(ctx: &Context, name: &str) -> Option<i32> {
    let image = ctx.metadata.image();
    i32::try_from(image.topics.by_name(name)?.partitions.len()).ok()
}

/// Partitions of an internal topic, which is created if it does not exist.
pub(crate) async fn partition_count_on_demand(ctx: &Context, name: &'static str) -> Option<i32> {
    if let Some(count) = partition_count(ctx, name) {
        return Some(count);
    }
    let code = create_on_demand(ctx, &Str::from_static(name)).await;
    tracing::debug!(%code, name, "an internal topic was asked for");
    partition_count(ctx, name)
}

/// `__consumer_offsets` with `offsets.topic.*`.
fn offsets_topic(ctx: &Context) -> NewTopic {
    let (layout, segment_bytes) = layout(ctx, &ctx.config.offsets_topic);
    let configs = vec![
        config("cleanup.policy", "compact".into()),
        config("compression.type", "producer".into()),
        segment_bytes,
    ];
    NewTopic { name: Str::from_static(GROUP_OFFSETS_TOPIC), layout, configs }
}

/// `__transaction_state` with `transaction.state.log.*` (Kafka: `transactionTopicConfigs`).
fn transaction_topic(ctx: &Context) -> NewTopic {
    let (layout, segment_bytes) = layout(ctx, &ctx.config.transaction_topic);
    let mut min_insync_replicas = ctx.config.transactions.min_insync_replicas;
    if let Layout::Automatic { replication_factor, .. } = &layout {
        min_insync_replicas = min_insync_replicas.min(*replication_factor);
    }
    let configs = vec![
        config("unclean.leader.election.enable", "false".into()),
        config("compression.type", "uncompressed".into()),
        config("cleanup.policy", "compact".into()),
        config("min.insync.replicas", min_insync_replicas.to_string()),
        segment_bytes,
    ];
    NewTopic { name: Str::from_static(TRANSACTION_STATE_TOPIC), layout, configs }
}

/// The replication factor is at most the number of brokers that are there: a single node serves
/// groups and transactions too.
fn layout(ctx: &Context, topic: &InternalTopic) -> (Layout, (Str, Option<Str>)) {
    let alive =
        ctx.metadata.image().cluster.brokers.values().filter(|broker| !broker.fenced).count();
    let factor = topic.replication_factor.min(i16::try_from(alive.max(1)).unwrap_or(i16::MAX));
    let layout =
        Layout::Automatic { partition_count: topic.partitions, replication_factor: factor };
    (layout, config("segment.bytes", topic.segment_bytes.to_string()))
}

fn config(name: &'static str, value: String) -> (Str, Option<Str>) {
    (Str::from_static(name), Some(Str::from(value)))
}

async fn create(ctx: &Context, topic: NewTopic) -> ErrorCode {
    match ctx.controller.create_topics(vec![topic], Mode::Apply).await {
        Ok(results) => match results.into_iter().next() {
            Some((_, Ok(_))) => ErrorCode::None,
            Some((_, Err(error))) => error.code,
            None => ErrorCode::UnknownServerError,
        },
        Err(error) => error.code,
    }
}
