//! OffsetDelete (key 47): forgets how far a group has come (KIP-496). Served: v0.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Request, Response};
use klamm_model::ErrorCode;
use klamm_protocol::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::{Listener, OffsetDeleteRequest, OffsetDeleteResponse};

use crate::Context;
use crate::api::{Api, Reply};
use crate::by_topic::ByTopic;
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

pub(crate) struct OffsetDelete;

impl Api for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: OffsetDeleteRequest,
        _: i16,
    ) -> Reply<OffsetDeleteResponse> {
        let mut answered = ByTopic::default();
        let image = ctx.metadata.image();
        let mut asked = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let indexes = topic.partitions.iter().map(|line| line.partition_index);
            let (known, unknown): (Vec<i32>, Vec<i32>) =
                indexes.partition(|index| image.topics.partition(&topic.name, *index).is_some());
            if !unknown.is_empty() {
                let line = |partition_index| OffsetDeleteResponsePartition {
                    partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                };
                let partitions = unknown.into_iter().map(line).collect();
                let name = topic.name.clone();
                answered.push(name.clone(), OffsetDeleteResponseTopic { name, partitions });
            }
            if !known.is_empty() {
                asked.push((topic.name, known));
            }
        }
        let group_id = request.group_id;
        let results =
            match ask(&ctx, &group_id, Request::DeleteOffsets(group_id.clone(), asked)).await {
                Response::DeleteOffsets(results) => results,
                other => Err(misplaced(&other)),
            };
        match results {
            Err(code) => {
                OffsetDeleteResponse { error_code: code.code(), ..OffsetDeleteResponse::default() }
            }
            Ok(lines) => {
                for line in lines {
                    let told = OffsetDeleteResponsePartition {
                        partition_index: line.partition,
                        error_code: line.error.code(),
                    };
                    let unasked = |name| OffsetDeleteResponseTopic { name, partitions: Vec::new() };
                    answered.get_or_push(line.topic, unasked).partitions.push(told);
                }
                let topics = answered.into_topics();
                OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
            }
        }
        .into()
    }
}
