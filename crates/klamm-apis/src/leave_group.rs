//! LeaveGroup (key 13): members leave a classic group. Served: v0-v5.
//!
//! v3 several members (KIP-345) · v4 flexible · v5 reasons (KIP-800).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Leaver, LeftMember, Request, Response};
use klamm_model::ErrorCode;
use klamm_protocol::leave_group_response::MemberResponse;
use klamm_protocol::{LeaveGroupRequest, LeaveGroupResponse, Listener};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

/// From here on members are listed.
const LISTED_FROM: i16 = 3;

pub(crate) struct LeaveGroup;

impl Api for LeaveGroup {
    type Request = LeaveGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: LeaveGroupRequest,
        version: i16,
    ) -> Reply<LeaveGroupResponse> {
        let group_id = request.group_id;
        let leavers: Vec<Leaver> = if version >= LISTED_FROM {
            let leaver = |m: klamm_protocol::leave_group_request::MemberIdentity| Leaver {
                member_id: m.member_id,
                instance_id: m.group_instance_id,
            };
            request.members.into_iter().map(leaver).collect()
        } else {
            vec![Leaver { member_id: request.member_id, instance_id: None }]
        };
        let asked = Request::Leave(group_id.clone(), leavers.clone());
        let left = match ask(&ctx, &group_id, asked).await {
            // Nobody is a member of a group that is not there (Kafka: GroupCoordinatorService).
            Response::Leave(Err(error @ ErrorCode::UnknownMemberId)) => {
                Ok(leavers.into_iter().map(|leaver| LeftMember { leaver, error }).collect())
            }
            Response::Leave(left) => left,
            other => Err(misplaced(&other)),
        };
        answer(left, version).into()
    }
}

fn answer(left: Result<Vec<LeftMember>, ErrorCode>, version: i16) -> LeaveGroupResponse {
    let (code, members) = match left {
        Err(code) => (code, Vec::new()),
        Ok(left) if version >= LISTED_FROM => (ErrorCode::None, left),
        // One member, one code.
        Ok(left) => (left.first().map_or(ErrorCode::None, |member| member.error), Vec::new()),
    };
    let member = |left: LeftMember| MemberResponse {
        member_id: left.leaver.member_id,
        group_instance_id: left.leaver.instance_id,
        error_code: left.error.code(),
    };
    LeaveGroupResponse {
        error_code: code.code(),
        members: members.into_iter().map(member).collect(),
        ..LeaveGroupResponse::default()
    }
}
