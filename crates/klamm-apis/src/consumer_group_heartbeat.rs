//! ConsumerGroupHeartbeat (key 68): a member reports, and learns its part. Served: v0-v1.
//!
//! The consumer protocol (KIP-848): joining and leaving are heartbeats too. v1 subscriptions by pattern, ids made by clients (KIP-1082).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{ConsumerHeartbeat, HeartbeatAnswer, Refusal, Request, Response};
use klamm_model::ErrorCode;
use klamm_protocol::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use klamm_protocol::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced, serves_consumers};

/// From here on clients make the ids of members.
const CLIENT_IDS_FROM: i16 = 1;

pub(crate) struct ConsumerGroupHeartbeat;

impl Api for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: ConsumerGroupHeartbeatRequest,
        version: i16,
    ) -> Reply<ConsumerGroupHeartbeatResponse> {
        if !serves_consumers(&ctx) {
            let error_code = ErrorCode::UnsupportedVersion.code();
            return ConsumerGroupHeartbeatResponse {
                error_code,
                ..ConsumerGroupHeartbeatResponse::default()
            }
            .into();
        }
        let group_id = request.group_id.clone();
        let beat = Box::new(heartbeat(&ctx, &caller, request, version));
        let asked = Request::ConsumerHeartbeat(group_id.clone(), beat);
        match ask(&ctx, &group_id, asked).await {
            Response::ConsumerHeartbeat(Ok(answer)) => told(*answer),
            Response::ConsumerHeartbeat(Err(refusal)) => refused(refusal),
            other => {
                let error_code = misplaced(&other).code();
                ConsumerGroupHeartbeatResponse {
                    error_code,
                    ..ConsumerGroupHeartbeatResponse::default()
                }
            }
        }
        .into()
    }
}

fn heartbeat(
    ctx: &Context,
    caller: &Caller,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerHeartbeat {
    let new_member_id = match request.member_id.is_empty() {
        true => Str::from(ctx.env.random.uuid().to_string()),
        false => Str::new(),
    };
    let owned = request
        .topic_partitions
        .map(|topics| topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect());
    ConsumerHeartbeat {
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        rebalance_timeout_ms: (request.rebalance_timeout_ms != -1)
            .then_some(request.rebalance_timeout_ms),
        names: request.subscribed_topic_names,
        regex: request.subscribed_topic_regex,
        assignor: request.server_assignor,
        owned,
        client_id: caller.client_id.clone(),
        client_host: caller.host(),
        brings_id: version >= CLIENT_IDS_FROM,
        new_member_id,
        classic: None,
    }
}

fn told(answer: HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|topics| Assignment {
        topic_partitions: topics
            .into_iter()
            .map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions })
            .collect(),
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(answer.member_id),
        member_epoch: answer.member_epoch,
        heartbeat_interval_ms: answer.heartbeat_interval_ms,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn refused(refusal: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: refusal.error.code(),
        error_message: Some(Str::from(refusal.message)),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
