//! What handlers may use: narrow handles, never "the broker".

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use klamm_config::{BrokerConfig, Properties};
use klamm_controller::{ControllerHandle, MetadataHandle};
use klamm_coordinator::CoordinatorHandle;
use klamm_env::Env;
use klamm_group_coordinator::GroupShard;
use klamm_metadata::{ClusterImage, Endpoint};
use klamm_metrics::{Counter, Histogram, Registry, catalogue};
use klamm_model::NodeId;
use klamm_protocol::ApiKey;
use klamm_records::Scratch;
use klamm_replication::{FetchSessions, Partitions};
use klamm_stdx::Str;
use klamm_transaction_coordinator::TransactionShard;

use crate::markers::Markers;
use crate::producer_ids::ProducerIds;
use crate::topic_key::FetchKey;

/// The handles that all workers of a node share.
#[derive(Clone)]
pub struct Handles {
    /// Clock, disk, randomness.
    pub env: Env,
    /// This node.
    pub node_id: NodeId,
    /// The cluster's id.
    pub cluster_id: Str,
    /// The configuration that the node was started with.
    pub config: Arc<BrokerConfig>,
    /// The file that it was read from, for DescribeConfigs.
    pub properties: Arc<Properties>,
    /// The partitions of this broker.
    pub partitions: Arc<Partitions>,
    /// The cluster's metadata as this broker knows it.
    pub metadata: MetadataHandle,
    /// Who decides.
    pub controller: ControllerHandle,
    /// Where this node's controller is reached.
    pub controller_endpoints: Arc<Vec<Endpoint>>,
    /// Consumer groups.
    pub groups: CoordinatorHandle<GroupShard>,
    /// Transactions.
    pub transactions: CoordinatorHandle<TransactionShard>,
    /// Writes the ends of transactions into their partitions.
    pub markers: Arc<Markers>,
    /// Incremental fetches.
    pub fetch_sessions: Arc<Mutex<FetchSessions<FetchKey>>>,
    /// Ids for idempotent producers.
    pub producer_ids: Arc<ProducerIds>,
    /// How often each API was asked.
    pub requests: Arc<RequestCounts>,
    /// Records and bytes that went through.
    pub traffic: Arc<Traffic>,
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// A worker's context.
#[derive(Debug)]
pub struct Context {
    handles: Handles,
    /// Where compressed batches are checked; one buffer for each worker.
    pub(crate) scratch: RefCell<Scratch>,
}

impl Context {
    /// The context of a worker.
    #[must_use]
    pub fn new(handles: Handles) -> Self {
        Self { handles, scratch: RefCell::default() }
    }

    /// Where a broker is reached by clients of the listener `listener`.
    pub(crate) fn endpoint<'a>(
        cluster: &'a ClusterImage,
        id: NodeId,
        listener: &str,
    ) -> Option<&'a Endpoint> {
        cluster.broker(id)?.endpoints.iter().find(|endpoint| endpoint.name == *listener)
    }
}

impl std::ops::Deref for Context {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.handles
    }
}

/// Requests by API.
#[derive(Debug)]
pub struct RequestCounts(HashMap<ApiKey, AtomicU64>);

impl Default for RequestCounts {
    fn default() -> Self {
        Self(ApiKey::ALL.iter().map(|key| (*key, AtomicU64::new(0))).collect())
    }
}

impl RequestCounts {
    pub(crate) fn count(&self, key: ApiKey) {
        if let Some(counter) = self.0.get(&key) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often one API was asked.
    #[must_use]
    pub fn of(&self, key: ApiKey) -> u64 {
        self.0.get(&key).map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// The counters of the APIs that were asked.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(ApiKey, u64)> {
        let read = |(key, n): (&ApiKey, &AtomicU64)| (*key, n.load(Ordering::Relaxed));
        let mut all: Vec<(ApiKey, u64)> = self.0.iter().map(read).filter(|(_, n)| *n > 0).collect();
        all.sort_by_key(|(key, _)| key.code());
        all
    }
}

/// Counters of the data path.
#[derive(Debug)]
pub struct Traffic {
    pub(crate) messages_in: Arc<Counter>,
    pub(crate) bytes_in: Arc<Counter>,
    pub(crate) bytes_out: Arc<Counter>,
    pub(crate) produce_requests: Arc<Counter>,
    pub(crate) fetch_requests: Arc<Counter>,
    pub(crate) failed_produce_requests: Arc<Counter>,
    pub(crate) failed_fetch_requests: Arc<Counter>,
    durations: HashMap<ApiKey, Arc<Histogram>>,
}

impl Traffic {
    /// Counters of a registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            messages_in: registry.counter(&catalogue::MESSAGES_IN),
            bytes_in: registry.counter(&catalogue::BYTES_IN),
            bytes_out: registry.counter(&catalogue::BYTES_OUT),
            produce_requests: registry.counter(&catalogue::PRODUCE_REQUESTS),
            fetch_requests: registry.counter(&catalogue::FETCH_REQUESTS),
            failed_produce_requests: registry.counter(&catalogue::FAILED_PRODUCE_REQUESTS),
            failed_fetch_requests: registry.counter(&catalogue::FAILED_FETCH_REQUESTS),
            durations: crate::served()
                .into_iter()
                .map(|api| {
                    (api.key, registry.histogram(&catalogue::REQUEST_SECONDS, api.key.name()))
                })
                .collect(),
        }
    }

    /// A request took this long.
    pub(crate) fn took(&self, key: ApiKey, duration: Duration) {
        if let Some(histogram) = self.durations.get(&key) {
            histogram.record(duration.as_secs_f64());
        }
    }
}
