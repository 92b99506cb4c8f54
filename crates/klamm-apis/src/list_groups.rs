//! ListGroups (key 16): the groups that this broker coordinates. Served: v0-v5.
//!
//! v3 flexible · v4 states (KIP-518) · v5 types (KIP-848).

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use klamm_group_coordinator::{GroupFilter, ListedGroup as Listed, Request, Response};
use klamm_model::ErrorCode;
use klamm_protocol::list_groups_response::ListedGroup;
use klamm_protocol::{ListGroupsRequest, ListGroupsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::misplaced;

pub(crate) struct ListGroups;

impl Api for ListGroups {
    type Request = ListGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: ListGroupsRequest,
        _: i16,
    ) -> Reply<ListGroupsResponse> {
        let states = request.states_filter.iter().map(|name| &**name);
        let types = request.types_filter.iter().map(|name| &**name);
        let filter = Arc::new(GroupFilter::new(states, types));
        let mut response = ListGroupsResponse::default();
        for answer in ctx.groups.request_all(move || Request::List(Arc::clone(&filter))).await {
            match answer {
                Response::List(groups) => response.groups.extend(groups.into_iter().map(line)),
                // A shard that is loading: what is there is told, and that it is not all.
                Response::Unavailable(ErrorCode::NotCoordinator) => {}
                other => response.error_code = misplaced(&other).code(),
            }
        }
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        response.into()
    }
}

fn line(group: Listed) -> ListedGroup {
    ListedGroup {
        group_id: group.group_id,
        protocol_type: group.protocol_type,
        group_state: Str::from_static(group.state),
        group_type: Str::from_static(group.group_type),
    }
}
