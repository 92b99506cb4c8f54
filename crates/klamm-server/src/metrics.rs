//! Feeds the metrics that are read when somebody asks for them.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use klamm_apis::{Markers, RequestCounts};
use klamm_controller::MetadataHandle;
use klamm_env::Clock;
use klamm_metrics::{Registry, catalogue as m};
use klamm_model::Timestamp;
use klamm_network::NetworkStats;
use klamm_replication::{CleanerFigures, Directory, Partition, Partitions, ScrubFigures};
use klamm_transaction_coordinator::{Figures, State};

use crate::cleaner::Cleaners;

/// What metrics are read from.
pub(crate) struct Sources {
    pub(crate) network: Arc<NetworkStats>,
    pub(crate) partitions: Weak<Partitions>,
    pub(crate) metadata: MetadataHandle,
    pub(crate) requests: Arc<RequestCounts>,
    pub(crate) cleaners: Weak<Cleaners>,
    pub(crate) log_dirs: Vec<PathBuf>,
    pub(crate) transactions: TransactionSources,
}

/// What the metrics of transactions are read from.
pub(crate) struct TransactionSources {
    pub(crate) clock: Arc<dyn Clock>,
    /// `transaction.max.timeout.ms`.
    pub(crate) timeout_ms_max: i32,
    pub(crate) figures: Arc<Figures>,
    pub(crate) markers: Weak<Markers>,
}

/// How much longer than any transaction may be one is open when it counts as late (Kafka:
/// `ProducerStateManager.LATE_TRANSACTION_BUFFER_MS`).
const LATE_GRACE_MS: i64 = 5 * 60_000;

/// Registers every gauge.
pub(crate) fn register(registry: &Registry, sources: Sources) {
    let Sources { network, partitions, metadata, requests, cleaners, log_dirs, transactions } =
        sources;
    register_transactions(registry, Weak::clone(&partitions), transactions);
    register_scrub(registry, &cleaners);
    register_cleaners(registry, &cleaners, log_dirs);
    let stats = Arc::clone(&network);
    registry.gauge(&m::CONNECTION_COUNT, "", move || stats.snapshot().connections_open as f64);
    let stats = Arc::clone(&network);
    let opened = move || stats.snapshot().connections_accepted;
    registry.counted_elsewhere(&m::CONNECTIONS_OPENED, "", opened);
    let expired = move || network.snapshot().connections_expired;
    registry.counted_elsewhere(&m::EXPIRED_CONNECTIONS, "", expired);
    let weak = Weak::clone(&partitions);
    let count = move |is_counted: fn(&Partition) -> bool| {
        let all = weak.upgrade().map(|partitions| partitions.all()).unwrap_or_default();
        all.iter().filter(|partition| is_counted(partition)).count() as f64
    };
    register_directories(registry, partitions);
    let counted = count.clone();
    registry.gauge(&m::PARTITION_COUNT, "", move || counted(|_| true));
    let counted = count.clone();
    registry.gauge(&m::LEADER_COUNT, "", move || counted(|p| p.leader_epoch().is_some()));
    registry.gauge(&m::OFFLINE_REPLICA_COUNT, "", move || count(Partition::is_offline));
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
        registry.counted_elsewhere(&m::REQUESTS, key.name(), move || requests.of(key));
    }
}

fn register_transactions(
    registry: &Registry,
    partitions: Weak<Partitions>,
    sources: TransactionSources,
) {
    let TransactionSources { clock, timeout_ms_max, figures, markers } = sources;
    let limit_ms = i64::from(timeout_ms_max) + LATE_GRACE_MS;
    registry.gauge(&m::PARTITIONS_WITH_LATE_TRANSACTIONS, "", move || {
        let all = partitions.upgrade().map(|partitions| partitions.all()).unwrap_or_default();
        let since = Timestamp(clock.wall().0.saturating_sub(limit_ms));
        all.iter().filter(|partition| partition.has_transaction_before(since)).count() as f64
    });
    for state in State::ALL {
        let figures = Arc::clone(&figures);
        registry.gauge(&m::TRANSACTIONS, state.name(), move || figures.in_state(state) as f64);
    }
    registry.gauge(&m::TRANSACTION_MARKERS_PENDING, "", move || {
        markers.upgrade().map_or(0.0, |markers| markers.pending.load(Ordering::Relaxed) as f64)
    });
}

fn register_directories(registry: &Registry, partitions: Weak<Partitions>) {
    let weak = Weak::clone(&partitions);
    let count = move |is_counted: fn(&Directory) -> bool| {
        let Some(partitions) = partitions.upgrade() else { return 0.0 };
        partitions.directories().all().iter().filter(|directory| is_counted(directory)).count()
            as f64
    };
    let counted = count.clone();
    let failed = move || weak.upgrade().map_or(0, |p| p.directories().failed().len());
    registry.gauge(&m::OFFLINE_LOG_DIRECTORY_COUNT, "", move || {
        counted(Directory::is_offline) + failed() as f64
    });
    let is_short = |directory: &Directory| directory.room().is_short();
    registry.gauge(&m::NEARLY_FULL_LOG_DIRECTORY_COUNT, "", move || count(is_short));
}

fn register_scrub(registry: &Registry, cleaners: &Weak<Cleaners>) {
    let figures = || {
        let owner = Weak::clone(cleaners);
        move || owner.upgrade().map_or(ScrubFigures::default(), |owner| owner.scrub_figures())
    };
    let now = figures();
    registry.counted_elsewhere(&m::SCRUB_BYTES, "", move || now().bytes);
    let now = figures();
    registry.counted_elsewhere(&m::SCRUB_SEGMENTS, "", move || now().segments);
    let now = figures();
    registry.gauge(&m::SCRUB_DAMAGED, "", move || now().damaged as f64);
    let now = figures();
    let since = move || now().since_last_pass.map_or(-1.0, |since| since.as_secs_f64());
    registry.gauge(&m::SCRUB_SINCE_LAST_PASS, "", since);
}

fn register_cleaners(registry: &Registry, cleaners: &Weak<Cleaners>, log_dirs: Vec<PathBuf>) {
    let figure = |metric, value: fn(&CleanerFigures) -> f64| {
        let cleaners = Weak::clone(cleaners);
        let now = move || cleaners.upgrade().map_or(0.0, |cleaners| value(&cleaners.figures()));
        registry.gauge(metric, "", now);
    };
    figure(&m::CLEANER_MAX_DIRTY, |f| (100.0 * f.max_dirty_ratio).trunc());
    figure(&m::CLEANER_SINCE_LAST_RUN, |f| f.since_last_turn.as_millis() as f64);
    figure(&m::CLEANER_RECOPY, |f| (100.0 * f.recopy_ratio).trunc());
    figure(&m::CLEANER_MAX_CLEAN_TIME, |f| f.max_clean_time.as_secs_f64().trunc());
    figure(&m::CLEANER_MAX_BUFFER, |f| (100.0 * f.max_keys_utilization).trunc());
    figure(&m::CLEANER_MAX_DELAY, |f| (f.max_overdue_ms / 1000) as f64);
    let owner = Weak::clone(cleaners);
    let dead = move || owner.upgrade().map_or(0.0, |cleaners| cleaners.dead_threads() as f64);
    registry.gauge(&m::CLEANER_DEAD_THREADS, "", dead);
    for dir in log_dirs {
        let (owner, label) = (Weak::clone(cleaners), dir.display().to_string());
        let count =
            move || owner.upgrade().map_or(0.0, |cleaners| cleaners.uncleanable_count(&dir) as f64);
        registry.gauge(&m::UNCLEANABLE_PARTITIONS, &label, count);
    }
}

#[cfg(test)]
mod tests {
    use klamm_apis::Traffic;

    use super::*;

    #[test]
    fn every_declared_metric_is_fed() {
        let registry = Registry::default();
        register(
            &registry,
            Sources {
                network: Arc::default(),
                partitions: Weak::new(),
                metadata: MetadataHandle::default(),
                requests: Arc::default(),
                cleaners: Weak::new(),
                log_dirs: vec![PathBuf::from("/data")],
                transactions: TransactionSources {
                    clock: klamm_env::real::env().clock,
                    timeout_ms_max: 1000,
                    figures: Arc::default(),
                    markers: Weak::new(),
                },
            },
        );
        let _traffic = Traffic::new(&registry);
        assert_eq!(registry.unfed(), Vec::<&str>::new());
    }
}
