//! The steps of a start, each a function: what it needs in, what it makes out.

use std::sync::Arc;

use klamm_config::{BrokerConfig, Listener};
use klamm_controller::{
    BrokerHeartbeat, BrokerToRegister, ControllerHandle, DeleteTopics, Settings,
};
use klamm_env::Env;
use klamm_env::net::{BoundListener, SocketOptions};
use klamm_group_coordinator::{Bounds, ConsumerLimits, GroupShard, Limits, OffsetLimits};
use klamm_log::LogDirs;
use klamm_metadata::{Endpoint, MetadataImage};
use klamm_model::BrokerEpoch;
use klamm_raft::{QuorumOptions, SnapshotRules, Voter, VoterEndpoint};
use klamm_replication::Directories;
use klamm_stdx::Str;
use klamm_transaction_coordinator::Limits as TransactionLimits;

use crate::error::StartError;

/// A session that never ends: the broker and its only controller are one process.
const ENDLESS_SESSION_MS: u64 = u64::MAX / 4_000_000;

/// What this version can run.
pub(crate) fn check(config: &BrokerConfig) -> Result<(), StartError> {
    let refuse = |what: String| Err(StartError::Config(what));
    if !config.node.roles.broker || !config.node.roles.controller {
        return refuse(
            "process.roles must be 'broker,controller': nodes with one role need a cluster, which is not built yet".into(),
        );
    }
    if let Some(other) =
        config.quorum.voters.iter().find(|voter| voter.node_id != config.node.node_id)
    {
        return refuse(format!(
            "controller.quorum.voters names node {}: quorums of several nodes are not built yet",
            other.node_id
        ));
    }
    Ok(())
}

/// A listener that is bound, with its configuration.
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    pub(crate) socket: BoundListener,
    pub(crate) port: u16,
}

/// Binds every listener, so that a port in use stops the start before anything is touched.
pub(crate) fn bind(config: &BrokerConfig) -> Result<Vec<Bound>, StartError> {
    let network = &config.network;
    let size = |bytes: i32| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    let options = SocketOptions {
        send_buffer_bytes: size(network.socket_send_buffer_bytes),
        receive_buffer_bytes: size(network.socket_receive_buffer_bytes),
        backlog: network.socket_listen_backlog_size,
    };
    let mut bound = Vec::new();
    for listener in &config.listeners.listeners {
        let failed = |error| StartError::Bind { listener: listener.to_string(), error };
        let socket = BoundListener::bind(&listener.host, listener.port, options).map_err(failed)?;
        let port = socket.local_address().map_err(failed)?.port();
        bound.push(Bound { listener: listener.clone(), socket, port });
    }
    Ok(bound)
}

/// The port that a listener got.
fn port_of(bound: &[Bound], name: &klamm_config::ListenerName, configured: u16) -> u16 {
    let found = bound.iter().find(|b| b.listener.name == *name).map(|b| b.port);
    if configured == 0 { found.unwrap_or(0) } else { configured }
}

/// Where clients are told to connect.
pub(crate) fn advertised(config: &BrokerConfig, bound: &[Bound]) -> Vec<Endpoint> {
    let told =
        config.listeners.advertised.iter().filter(|l| !config.listeners.is_controller(&l.name));
    told.map(|listener| Endpoint {
        name: Str::from(listener.name.0.as_str()),
        host: Str::from(host_told(listener)),
        port: port_of(bound, &listener.name, listener.port),
        security_protocol: listener.protocol.code(),
    })
    .collect()
}

/// Where administrators reach the controller (`bootstrap.controllers`).
pub(crate) fn controller_endpoints(config: &BrokerConfig, bound: &[Bound]) -> Vec<Endpoint> {
    let told = |listener: &Listener| Endpoint {
        name: Str::from(listener.name.0.as_str()),
        host: Str::from(host_told(listener)),
        port: port_of(bound, &listener.name, listener.port),
        security_protocol: listener.protocol.code(),
    };
    config.listeners.controller().map(told).collect()
}

/// The host that others are told: this machine, where every address is listened on.
fn host_told(listener: &Listener) -> &str {
    if listener.host.is_empty() { "localhost" } else { &listener.host }
}

/// Where the controller is reached.
pub(crate) fn controller_endpoint(
    config: &BrokerConfig,
    bound: &[Bound],
) -> Result<VoterEndpoint, StartError> {
    let missing =
        || StartError::Config("there is no controller listener (controller.listener.names)".into());
    let listener = config.listeners.controller().next().ok_or_else(missing)?;
    Ok(VoterEndpoint {
        listener: listener.name.0.as_str().to_owned(),
        host: host_told(listener).to_owned(),
        port: port_of(bound, &listener.name, listener.port),
    })
}

/// Says which directories cannot be used. Without the one of the metadata log there is no node.
pub(crate) fn check_directories(
    config: &BrokerConfig,
    dirs: &mut LogDirs,
) -> Result<(), StartError> {
    let metadata_dir = &config.node.metadata_log_dir;
    if let Some(failed) = dirs.take_failed(metadata_dir) {
        return Err(failed.into());
    }
    for failed in dirs.failed() {
        tracing::error!(dir = %failed.path.display(), error = %failed.error, "log directory is offline, and with it the partitions in it");
    }
    Ok(())
}

/// The metadata log's options.
pub(crate) fn quorum_options(config: &BrokerConfig, dirs: &LogDirs) -> QuorumOptions {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let controller = &config.controller;
    let dir = dirs.by_path(&config.node.metadata_log_dir).or_else(|| dirs.dirs().first());
    let fixed = config.quorum.voters.iter().map(|voter| Voter {
        node_id: voter.node_id,
        directory_id: None,
        endpoints: Vec::new(),
    });
    QuorumOptions {
        node_id: config.node.node_id,
        log_dir: config.node.metadata_log_dir.clone(),
        directory_id: dir.map(|dir| dir.directory_id()).unwrap_or_default(),
        fixed_voters: fixed.collect(),
        snapshots: SnapshotRules {
            bytes_between: controller.metadata_max_record_bytes_between_snapshots,
            interval_ms: Some(controller.metadata_max_snapshot_interval_ms).filter(|ms| *ms > 0),
            retention_bytes: positive(controller.metadata_max_retention_bytes),
            retention_ms: Some(controller.metadata_max_retention_ms).filter(|ms| *ms >= 0),
        },
        segment_bytes: u64::from(controller.metadata_segment_bytes),
        segment_ms: u64::try_from(controller.metadata_segment_ms).unwrap_or(u64::MAX),
    }
}

/// The controller's settings.
pub(crate) fn settings(config: &BrokerConfig, cluster_id: &str) -> Settings {
    Settings {
        num_partitions: config.log.num_partitions,
        default_replication_factor: config.log.default_replication_factor,
        min_insync_replicas: config.topic_defaults.min_insync_replicas,
        delete_topics: match config.log.delete_topic_enable {
            true => DeleteTopics::Enabled,
            false => DeleteTopics::Disabled,
        },
        broker_session_timeout_ms: ENDLESS_SESSION_MS,
        ..Settings::new(cluster_id)
    }
}

/// An empty shard with the broker's limits.
pub(crate) fn group_shard(config: &BrokerConfig) -> GroupShard {
    let groups = &config.groups;
    let limits = Limits {
        session_timeout_ms_min: groups.min_session_timeout_ms,
        session_timeout_ms_max: groups.max_session_timeout_ms,
        initial_rebalance_delay_ms: u64::try_from(groups.initial_rebalance_delay_ms).unwrap_or(0),
        members_max: groups.max_size,
    };
    let offsets = OffsetLimits {
        metadata_bytes_max: groups.offset_metadata_max_bytes,
        retention_ms: groups.offsets_retention_minutes.saturating_mul(60_000),
        check_interval_ms: groups.offsets_retention_check_interval_ms,
    };
    let bounds = Bounds {
        groups_max: groups.groups_max,
        members_max: groups.members_max,
        offsets_max: groups.offsets_max,
    };
    let consumers = ConsumerLimits::new(groups.clone());
    GroupShard::new(limits, offsets).with_consumer_limits(consumers).with_bounds(bounds)
}

/// The bounds of the transaction coordinator.
pub(crate) fn transaction_limits(config: &BrokerConfig) -> TransactionLimits {
    let transactions = &config.transactions;
    TransactionLimits {
        timeout_ms_max: transactions.max_timeout_ms,
        expiration_ms: i64::try_from(transactions.transactional_id_expiration_ms)
            .unwrap_or(i64::MAX),
        abort_interval_ms: transactions.abort_timed_out_interval_ms,
        remove_interval_ms: transactions.remove_expired_interval_ms,
        wait_ms: transactions.add_partitions_retry_backoff_max_ms,
        ids_max: transactions.transactional_ids_max,
    }
}

/// Registers this broker and has it unfenced; gives its epoch.
pub(crate) fn join(
    env: &Env,
    config: &BrokerConfig,
    controller: &ControllerHandle,
    (dirs, directories): (&LogDirs, &Directories),
    endpoints: Vec<Endpoint>,
) -> Result<BrokerEpoch, StartError> {
    let id = config.node.node_id;
    let was_clean = dirs.dirs().iter().all(|dir| dir.was_clean());
    let image: Arc<MetadataImage> = controller.metadata().image();
    let last_epoch = image.cluster.broker(id).map(|broker| broker.epoch);
    let cordoned = directories.all().iter().filter(|d| d.is_cordoned());
    let cordoned: Vec<_> = cordoned.map(|d| d.log_dir().directory_id()).collect();
    let broker = BrokerToRegister {
        id,
        cluster_id: Str::from(dirs.cluster_id()),
        incarnation_id: env.random.uuid(),
        previous_epoch: last_epoch.filter(|_| was_clean),
        endpoints,
        features: BrokerToRegister::our_features(),
        rack: config.node.rack.as_deref().map(Str::from),
        log_dirs: dirs.dirs().iter().map(|dir| dir.directory_id()).collect(),
        cordoned_log_dirs: Some(cordoned).filter(|dirs| !dirs.is_empty()),
    };
    let epoch = controller.register_broker_blocking(broker)??;
    let metadata_offset = controller.metadata().image().provenance.next_offset.plus(-1);
    let heartbeat = BrokerHeartbeat::new(id, epoch, metadata_offset);
    controller.broker_heartbeat_blocking(heartbeat)??;
    Ok(epoch)
}
