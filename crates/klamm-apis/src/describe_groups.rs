//! DescribeGroups (key 15): state and members of classic groups. Served: v0-v6.
//!
//! v3 operations · v4 static members (KIP-345) · v5 flexible · v6 an error for groups that do not
//! exist (KIP-1043).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{DescribedGroup as Described, DescribedMember, Request, Response};
use klamm_model::ErrorCode;
use klamm_protocol::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use klamm_protocol::{DescribeGroupsRequest, DescribeGroupsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::describe_cluster::NO_OPERATIONS;
use crate::groups::{ask_each, misplaced};

/// From here on a group that does not exist is an error, not a dead group.
const NOT_FOUND_FROM: i16 = 6;

pub(crate) struct DescribeGroups;

impl Api for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeGroupsRequest,
        version: i16,
    ) -> Reply<DescribeGroupsResponse> {
        let operations = group_operations(request.include_authorized_operations && version >= 3);
        let answers = ask_each(&ctx, &request.groups, Request::Describe).await;
        let line = |(group_id, answer): (Str, Response)| match answer {
            Response::Describe(Some(group)) => describe(*group, operations),
            Response::Describe(None) => missing(group_id, version),
            other => refused(group_id, misplaced(&other)),
        };
        let groups = request.groups.into_iter().zip(answers).map(line).collect();
        DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }.into()
    }
}

/// Without an authorizer everybody may do everything with a group: READ, DELETE, DESCRIBE,
/// DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) fn group_operations(is_asked: bool) -> i32 {
    const GROUP_OPERATIONS: [u32; 5] = [3, 6, 8, 10, 11];
    if !is_asked {
        return NO_OPERATIONS;
    }
    GROUP_OPERATIONS.iter().fold(0, |bits, operation| bits | 1 << operation)
}

fn describe(group: Described, authorized_operations: i32) -> DescribedGroup {
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    };
    DescribedGroup {
        group_id: group.group_id,
        group_state: Str::from_static(group.state.name()),
        protocol_type: group.protocol_type,
        protocol_data: group.protocol_name,
        members: group.members.into_iter().map(member).collect(),
        authorized_operations,
        ..DescribedGroup::default()
    }
}

fn refused(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code: code.code(),
        group_id,
        authorized_operations: NO_OPERATIONS,
        ..DescribedGroup::default()
    }
}

fn missing(group_id: Str, version: i16) -> DescribedGroup {
    let mut line = refused(group_id, ErrorCode::None);
    line.group_state = Str::from_static("Dead");
    if version >= NOT_FOUND_FROM {
        line.error_code = ErrorCode::GroupIdNotFound.code();
        line.error_message = Some(Str::from(format!("group {} not found", line.group_id)));
    }
    line
}
