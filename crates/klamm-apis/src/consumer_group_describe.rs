//! ConsumerGroupDescribe (key 69): state and members of consumer groups (KIP-848). Served: v0-v1.
//!
//! v1 the protocol that each member speaks (KIP-1099).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{
    DescribedConsumer, DescribedConsumerGroup, NamedPartitions, Request, Response,
};
use klamm_model::ErrorCode;
use klamm_protocol::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use klamm_protocol::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::describe_groups::group_operations;
use crate::groups::{ask_each, misplaced, serves_consumers};

/// Kafka's number for a member that speaks the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// Kafka's number for a member that speaks the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

pub(crate) struct ConsumerGroupDescribe;

impl Api for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: ConsumerGroupDescribeRequest,
        version: i16,
    ) -> Reply<ConsumerGroupDescribeResponse> {
        let operations = group_operations(request.include_authorized_operations);
        let answers = match serves_consumers(&ctx) {
            true => ask_each(&ctx, &request.group_ids, Request::DescribeConsumers).await,
            false => {
                let refusal = || Response::Unavailable(ErrorCode::UnsupportedVersion);
                request.group_ids.iter().map(|_| refusal()).collect()
            }
        };
        let line = |(group_id, answer): (Str, Response)| match answer {
            Response::DescribeConsumers(Ok(group)) => described(*group, operations, version),
            Response::DescribeConsumers(Err(refusal)) => {
                refused(group_id, refusal.error, Some(Str::from(refusal.message)))
            }
            other => refused(group_id, misplaced(&other), None),
        };
        let groups = request.group_ids.into_iter().zip(answers).map(line).collect();
        ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }.into()
    }
}

fn refused(group_id: Str, error: ErrorCode, message: Option<Str>) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        error_message: message,
        group_id,
        ..DescribedGroup::default()
    }
}

fn described(group: DescribedConsumerGroup, operations: i32, version: i16) -> DescribedGroup {
    DescribedGroup {
        group_id: group.group_id,
        group_state: Str::from_static(group.state.name()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: Str::from_static(group.assignor),
        members: group.members.into_iter().map(|member| line(member, version)).collect(),
        authorized_operations: operations,
        ..DescribedGroup::default()
    }
}

fn line(member: DescribedConsumer, version: i16) -> Member {
    let unknown = Member::default().member_type;
    let member_type = if member.is_classic { CLASSIC_MEMBER } else { CONSUMER_MEMBER };
    Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: member.epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.names,
        // Kafka tells an empty pattern where there is none.
        subscribed_topic_regex: Some(member.regex.unwrap_or_default()),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: if version >= 1 { member_type } else { unknown },
    }
}

fn assignment(topics: Vec<NamedPartitions>) -> Assignment {
    let line = |topic: NamedPartitions| TopicPartitions {
        topic_id: topic.topic_id,
        topic_name: topic.topic,
        partitions: topic.partitions,
    };
    Assignment { topic_partitions: topics.into_iter().map(line).collect() }
}
