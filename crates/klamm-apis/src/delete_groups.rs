//! DeleteGroups (key 42): deletes groups without members. Served: v0-v2.
//!
//! v2 flexible. Source: KIP-229.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{Request, Response};
use klamm_protocol::delete_groups_response::DeletableGroupResult;
use klamm_protocol::{DeleteGroupsRequest, DeleteGroupsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask_each, misplaced};

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
        let answers = ask_each(&ctx, &request.groups_names, Request::Delete).await;
        let line = |(group_id, answer): (Str, Response)| {
            let code = match answer {
                Response::Delete(code) => code,
                other => misplaced(&other),
            };
            DeletableGroupResult { group_id, error_code: code.code() }
        };
        let results = request.groups_names.into_iter().zip(answers).map(line).collect();
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }.into()
    }
}
