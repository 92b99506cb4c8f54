//! A node's configuration, typed. What is wrong is collected, so that one start tells all of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use klamm_model::NodeId;

use crate::checks;
use crate::key::Effect;
use crate::listeners::{self, ListenersConfig, MetricsListener};
use crate::quorum::{self, QuorumConfig};
use crate::value::items;
use crate::{
    ConfigError, ConfigErrors, ConfigKey, ConfigMap, Layers, Properties, TopicConfig, UpdateMode,
    broker_key,
};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It keeps partitions and serves clients.
    pub broker: bool,
    /// It takes part in the metadata quorum.
    pub controller: bool,
}

/// Identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The node's number.
    pub node_id: NodeId,
    /// What it is.
    pub roles: Roles,
    /// Its rack.
    pub rack: Option<String>,
    /// Where partitions are.
    pub log_dirs: Vec<PathBuf>,
    /// Those of them that get no new partitions; `*` for all.
    pub cordoned_log_dirs: Vec<String>,
    /// Where the metadata log is.
    pub metadata_log_dir: PathBuf,
    /// Whether feature levels in development may be chosen.
    pub unstable_feature_versions: bool,
    /// How long a stopping node waits for requests in progress.
    pub shutdown_timeout_ms: u64,
}

macro_rules! config_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $how:ident $key:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            fn read(r: &Reader<'_>) -> Self {
                Self { $($field: r.$how($key),)* }
            }
        }
    )*};
}

config_structs! {
    /// Connections and requests.
    NetworkConfig {
        /// Worker threads; `None`: one per processor core.
        worker_threads: Option<usize> = optional "num.network.threads",
        /// Most bytes of requests in memory; -1 for the broker's choice.
        queued_max_request_bytes: i64 = number "queued.max.request.bytes",
        /// Send buffer in the kernel; -1 for the system's choice.
        socket_send_buffer_bytes: i32 = number "socket.send.buffer.bytes",
        /// Receive buffer in the kernel; -1 for the system's choice.
        socket_receive_buffer_bytes: i32 = number "socket.receive.buffer.bytes",
        /// Largest request.
        socket_request_max_bytes: u32 = number "socket.request.max.bytes",
        /// Connections that may wait to be accepted.
        socket_listen_backlog_size: i32 = number "socket.listen.backlog.size",
        /// Silence after which a connection is closed; negative: never.
        connections_max_idle_ms: i64 = number "connections.max.idle.ms",
        /// Most connections.
        max_connections: usize = number "max.connections",
        /// Most connections from one address.
        max_connections_per_ip: usize = number "max.connections.per.ip",
        /// Other limits for single hosts.
        max_connections_per_ip_overrides: Vec<(String, usize)> = host_limits "max.connections.per.ip.overrides",
        /// Requests of one connection in progress.
        connection_requests_max: usize = number "klamm.connection.requests.max",
        /// Fetch sessions that are remembered.
        fetch_session_cache_slots: usize = number "max.incremental.fetch.session.cache.slots",
        /// Most partitions in one DescribeTopicPartitions answer.
        max_request_partition_size_limit: i32 = number "max.request.partition.size.limit",
        /// Most bytes in one fetch answer.
        fetch_max_bytes: i32 = number "fetch.max.bytes",
    }
    /// Log directories and their upkeep. What a topic can set for itself is in `topic_defaults`.
    LogConfig {
        /// Partitions of a topic created without a number.
        num_partitions: i32 = number "num.partitions",
        /// Replicas of a topic created without a number.
        default_replication_factor: i16 = number "default.replication.factor",
        /// Whether topics are created when asked for.
        auto_create_topics_enable: bool = flag "auto.create.topics.enable",
        /// Whether topics can be deleted.
        delete_topic_enable: bool = flag "delete.topic.enable",
        /// How often retention is checked.
        retention_check_interval_ms: u64 = number "log.retention.check.interval.ms",
        /// How often partitions are checked for a sync by time; `i64::MAX`: never.
        flush_scheduler_interval_ms: i64 = number "log.flush.scheduler.interval.ms",
        /// How often recovery points are written.
        flush_offset_checkpoint_interval_ms: u64 = number "log.flush.offset.checkpoint.interval.ms",
        /// How often log start offsets are written.
        flush_start_offset_checkpoint_interval_ms: u64 = number "log.flush.start.offset.checkpoint.interval.ms",
        /// How often high watermarks are written.
        high_watermark_checkpoint_interval_ms: u64 = number "replica.high.watermark.checkpoint.interval.ms",
        /// A follower that has not caught up for this long leaves the ISR.
        replica_lag_time_max_ms: u64 = number "replica.lag.time.max.ms",
        /// When the first checks come after the start.
        initial_task_delay_ms: u64 = number "log.initial.task.delay.ms",
        /// Whether logs are compacted at all.
        cleaner_enable: bool = flag "log.cleaner.enable",
        /// Compaction threads; 0: no compaction.
        cleaner_threads: usize = number "log.cleaner.threads",
        /// Rest of an idle cleaner.
        cleaner_backoff_ms: u64 = number "log.cleaner.backoff.ms",
        /// Memory for tables of keys.
        cleaner_dedupe_buffer_bytes: u64 = number "log.cleaner.dedupe.buffer.size",
        /// Memory for reading and writing.
        cleaner_io_buffer_bytes: u64 = number "log.cleaner.io.buffer.size",
        /// How full the table of keys may get.
        cleaner_io_buffer_load_factor: f64 = number "log.cleaner.io.buffer.load.factor",
        /// Most bytes per second.
        cleaner_io_max_bytes_per_second: f64 = number "log.cleaner.io.max.bytes.per.second",
        /// Threads that move replicas between directories; `None`: one for each directory.
        alter_log_dirs_threads: Option<usize> = optional "num.replica.alter.log.dirs.threads",
        /// Most bytes per second that they copy.
        alter_log_dirs_bytes_per_second: u64 = number "replica.alter.log.dirs.io.max.bytes.per.second",
        /// Threads per directory at start.
        recovery_threads_per_data_dir: usize = number "num.recovery.threads.per.data.dir",
        /// What is kept free on the disk of each directory; `None`: by the disk's size.
        storage_min_free_bytes: Option<u64> = optional "klamm.storage.min.free.bytes",
        /// How often sealed segments are looked at; 0 or less: never.
        scrub_interval_ms: i64 = number "klamm.log.scrub.interval.ms",
        /// The most that this reads in a second.
        scrub_bytes_per_second: u64 = number "klamm.log.scrub.bytes.per.second",
        /// How long an idle producer is remembered.
        producer_id_expiration_ms: u64 = number "producer.id.expiration.ms",
        /// How often idle producers are forgotten.
        producer_id_expiration_check_interval_ms: u64 = number "producer.id.expiration.check.interval.ms",
    }
    /// The controller and the metadata log.
    ControllerConfig {
        /// How long a starting broker tries to register.
        initial_broker_registration_timeout_ms: u64 = number "initial.broker.registration.timeout.ms",
        /// How often a broker reports.
        broker_heartbeat_interval_ms: u64 = number "broker.heartbeat.interval.ms",
        /// Silence after which a broker is fenced.
        broker_session_timeout_ms: u64 = number "broker.session.timeout.ms",
        /// Bytes of records between two snapshots.
        metadata_max_record_bytes_between_snapshots: u64 = number "metadata.log.max.record.bytes.between.snapshots",
        /// Longest time between two snapshots, if there is anything new; 0: no limit.
        metadata_max_snapshot_interval_ms: u64 = number "metadata.log.max.snapshot.interval.ms",
        /// Segment size of the metadata log.
        metadata_segment_bytes: u32 = number "metadata.log.segment.bytes",
        /// Segment age of the metadata log.
        metadata_segment_ms: i64 = number "metadata.log.segment.ms",
        /// Most bytes kept; -1: all.
        metadata_max_retention_bytes: i64 = number "metadata.max.retention.bytes",
        /// Longest time kept; -1: for ever.
        metadata_max_retention_ms: i64 = number "metadata.max.retention.ms",
    }
    /// Groups and their offsets.
    GroupsConfig {
        /// Shortest session of a classic member.
        min_session_timeout_ms: i32 = number "group.min.session.timeout.ms",
        /// Longest session of a classic member.
        max_session_timeout_ms: i32 = number "group.max.session.timeout.ms",
        /// Wait of an empty classic group before its first rebalance.
        initial_rebalance_delay_ms: i32 = number "group.initial.rebalance.delay.ms",
        /// Most members of a classic group.
        max_size: usize = number "group.max.size",
        /// Most groups of a partition of the offsets topic.
        groups_max: usize = number "klamm.groups.max",
        /// Most members of all of them.
        members_max: usize = number "klamm.group.members.max",
        /// Most offsets of all of them.
        offsets_max: usize = number "klamm.group.offsets.max",
        /// How long records are gathered; -1: the coordinator decides.
        append_linger_ms: i32 = number "group.coordinator.append.linger.ms",
        /// Protocols that are served.
        rebalance_protocols: Vec<String> = list "group.coordinator.rebalance.protocols",
        /// Time between two assignments of a consumer group.
        consumer_assignment_interval_ms: i32 = number "group.consumer.assignment.interval.ms",
        /// Least that a group may set for it.
        consumer_min_assignment_interval_ms: i32 = number "group.consumer.min.assignment.interval.ms",
        /// Most that a group may set for it.
        consumer_max_assignment_interval_ms: i32 = number "group.consumer.max.assignment.interval.ms",
        /// The broker's assignors.
        consumer_assignors: Vec<String> = list "group.consumer.assignors",
        /// How often members report.
        consumer_heartbeat_interval_ms: i32 = number "group.consumer.heartbeat.interval.ms",
        /// Least that a group may set for it.
        consumer_min_heartbeat_interval_ms: i32 = number "group.consumer.min.heartbeat.interval.ms",
        /// Most that a group may set for it.
        consumer_max_heartbeat_interval_ms: i32 = number "group.consumer.max.heartbeat.interval.ms",
        /// Silence after which a member is removed.
        consumer_session_timeout_ms: i32 = number "group.consumer.session.timeout.ms",
        /// Least that a group may set for it.
        consumer_min_session_timeout_ms: i32 = number "group.consumer.min.session.timeout.ms",
        /// Most that a group may set for it.
        consumer_max_session_timeout_ms: i32 = number "group.consumer.max.session.timeout.ms",
        /// Most members of a consumer group.
        consumer_max_size: usize = number "group.consumer.max.size",
        /// Between which protocols a group may move; lower case.
        consumer_migration_policy: String = lower "group.consumer.migration.policy",
        /// How often patterns are matched again.
        consumer_regex_refresh_interval_ms: i32 = number "group.consumer.regex.refresh.interval.ms",
        /// Longest text with an offset.
        offset_metadata_max_bytes: usize = number "offset.metadata.max.bytes",
        /// How long a commit may take.
        offsets_commit_timeout_ms: u64 = number "offsets.commit.timeout.ms",
        /// Bytes read at once when loading.
        offsets_load_buffer_bytes: usize = number "offsets.load.buffer.size",
        /// How often expired offsets are looked for.
        offsets_retention_check_interval_ms: u64 = number "offsets.retention.check.interval.ms",
        /// How long offsets are kept, in minutes.
        offsets_retention_minutes: i64 = number "offsets.retention.minutes",
        /// Codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        offsets_topic_compression_codec: i32 = number "offsets.topic.compression.codec",
    }
    /// Transactions.
    TransactionsConfig {
        /// Longest timeout.
        max_timeout_ms: i32 = number "transaction.max.timeout.ms",
        /// How long an idle id is remembered.
        transactional_id_expiration_ms: u64 = number "transactional.id.expiration.ms",
        /// How often overdue transactions are looked for.
        abort_timed_out_interval_ms: u64 = number "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        /// How often expired ids are looked for.
        remove_expired_interval_ms: u64 = number "transaction.remove.expired.transaction.cleanup.interval.ms",
        /// Whether partitions ask the coordinator first.
        partition_verification_enable: bool = flag "transaction.partition.verification.enable",
        /// Bytes read at once when loading.
        load_buffer_bytes: usize = number "transaction.state.log.load.buffer.size",
        /// Fewest in-sync replicas of the transaction topic.
        min_insync_replicas: i16 = number "transaction.state.log.min.isr",
        /// How long a request waits for the markers of the last transaction.
        add_partitions_retry_backoff_max_ms: u64 = number "add.partitions.to.txn.retry.backoff.max.ms",
        /// Transactional ids in a partition of the transaction topic.
        transactional_ids_max: usize = number "klamm.transactional.ids.max",
    }
}

/// How an internal topic is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas; whoever creates it takes fewer when fewer brokers live.
    pub replication_factor: i16,
    /// Its segment size.
    pub segment_bytes: i32,
}

/// A node's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Identity.
    pub node: NodeConfig,
    /// Listeners.
    pub listeners: ListenersConfig,
    /// Where metrics are served.
    pub metrics: Vec<MetricsListener>,
    /// The metadata quorum.
    pub quorum: QuorumConfig,
    /// Connections and requests.
    pub network: NetworkConfig,
    /// Log directories.
    pub log: LogConfig,
    /// The controller.
    pub controller: ControllerConfig,
    /// Groups.
    pub groups: GroupsConfig,
    /// Transactions.
    pub transactions: TransactionsConfig,
    /// The offsets topic.
    pub offsets_topic: InternalTopic,
    /// The transaction topic.
    pub transaction_topic: InternalTopic,
    /// What a topic without configs of its own gets.
    pub topic_defaults: TopicConfig,
}

/// A configuration and what its owner should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// Keys that are unknown or have no effect.
    pub warnings: Vec<String>,
}

impl BrokerConfig {
    /// Reads a file's keys (empty: the zero configuration).
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(file: &Properties) -> Result<Loaded, ConfigErrors> {
        let none = ConfigMap::new();
        Self::load_layers(&Layers { per_broker: &none, cluster: &none, file })
    }

    /// Reads a file's keys with what was changed while the cluster ran on top.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load_layers(layers: &Layers<'_>) -> Result<Loaded, ConfigErrors> {
        let reader = Reader::new(layers);
        let mut warnings = checks::check_keys(&reader);
        let config = Self::read(&reader);
        warnings.extend(checks::doubt(&config));
        checks::check_relations(&reader, &config);
        let errors = reader.errors.into_inner();
        if errors.is_empty() { Ok(Loaded { config, warnings }) } else { Err(ConfigErrors(errors)) }
    }

    fn read(r: &Reader<'_>) -> Self {
        let roles = r.text("process.roles");
        let roles = Roles {
            broker: items(&roles).any(|role| role == "broker"),
            controller: items(&roles).any(|role| role == "controller"),
        };
        let node = read_node(r, roles);
        Self {
            listeners: listeners::read(r, roles),
            metrics: listeners::read_metrics(r),
            quorum: quorum::read(r, node.node_id, roles),
            node,
            network: NetworkConfig::read(r),
            log: LogConfig::read(r),
            controller: ControllerConfig::read(r),
            groups: GroupsConfig::read(r),
            transactions: TransactionsConfig::read(r),
            offsets_topic: InternalTopic {
                partitions: r.number("offsets.topic.num.partitions"),
                replication_factor: r.number("offsets.topic.replication.factor"),
                segment_bytes: r.number("offsets.topic.segment.bytes"),
            },
            transaction_topic: InternalTopic {
                partitions: r.number("transaction.state.log.num.partitions"),
                replication_factor: r.number("transaction.state.log.replication.factor"),
                segment_bytes: r.number("transaction.state.log.segment.bytes"),
            },
            topic_defaults: TopicConfig::defaults(r),
        }
    }
}

fn read_node(r: &Reader<'_>, roles: Roles) -> NodeConfig {
    let node_id = match (r.given_text("node.id"), r.given_text("broker.id")) {
        (Some(node), Some(broker)) if node.trim() != broker.trim() => {
            r.conflict(format!("node.id is {node} and broker.id is {broker}; they must agree"));
            r.number("node.id")
        }
        (None, Some(_)) => r.number::<i32>("broker.id"),
        _ => r.number("node.id"),
    };
    if node_id < 0 {
        r.refuse("broker.id", "expected 0 or more".to_owned());
    }
    let dirs_key = if r.given_text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let log_dirs: Vec<PathBuf> = items(&r.text(dirs_key)).map(PathBuf::from).collect();
    if log_dirs.is_empty() || log_dirs.iter().any(|dir| dir.as_os_str().is_empty()) {
        r.refuse(dirs_key, "at least one directory is needed, and none may be empty".to_owned());
    }
    let metadata_log_dir = r.given_text("metadata.log.dir").map(PathBuf::from);
    let first = log_dirs.first().cloned().unwrap_or_default();
    NodeConfig {
        node_id: NodeId(node_id),
        roles,
        rack: r.given_text("broker.rack").filter(|rack| !rack.is_empty()),
        metadata_log_dir: metadata_log_dir.unwrap_or(first),
        log_dirs,
        cordoned_log_dirs: r.list("cordoned.log.dirs"),
        unstable_feature_versions: r.flag("unstable.feature.versions.enable"),
        shutdown_timeout_ms: r.number("klamm.shutdown.timeout.ms"),
    }
}

/// Reads typed values and collects what is wrong.
pub(crate) struct Reader<'a> {
    pub(crate) layers: &'a Layers<'a>,
    errors: RefCell<Vec<ConfigError>>,
    keys_read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(layers: &'a Layers<'a>) -> Self {
        Self { layers, errors: RefCell::default(), keys_read: RefCell::default() }
    }

    pub(crate) fn fail(&self, error: ConfigError) {
        let mut errors = self.errors.borrow_mut();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    pub(crate) fn conflict(&self, text: String) {
        self.fail(ConfigError::Conflict(text));
    }

    pub(crate) fn refuse(&self, name: &'static str, reason: String) {
        let key = declared(name);
        let value = if key.is_sensitive() { "[hidden]".to_owned() } else { self.text(name) };
        self.fail(ConfigError::Value { key: name, value, reason });
    }

    /// The value that somebody set, without defaults and weaker names.
    pub(crate) fn given_text(&self, name: &'static str) -> Option<String> {
        self.keys_read.borrow_mut().insert(name);
        self.layers.given(name).map(|(value, _)| value.trim().to_owned())
    }

    /// The value that holds; empty if there is none. A value that its key does not accept is
    /// reported by the check of all keys; here its default stands in, so that reading goes on.
    pub(crate) fn text(&self, name: &'static str) -> String {
        self.keys_read.borrow_mut().insert(name);
        let key = declared(name);
        let effective = self.layers.effective(name).and_then(|text| key.check(&text).ok());
        effective.or_else(|| key.default.value().map(str::to_owned)).unwrap_or_default()
    }

    /// The value that holds, units and weaker names taken into account.
    pub(crate) fn text_effective(&self, name: &'static str) -> Option<String> {
        let mut keys_read = self.keys_read.borrow_mut();
        keys_read.insert(name);
        keys_read.extend(crate::keys::weaker_names(name).iter().map(|(weaker, _)| *weaker));
        self.layers.effective(name)
    }

    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.text(name) == "true"
    }

    /// A number; out of the range of `T` it is refused.
    pub(crate) fn number<T: FromStr + Default>(&self, name: &'static str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.refuse(name, "expected a number of 0 or more".to_owned());
            T::default()
        })
    }

    fn optional<T: FromStr>(&self, name: &'static str) -> Option<T> {
        self.text(name).parse().ok()
    }

    fn list(&self, name: &'static str) -> Vec<String> {
        items(&self.text(name)).map(str::to_owned).collect()
    }

    fn lower(&self, name: &'static str) -> String {
        self.text(name).to_ascii_lowercase()
    }

    fn host_limits(&self, name: &'static str) -> Vec<(String, usize)> {
        let text = self.text(name);
        let parse = |item: &str| {
            let (host, limit) = item.rsplit_once(':')?;
            (!host.is_empty()).then_some((host.to_owned(), limit.trim().parse().ok()?))
        };
        let limits: Option<Vec<_>> = items(&text).map(parse).collect();
        limits.unwrap_or_else(|| {
            self.refuse(name, "expected host:limit pairs".to_owned());
            Vec::new()
        })
    }

    /// Keys that nothing has read although they are declared to have an effect.
    #[cfg(test)]
    fn unread(&self) -> Vec<&'static str> {
        let read = self.keys_read.borrow();
        let acted = crate::broker_keys().filter(|key| key.effect == Effect::Acted);
        acted.map(|key| key.name).filter(|name| !read.contains(name)).collect()
    }
}

fn declared(name: &'static str) -> &'static ConfigKey {
    broker_key(name).expect("only declared keys are read; a test reads them all")
}

/// Warnings about keys that do nothing, and errors of values; see [`checks`].
pub(crate) fn has_effect(key: &ConfigKey) -> bool {
    key.effect == Effect::Acted
}

/// Whether a key may be changed for one broker while it runs.
pub(crate) fn is_dynamic(key: &ConfigKey) -> bool {
    key.update != UpdateMode::ReadOnly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_declared_to_act_is_read() {
        let none = ConfigMap::new();
        let file = Properties::default();
        let layers = Layers { per_broker: &none, cluster: &none, file: &file };
        let reader = Reader::new(&layers);
        checks::check_keys(&reader);
        let config = BrokerConfig::read(&reader);
        checks::check_relations(&reader, &config);
        assert_eq!(reader.unread(), Vec::<&str>::new());
    }
}
