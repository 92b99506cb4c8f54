//! The metrics. Names are those of Kafka's MBeans as the JMX exporter writes them, so that
//! dashboards made for Kafka work.

use crate::metric::Kind::{Counter, Gauge, Histogram};
use crate::metric::declare_metrics;

/// Bounds for durations, in seconds: from a hit in memory to a client that waits.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 5.0,
];

declare_metrics! {
    MESSAGES_IN: Counter, "kafka_server_brokertopicmetrics_messagesin_total", "records", "Records that producers appended.";
    BYTES_IN: Counter, "kafka_server_brokertopicmetrics_bytesin_total", "bytes", "Bytes of batches that producers appended.";
    BYTES_OUT: Counter, "kafka_server_brokertopicmetrics_bytesout_total", "bytes", "Bytes of batches that consumers fetched.";
    PRODUCE_REQUESTS: Counter, "kafka_server_brokertopicmetrics_totalproducerequests_total", "partitions", "Appends that were asked for, one for each partition.";
    FETCH_REQUESTS: Counter, "kafka_server_brokertopicmetrics_totalfetchrequests_total", "partitions", "Reads that were asked for, one for each partition.";
    FAILED_PRODUCE_REQUESTS: Counter, "kafka_server_brokertopicmetrics_failedproducerequests_total", "partitions", "Appends that failed.";
    FAILED_FETCH_REQUESTS: Counter, "kafka_server_brokertopicmetrics_failedfetchrequests_total", "partitions", "Reads that failed.";
    REQUESTS: Counter, "kafka_network_requestmetrics_requests_total", "requests" by "request", "Requests by API.";
    REQUEST_SECONDS: Histogram(SECONDS), "klamm_request_duration_seconds", "seconds" by "request", "Time from a request's last byte to the first byte of its answer, by API.";
    CONNECTION_COUNT: Gauge, "kafka_server_socket_server_metrics_connection_count", "connections", "Open connections.";
    CONNECTIONS_OPENED: Counter, "kafka_server_socket_server_metrics_connection_creation_total", "connections", "Connections accepted.";
    EXPIRED_CONNECTIONS: Counter, "kafka_network_socketserver_expiredconnectionskilledcount_total", "connections", "Connections closed for being idle.";
    PARTITION_COUNT: Gauge, "kafka_server_replicamanager_partitioncount", "partitions", "Replicas on this broker.";
    LEADER_COUNT: Gauge, "kafka_server_replicamanager_leadercount", "partitions", "Partitions that this broker leads.";
    OFFLINE_REPLICA_COUNT: Gauge, "kafka_server_replicamanager_offlinereplicacount", "partitions", "Replicas in log directories that failed.";
    OFFLINE_LOG_DIRECTORY_COUNT: Gauge, "kafka_log_logmanager_offlinelogdirectorycount", "directories", "Log directories that failed.";
    NEARLY_FULL_LOG_DIRECTORY_COUNT: Gauge, "klamm_log_directories_nearly_full", "directories", "Log directories whose disk is nearly full, so that producers are refused.";
    PARTITIONS_WITH_LATE_TRANSACTIONS: Gauge, "kafka_server_replicamanager_partitionswithlatetransactionscount", "partitions", "Partitions led here with an open transaction whose producer was last heard of five minutes more than transaction.max.timeout.ms ago; klamm transaction find-hanging names it.";
    TRANSACTIONS: Gauge, "klamm_transactions", "transactional ids" by "state", "Transactional ids that this broker coordinates, by the state of their transaction.";
    TRANSACTION_MARKERS_PENDING: Gauge, "klamm_transaction_markers_pending", "markers", "Ends of transactions that are decided and not yet written into their partitions.";
    UNCLEANABLE_PARTITIONS: Gauge, "kafka_log_logcleanermanager_uncleanable_partitions_count", "partitions" by "logDirectory", "Partitions that compaction has failed on and leaves alone.";
    CLEANER_MAX_DIRTY: Gauge, "kafka_log_logcleanermanager_max_dirty_percent", "percent", "The largest dirty part of a compacted log, when logs were last looked at.";
    CLEANER_SINCE_LAST_RUN: Gauge, "kafka_log_logcleanermanager_time_since_last_run_ms", "ms", "Time since a log to compact was last looked for.";
    CLEANER_RECOPY: Gauge, "kafka_log_logcleaner_cleaner_recopy_percent", "percent", "What the last runs of compaction wrote, of what they read.";
    CLEANER_MAX_CLEAN_TIME: Gauge, "kafka_log_logcleaner_max_clean_time_secs", "seconds", "The longest of the last runs of compaction.";
    CLEANER_MAX_BUFFER: Gauge, "kafka_log_logcleaner_max_buffer_utilization_percent", "percent", "How full the table of keys was in the last runs of compaction.";
    CLEANER_MAX_DELAY: Gauge, "kafka_log_logcleaner_max_compaction_delay_secs", "seconds", "The longest that a record has been dirty beyond max.compaction.lag.ms.";
    CLEANER_DEAD_THREADS: Gauge, "kafka_log_logcleaner_deadthreadcount", "threads", "Compaction threads that ended though they should not.";
    SCRUB_BYTES: Counter, "klamm_log_scrub_bytes_total", "bytes", "Bytes of sealed segments whose checksums were compared.";
    SCRUB_SEGMENTS: Counter, "klamm_log_scrub_segments_total", "segments", "Sealed segments whose checksums were compared.";
    SCRUB_DAMAGED: Gauge, "klamm_log_scrub_damaged_segments", "segments", "Sealed segments that were damaged when they were looked at last.";
    SCRUB_SINCE_LAST_PASS: Gauge, "klamm_log_scrub_since_last_pass_seconds", "seconds", "Time since all sealed segments had been looked at; -1 before the first time.";
    ACTIVE_CONTROLLER_COUNT: Gauge, "kafka_controller_kafkacontroller_activecontrollercount", "controllers", "1 on the node whose controller decides, else 0.";
    GLOBAL_TOPIC_COUNT: Gauge, "kafka_controller_kafkacontroller_globaltopiccount", "topics", "Topics of the cluster.";
    GLOBAL_PARTITION_COUNT: Gauge, "kafka_controller_kafkacontroller_globalpartitioncount", "partitions", "Partitions of the cluster.";
    ACTIVE_BROKER_COUNT: Gauge, "kafka_controller_kafkacontroller_activebrokercount", "brokers", "Brokers that are registered and unfenced.";
    FENCED_BROKER_COUNT: Gauge, "kafka_controller_kafkacontroller_fencedbrokercount", "brokers", "Brokers that are registered and fenced.";
    LAST_APPLIED_RECORD_OFFSET: Gauge, "kafka_controller_kafkacontroller_lastappliedrecordoffset", "offset", "Offset of the last metadata record that was applied.";
}
