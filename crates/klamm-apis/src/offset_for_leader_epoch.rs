//! OffsetForLeaderEpoch (key 23): where a leader epoch ends. Served: v2-v4.
//!
//! v3 the replica's id · v4 flexible. Source: KIP-101, KIP-279, KIP-320.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::{ErrorCode, LeaderEpoch};
use klamm_protocol::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use klamm_protocol::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use klamm_protocol::{Listener, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::read_code;
use crate::fetch_read::epoch;

pub(crate) struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=4;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: OffsetForLeaderEpochRequest,
        _: i16,
    ) -> Reply<OffsetForLeaderEpochResponse> {
        let topic =
            |topic: klamm_protocol::offset_for_leader_epoch_request::OffsetForLeaderTopic| {
                let partitions = topic
                    .partitions
                    .iter()
                    .map(|asked| end_of(&ctx, &topic.topic, asked))
                    .collect();
                OffsetForLeaderTopicResult { topic: topic.topic, partitions }
            };
        let topics = request.topics.into_iter().map(topic).collect();
        OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }.into()
    }
}

fn end_of(ctx: &Context, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut line = EpochEndOffset {
        partition: asked.partition,
        leader_epoch: -1,
        end_offset: -1,
        ..EpochEndOffset::default()
    };
    let Some(partition) = ctx.partitions.by_name(topic, asked.partition) else {
        line.error_code = ErrorCode::UnknownTopicOrPartition.code();
        return line;
    };
    let current = match partition.check_leader(epoch(asked.current_leader_epoch)) {
        Ok(current) => current,
        Err(error) => {
            line.error_code = read_code(&error).code();
            return line;
        }
    };
    let wanted = LeaderEpoch(asked.leader_epoch);
    // The current epoch has no end yet, whether or not it has written anything.
    if wanted == current {
        line.leader_epoch = current.0;
        line.end_offset = partition.view().log_end_offset().0;
    } else if let Some(end) = partition.view().end_of_epoch(wanted) {
        line.leader_epoch = end.leader_epoch.0;
        line.end_offset = end.end_offset.0;
    }
    line
}
