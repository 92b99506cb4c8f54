//! Topics that come into being because somebody needs them.

use klamm_controller::{Layout, Mode, NewTopic};
use klamm_model::{ErrorCode, GROUP_OFFSETS_TOPIC};
use klamm_stdx::Str;

use crate::Context;

/// Creates a topic that a client asked for (`auto.create.topics.enable`), or an internal one with
/// the broker's settings for it. One that exists by now is as good.
pub(crate) async fn create_on_demand(ctx: &Context, name: &Str) -> ErrorCode {
    let topic = if &**name == GROUP_OFFSETS_TOPIC {
        offsets_topic(ctx)
    } else if klamm_model::is_internal_topic(name) {
        return ErrorCode::UnknownTopicOrPartition;
    } else {
        NewTopic { name: name.detached(), layout: Layout::default(), configs: Vec::new() }
    };
    match create(ctx, topic).await {
        ErrorCode::TopicAlreadyExists => ErrorCode::None,
        code => code,
    }
}

/// `__consumer_offsets` with `offsets.topic.*`. Its replication factor is at most the number of
/// brokers that are there: a single node serves groups too.
fn offsets_topic(ctx: &Context) -> NewTopic {
    let offsets = &ctx.config.offsets_topic;
    let config =
        |name: &'static str, value: String| (Str::from_static(name), Some(Str::from(value)));
    let alive =
        ctx.metadata.image().cluster.brokers.values().filter(|broker| !broker.fenced).count();
    let factor = offsets.replication_factor.min(i16::try_from(alive.max(1)).unwrap_or(i16::MAX));
    NewTopic {
        name: Str::from_static(GROUP_OFFSETS_TOPIC),
        layout: Layout::Automatic {
            partition_count: offsets.partitions,
            replication_factor: factor,
        },
        configs: vec![
            config("cleanup.policy", "compact".into()),
            config("compression.type", "producer".into()),
            config("segment.bytes", offsets.segment_bytes.to_string()),
        ],
    }
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
