//! DescribeCluster (key 60): the cluster's id, its brokers or controllers. Served: v0-v2.
//!
//! v1 controllers (KIP-919) · v2 fenced brokers (KIP-1073). Source: KIP-700.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::{ErrorCode, NodeId};
use klamm_protocol::describe_cluster_response::DescribeClusterBroker;
use klamm_protocol::{DescribeClusterRequest, DescribeClusterResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// "Not asked for", where operations would be told.
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

pub(crate) struct DescribeCluster;

impl Api for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: DescribeClusterRequest,
        _: i16,
    ) -> Reply<DescribeClusterResponse> {
        let asked = request.endpoint_type;
        let here = if caller.listener == Listener::Controller { CONTROLLERS } else { BROKERS };
        if asked != here {
            return refused(asked, here).into();
        }
        DescribeClusterResponse {
            endpoint_type: asked,
            cluster_id: ctx.cluster_id.clone(),
            controller_id: ctx.node_id.0,
            brokers: nodes(&ctx, &caller, &request),
            cluster_authorized_operations: authorized(
                request.include_cluster_authorized_operations,
            ),
            ..DescribeClusterResponse::default()
        }
        .into()
    }
}

fn refused(asked: i8, here: i8) -> DescribeClusterResponse {
    let (code, message) = match asked {
        BROKERS | CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            format!("this listener serves endpoint type {here}, {asked} was asked for"),
        ),
        _ => (ErrorCode::UnsupportedEndpointType, format!("endpoint type {asked} is unknown")),
    };
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..DescribeClusterResponse::default()
    }
}

fn nodes(
    ctx: &Context,
    caller: &Caller,
    request: &DescribeClusterRequest,
) -> Vec<DescribeClusterBroker> {
    let image = ctx.metadata.image();
    if caller.listener == Listener::Controller {
        // A quorum of one: the controller is who answers.
        let own = ctx
            .controller_endpoints
            .iter()
            .filter(|endpoint| endpoint.name == *caller.listener_name);
        return own.map(|e| node(ctx.node_id, e.host.clone(), e.port, None)).collect();
    }
    let mut found = Vec::new();
    for (id, broker) in &image.cluster.brokers {
        if broker.fenced && !request.include_fenced_brokers {
            continue;
        }
        if let Some(endpoint) = Context::endpoint(&image.cluster, *id, &caller.listener_name) {
            let mut line = node(*id, endpoint.host.clone(), endpoint.port, broker.rack.clone());
            line.is_fenced = broker.fenced;
            found.push(line);
        }
    }
    found
}

fn node(id: NodeId, host: Str, port: u16, rack: Option<Str>) -> DescribeClusterBroker {
    DescribeClusterBroker {
        broker_id: id.0,
        host,
        port: i32::from(port),
        rack,
        ..DescribeClusterBroker::default()
    }
}

/// Without an authorizer everybody may do everything: the bits of CREATE, ALTER, DESCRIBE,
/// CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(crate) fn authorized(is_asked: bool) -> i32 {
    const CLUSTER_OPERATIONS: [u32; 7] = [5, 7, 8, 9, 10, 11, 12];
    if !is_asked {
        return NO_OPERATIONS;
    }
    CLUSTER_OPERATIONS.iter().fold(0, |bits, operation| bits | 1 << operation)
}
