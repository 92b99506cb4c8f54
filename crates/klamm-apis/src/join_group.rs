//! JoinGroup (key 11): joins a classic group. Served: v0-v9.
//!
//! v1 rebalance timeout · v4 member ids first (KIP-394) · v5 static members (KIP-345) · v6
//! flexible · v7 the protocol's type · v8 reasons (KIP-800) · v9 skipped assignments (KIP-814).
//! v0 and v1 came back with Kafka 4.1 (KAFKA-19444).

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{JoinRequest, Joined, JoinedMember, Protocol, Request, Response};
use klamm_protocol::join_group_response::JoinGroupResponseMember;
use klamm_protocol::{JoinGroupRequest, JoinGroupResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

pub(crate) struct JoinGroup;

impl Api for JoinGroup {
    type Request = JoinGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=9;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: JoinGroupRequest,
        version: i16,
    ) -> Reply<JoinGroupResponse> {
        let group_id = request.group_id.clone();
        let member_id = request.member_id.clone();
        let join = join(&ctx, &caller, request, version);
        match ask(&ctx, &group_id, Request::Join(group_id.clone(), join)).await {
            Response::Join(joined) => answer(joined, version).into(),
            other => answer(Joined::refused(misplaced(&other), member_id), version).into(),
        }
    }
}

fn join(ctx: &Context, caller: &Caller, request: JoinGroupRequest, version: i16) -> JoinRequest {
    let name = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
    let new_member_id = Str::from(format!("{name}-{}", hyphenated(ctx.env.random.uuid().0)));
    // Before version 1 the session's timeout was the rebalance's too.
    let rebalance_timeout_ms =
        if version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms };
    JoinRequest {
        requires_known_member_id: version >= 4 && request.group_instance_id.is_none(),
        supports_skipping_assignment: version >= 9,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        client_id: caller.client_id.clone(),
        client_host: caller.host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| Protocol { name: protocol.name, metadata: protocol.metadata })
            .collect(),
        new_member_id,
    }
}

/// A random id in the form that member ids have with Kafka: 8-4-4-4-12 hexadecimal digits.
fn hyphenated(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn answer(joined: Joined, version: i16) -> JoinGroupResponse {
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: joined.generation_id.0,
        protocol_type: joined.protocol_type,
        // Before version 7 the name cannot be null.
        protocol_name: joined.protocol_name.or_else(|| (version < 7).then(Str::new)),
        leader: joined.leader_id,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_look_like_kafkas() {
        assert_eq!(hyphenated(0x1234), "00000000-0000-0000-0000-000000001234");
    }
}
