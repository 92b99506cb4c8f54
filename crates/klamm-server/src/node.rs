//! A node: started in order, stopped in the reverse order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_apis::{ApiService, Context, Handles, ProducerIds, RequestCounts, Traffic};
use klamm_config::{BrokerConfig, Properties};
use klamm_controller::{Controller, ControllerHandle, ControllerParts, MetadataHandle};
use klamm_env::Env;
use klamm_env::net::{BoundListener, SocketOptions};
use klamm_log::{LogDirs, LogDirsOptions};
use klamm_metrics::Registry;
use klamm_model::{BrokerEpoch, NodeId};
use klamm_network::{Network, NetworkOptions, Service, ServiceFactory, StopGrace};
use klamm_protocol::Listener;
use klamm_raft::{Opened, Quorum};
use klamm_replication::{Directories, FetchSessions, Partitions};
use klamm_stdx::Str;
use tokio::sync::watch;

use crate::boot::{self, Bound};
use crate::cleaner::Cleaners;
use crate::config_rules::DeclaredConfigs;
use crate::coordinators::Coordinators;
use crate::error::StartError;
use crate::format::format_if_new;
use crate::housekeeping::Housekeeping;
use crate::metadata_log::{QuorumLog, SharedQuorum};
use crate::metrics::{self, Sources};
use crate::mover::Movers;
use crate::publisher::BrokerPublisher;
use crate::reporter::Reporter;

/// Bytes of requests that are read or handled at once where `queued.max.request.bytes` leaves the
/// choice to us. Kafka sets no bound.
const REQUEST_BYTES_MAX: usize = 48 * 1024 * 1024;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its configuration.
    pub config: BrokerConfig,
    /// The file that it was read from; empty without one.
    pub properties: Properties,
    /// Clock, disk and random source.
    pub env: Env,
}

/// A running node.
pub struct Node {
    network: Network,
    addresses: HashMap<String, SocketAddr>,
    metrics_addresses: Vec<SocketAddr>,
    cluster_id: String,
    coordinators: Coordinators,
    partitions: Arc<Partitions>,
    cleaners: Arc<Cleaners>,
    movers: Arc<Movers>,
    controller: Arc<Mutex<Option<ControllerHandle>>>,
    controller_thread: JoinHandle<()>,
    quorum: SharedQuorum,
    housekeeping: JoinHandle<()>,
    stop: watch::Sender<bool>,
    broker_epoch: BrokerEpoch,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The part of a node that clients do not see.
struct Core {
    coordinators: Coordinators,
    partitions: Arc<Partitions>,
    cleaners: Arc<Cleaners>,
    movers: Arc<Movers>,
    controller: ControllerHandle,
    controller_thread: JoinHandle<()>,
    quorum: SharedQuorum,
    broker_epoch: BrokerEpoch,
    cluster_id: String,
}

impl Core {
    fn reporter(&self, id: NodeId) -> Reporter {
        Reporter {
            id,
            epoch: self.broker_epoch,
            partitions: Arc::clone(&self.partitions),
            controller: self.controller.clone(),
        }
    }
}

impl Node {
    /// Starts a node. When this returns it serves clients.
    ///
    /// # Errors
    /// See [`StartError`]; whatever was started is stopped again.
    pub fn start(options: NodeOptions) -> Result<Self, StartError> {
        let NodeOptions { config, properties, env } = options;
        boot::check(&config)?;
        let config = Arc::new(config);
        let properties = Arc::new(properties);
        let bound = boot::bind(&config)?;
        let scrape = bind_metrics(&config)?;
        let core = start_core(&env, &config, &properties, &bound)?;
        let reporter = core.reporter(config.node.node_id);
        let (requests, registry) = (Arc::<RequestCounts>::default(), Arc::<Registry>::default());
        let sessions = FetchSessions::new(config.network.fetch_session_cache_slots);
        let handles = Handles {
            env: env.clone(),
            node_id: config.node.node_id,
            cluster_id: Str::from(core.cluster_id.as_str()),
            config: Arc::clone(&config),
            properties: Arc::clone(&properties),
            partitions: Arc::clone(&core.partitions),
            metadata: core.controller.metadata().clone(),
            controller: core.controller.clone(),
            controller_endpoints: Arc::new(boot::controller_endpoints(&config, &bound)),
            groups: core.coordinators.groups.handle(),
            transactions: core.coordinators.transactions.handle(),
            markers: Arc::clone(&core.coordinators.markers),
            fetch_sessions: Arc::new(Mutex::new(sessions)),
            producer_ids: Arc::new(ProducerIds::default()),
            requests: Arc::clone(&requests),
            traffic: Arc::new(Traffic::new(&registry)),
        };
        let names: Vec<String> = bound.iter().map(|b| b.listener.name.to_string()).collect();
        let network = start_network(&env, &config, bound, handles)?;
        let addresses = names.into_iter().zip(network.addresses().iter().copied()).collect();
        metrics::register(
            &registry,
            Sources {
                network: Arc::clone(network.stats()),
                partitions: Arc::downgrade(&core.partitions),
                metadata: core.controller.metadata().clone(),
                requests,
                cleaners: Arc::downgrade(&core.cleaners),
                log_dirs: config.node.log_dirs.clone(),
                transactions: core.coordinators.sources(&env, &config),
            },
        );
        let metrics_addresses = addresses_of(&scrape);
        let (stop, stopped) = watch::channel(false);
        let housekeeping = Housekeeping {
            env,
            config,
            partitions: Arc::clone(&core.partitions),
            registry,
            metrics: scrape,
        };
        Ok(Self {
            network,
            addresses,
            metrics_addresses,
            cluster_id: core.cluster_id,
            coordinators: core.coordinators,
            partitions: core.partitions,
            cleaners: core.cleaners,
            movers: core.movers,
            controller: Arc::new(Mutex::new(Some(core.controller))),
            controller_thread: core.controller_thread,
            quorum: core.quorum,
            housekeeping: housekeeping.start(reporter, stopped)?,
            stop,
            broker_epoch: core.broker_epoch,
        })
    }

    /// Where a listener listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses.get(listener).copied()
    }

    /// Every listener and where it listens.
    #[must_use]
    pub fn addresses(&self) -> &HashMap<String, SocketAddr> {
        &self.addresses
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.metrics_addresses
    }

    /// The cluster that the node belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Stops in order: requests that were started are answered, everything is written and synced,
    /// and the directories are marked clean.
    pub fn stop(self) {
        self.network.stop();
        self.coordinators.stop();
        self.cleaners.stop();
        self.movers.stop();
        self.stop.send_replace(true);
        join("housekeeping", self.housekeeping);
        // The controller ends with its last handle.
        drop(self.controller);
        join("controller", self.controller_thread);
        self.partitions.close(self.broker_epoch.0);
        let quorum = self.quorum.lock().expect("no holder of this lock can panic").take();
        if let Some(Err(error)) = quorum.map(Quorum::close) {
            tracing::error!(%error, "the metadata log could not be closed in order");
        }
        tracing::info!("stopped");
    }
}

fn join(name: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!(name, "a thread panicked");
    }
}

fn addresses_of(listeners: &[BoundListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_address().ok()).collect()
}

fn bind_metrics(config: &BrokerConfig) -> Result<Vec<BoundListener>, StartError> {
    let mut bound = Vec::new();
    for listener in &config.metrics {
        let options = SocketOptions { backlog: 16, ..SocketOptions::default() };
        match BoundListener::bind(&listener.host, listener.port, options) {
            Ok(socket) => bound.push(socket),
            Err(error) if listener.required => {
                let listener = format!("metrics at {}:{}", listener.host, listener.port);
                return Err(StartError::Bind { listener, error });
            }
            Err(error) => {
                tracing::warn!(host = %listener.host, port = listener.port, %error, "metrics are not served");
            }
        }
    }
    Ok(bound)
}

/// Directories, metadata, partitions, groups and the controller.
fn start_core(
    env: &Env,
    config: &Arc<BrokerConfig>,
    properties: &Arc<Properties>,
    bound: &[Bound],
) -> Result<Core, StartError> {
    format_if_new(env, config, boot::controller_endpoint(config, bound)?)?;
    let paths = config.node.log_dirs.clone();
    let mut dirs =
        LogDirs::open(&env.disk, &LogDirsOptions { paths, node_id: config.node.node_id })?;
    boot::check_directories(config, &mut dirs)?;
    let quorum_options = boot::quorum_options(config, &dirs);
    let Opened { quorum, image, .. } = Quorum::open(&env.disk, &quorum_options, env.clock.wall())?;
    let cluster_id = dirs.cluster_id().to_owned();
    let directories =
        Directories::start(Arc::clone(&env.disk), &dirs, config.log.storage_min_free_bytes)?;
    let partitions = Arc::new(Partitions::open(env.clone(), directories)?);
    let cleaners = Arc::new(Cleaners::new(env, &partitions, &config.log));
    let movers = Arc::new(Movers::new(env, &partitions, &config.log));
    let metadata = MetadataHandle::new(Arc::clone(&image));
    let coordinators = Coordinators::start(env, config, &partitions, &metadata)?;
    let threads = (Arc::clone(&cleaners), Arc::clone(&movers));
    let mut publisher =
        BrokerPublisher::new(config, properties, (&partitions, &coordinators), threads);
    publisher.publish_all(&image);
    cleaners.start()?;
    movers.start(&config.log)?;
    let quorum: SharedQuorum = Arc::new(Mutex::new(Some(quorum)));
    let rules = Arc::new(DeclaredConfigs { file: Arc::clone(properties) });
    let (controller, controller_thread) = klamm_controller::start(ControllerParts {
        env: env.clone(),
        controller: Controller::new(boot::settings(config, &cluster_id), rules),
        log: Box::new(QuorumLog {
            quorum: Arc::clone(&quorum),
            metadata: metadata.clone(),
            clock: Arc::clone(&env.clock),
        }),
        metadata,
        publishers: vec![Box::new(publisher)],
    })?;
    let storage = (&dirs, partitions.directories());
    let endpoints = boot::advertised(config, bound);
    let broker_epoch = boot::join(env, config, &controller, storage, endpoints)?;
    for stray in partitions.strays() {
        tracing::warn!(dir = %stray.dir.display(), "a partition's directory belongs to no topic of the cluster; it is kept");
    }
    Ok(Core {
        coordinators,
        partitions,
        cleaners,
        movers,
        controller,
        controller_thread,
        quorum,
        broker_epoch,
        cluster_id,
    })
}

fn start_network(
    env: &Env,
    config: &BrokerConfig,
    bound: Vec<Bound>,
    handles: Handles,
) -> Result<Network, StartError> {
    let network = &config.network;
    let kinds: Vec<Listener> = bound
        .iter()
        .map(|b| match config.listeners.is_controller(&b.listener.name) {
            true => Listener::Controller,
            false => Listener::Broker,
        })
        .collect();
    let never = Duration::from_secs(u64::from(u32::MAX));
    let idle_ms = u64::try_from(network.connections_max_idle_ms).ok();
    let workers = network.worker_threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let options = NetworkOptions {
        listeners: bound.iter().map(|b| b.listener.name.to_string()).collect(),
        workers,
        frame_bytes_max: network.socket_request_max_bytes as usize,
        request_bytes_max: usize::try_from(network.queued_max_request_bytes)
            .unwrap_or(REQUEST_BYTES_MAX),
        requests_in_flight_max: network.connection_requests_max,
        connections_max: network.max_connections,
        connections_per_ip_max: network.max_connections_per_ip,
        idle_max: idle_ms.map_or(never, Duration::from_millis),
        stop_grace: StopGrace(Duration::from_millis(config.node.shutdown_timeout_ms)),
    };
    let service: ServiceFactory = Arc::new(move |_| -> Box<dyn Service> {
        Box::new(ApiService::new(Rc::new(Context::new(handles.clone())), kinds.clone()))
    });
    let sockets = bound.into_iter().map(|b| b.socket).collect();
    Ok(Network::start(options, sockets, &env.clock, &service)?)
}
