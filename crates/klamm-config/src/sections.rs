//! The sections of a node's configuration: each field with the key that it is read from.

use crate::reader::Reader;

macro_rules! config_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $how:ident $key:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            pub(crate) fn read(r: &Reader<'_>) -> Self {
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
