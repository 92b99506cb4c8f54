//! DeleteGroups (key 42): deletes groups without members. Served: v0-v2.
//!
//! v2 flexible. Source: KIP-229.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Request, Response};
use klamm_protocol::delete_groups_response::DeletableGroupResult;
use klamm_protocol::{DeleteGroupsRequest, DeleteGroupsResponse, Listener};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

pub(crate) struct DeleteGroups;

impl Api for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DeleteGroupsRequest,
        _: i16,
    ) -> Reply<DeleteGroupsResponse> {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for group_id in request.groups_names {
            let code = match ask(&ctx, &group_id, Request::Delete(group_id.clone())).await {
                Response::Delete(code) => code,
                other => misplaced(&other),
            };
            results.push(DeletableGroupResult { group_id, error_code: code.code() });
        }
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }.into()
    }
}
