//! Feeds the metrics that are read when somebody asks for them.

use std::sync::Arc;

use klamm_apis::RequestCounts;
use klamm_controller::MetadataHandle;
use klamm_metrics::{Registry, catalogue as m};
use klamm_network::NetworkStats;
use klamm_replication::Partitions;

/// What metrics are read from.
pub(crate) struct Sources {
    pub(crate) network: Arc<NetworkStats>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) metadata: MetadataHandle,
    pub(crate) requests: Arc<RequestCounts>,
}

/// Registers every gauge.
pub(crate) fn register(registry: &Registry, sources: Sources) {
    let Sources { network, partitions, metadata, requests } = sources;
    let stats = Arc::clone(&network);
    registry.gauge(&m::CONNECTION_COUNT, "", move || stats.snapshot().connections_open as f64);
    let stats = Arc::clone(&network);
    registry
        .gauge(&m::CONNECTIONS_OPENED, "", move || stats.snapshot().connections_accepted as f64);
    registry
        .gauge(&m::EXPIRED_CONNECTIONS, "", move || network.snapshot().connections_expired as f64);
    let all = Arc::clone(&partitions);
    registry.gauge(&m::PARTITION_COUNT, "", move || all.len() as f64);
    let all = Arc::clone(&partitions);
    let led = move || all.all().iter().filter(|p| p.leader_epoch().is_some()).count() as f64;
    registry.gauge(&m::LEADER_COUNT, "", led);
    let all = Arc::clone(&partitions);
    let offline = move || all.all().iter().filter(|p| p.is_offline()).count() as f64;
    registry.gauge(&m::OFFLINE_REPLICA_COUNT, "", offline);
    let image = metadata.clone();
    registry.gauge(&m::GLOBAL_TOPIC_COUNT, "", move || image.image().topics.len() as f64);
    let image = metadata.clone();
    let partition_count =
        move || image.image().topics.iter().map(|t| t.partitions.len()).sum::<usize>() as f64;
    registry.gauge(&m::GLOBAL_PARTITION_COUNT, "", partition_count);
    let image = metadata.clone();
    let active =
        move || image.image().cluster.brokers.values().filter(|b| !b.fenced).count() as f64;
    registry.gauge(&m::ACTIVE_BROKER_COUNT, "", active);
    let image = metadata.clone();
    let fenced = move || image.image().cluster.brokers.values().filter(|b| b.fenced).count() as f64;
    registry.gauge(&m::FENCED_BROKER_COUNT, "", fenced);
    registry.gauge(&m::LAST_APPLIED_RECORD_OFFSET, "", move || {
        (metadata.image().provenance.next_offset.0 - 1) as f64
    });
    registry.gauge(&m::ACTIVE_CONTROLLER_COUNT, "", || 1.0);
    for key in klamm_apis::served().iter().map(|api| api.key) {
        let requests = Arc::clone(&requests);
        registry.gauge(&m::REQUESTS, key.name(), move || requests.of(key) as f64);
    }
}
