//! CreatePartitions (key 37): makes topics wider. Served: v0-v3.
//!
//! v2 flexible · v3 throttling (KIP-599). Source: KIP-195.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_controller::{ApiError, Mode, MorePartitions};
use klamm_model::NodeId;
use klamm_protocol::create_partitions_response::CreatePartitionsTopicResult;
use klamm_protocol::{CreatePartitionsRequest, CreatePartitionsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

pub(crate) struct CreatePartitions;

impl Api for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: CreatePartitionsRequest,
        _: i16,
    ) -> Reply<CreatePartitionsResponse> {
        let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Apply };
        let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let more = |topic: klamm_protocol::create_partitions_request::CreatePartitionsTopic| {
            MorePartitions {
                topic: topic.name.detached(),
                partition_count: topic.count,
                assignments: topic.assignments.map(|assignments| {
                    assignments
                        .into_iter()
                        .map(|a| a.broker_ids.into_iter().map(NodeId).collect())
                        .collect()
                }),
            }
        };
        let requests = request.topics.into_iter().map(more).collect();
        let results = match ctx.controller.create_partitions(requests, mode).await {
            Ok(grown) => grown.into_iter().map(|(name, result)| line(name, result)).collect(),
            Err(error) => names.into_iter().map(|name| line(name, Err(error.clone()))).collect(),
        };
        CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }.into()
    }
}

fn line(name: Str, result: Result<(), ApiError>) -> CreatePartitionsTopicResult {
    let error = result.err();
    CreatePartitionsTopicResult {
        name,
        error_code: error.as_ref().map_or(0, |error| error.code.code()),
        error_message: error
            .map(|e| Str::from(e.message.unwrap_or_else(|| e.code.name().to_owned()))),
    }
}
