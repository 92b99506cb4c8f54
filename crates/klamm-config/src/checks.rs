//! Checks over all keys (known? acceptable? without effect?) and between keys (Kafka:
//! `KafkaConfig.validateValues`).

use crate::broker::BrokerConfig;
use crate::reader::Reader;
use crate::{ConfigError, broker_key};

/// Keys whose presence alone means protection that is not built.
pub(crate) const PROTECTION_KEYS: &[&str] = &[
    "authorizer.class.name",
    "delegation.token.secret.key",
    "sasl.jaas.config",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
];

/// Below this a cleaner thread has no room for keys (Kafka: `CleanerConfig`).
const CLEANER_BUFFER_PER_THREAD_BYTES_MIN: u64 = 1024 * 1024;

/// Checks every set key; gives what its owner should know.
pub(crate) fn check_keys(r: &Reader<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, value) in r.layers.file.iter() {
        check_one(r, name, value, &mut warnings);
    }
    for (name, value) in r.layers.cluster.iter().chain(r.layers.per_broker) {
        // What was accepted while the cluster ran was checked then; a value from another
        // version that no longer fits must not stop the start, its default stands in.
        if broker_key(name).is_none_or(|key| key.check(value).is_err()) {
            warnings.push(format!("the dynamic config {name} has no effect: unknown key or value"));
        }
    }
    check_protection(r);
    warnings
}

fn check_one(r: &Reader<'_>, name: &str, value: &str, warnings: &mut Vec<String>) {
    let Some(key) = broker_key(name) else {
        if is_listener_protection(name) || name == "super.users" {
            r.fail(ConfigError::Unprotected {
                key: name.to_owned(),
                reason: "authentication, encryption and authorisation are not built yet".to_owned(),
            });
        } else {
            warnings.push(format!("unknown key {name}"));
        }
        return;
    };
    if let Err(reason) = key.check(value) {
        let value = if key.is_sensitive() { "[hidden]".to_owned() } else { shortened(value) };
        r.fail(ConfigError::Value { key: key.name, value, reason });
    } else if !key.has_effect() && key.default.value() != Some(value.trim()) {
        warnings.push(format!("{name} has no effect: Klamm does not act on it"));
    }
}

fn is_listener_protection(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("listener.name.") else { return false };
    rest.contains(".ssl.") || rest.contains(".sasl.")
}

fn shortened(value: &str) -> String {
    value.chars().take(200).collect()
}

fn check_protection(r: &Reader<'_>) {
    for key in PROTECTION_KEYS.iter().copied() {
        if r.given_text(key).is_some_and(|value| !value.is_empty()) {
            r.fail(ConfigError::Unprotected {
                key: key.to_owned(),
                reason: "authentication, encryption and authorisation are not built yet".to_owned(),
            });
        }
    }
    let asked = |key, harmless| r.given_text(key).is_some_and(|value| value != harmless);
    if asked("ssl.client.auth", "none") || asked("sasl.enabled.mechanisms", "GSSAPI") {
        r.fail(ConfigError::Unprotected {
            key: "ssl.client.auth or sasl.enabled.mechanisms".to_owned(),
            reason: "authentication is not built yet".to_owned(),
        });
    }
    if !r.text("config.providers").is_empty() {
        r.refuse(
            "config.providers",
            "config providers are not built; values like ${...} would be taken literally"
                .to_owned(),
        );
    }
}

pub(crate) fn check_relations(r: &Reader<'_>, config: &BrokerConfig) {
    check_topic_relations(r, config);
    let groups = &config.groups;
    ordered(
        r,
        &[
            ("group.min.session.timeout.ms", groups.min_session_timeout_ms),
            ("group.max.session.timeout.ms", groups.max_session_timeout_ms),
        ],
    );
    ordered(
        r,
        &[
            ("group.consumer.min.heartbeat.interval.ms", groups.consumer_min_heartbeat_interval_ms),
            ("group.consumer.heartbeat.interval.ms", groups.consumer_heartbeat_interval_ms),
            ("group.consumer.max.heartbeat.interval.ms", groups.consumer_max_heartbeat_interval_ms),
        ],
    );
    ordered(
        r,
        &[
            ("group.consumer.min.session.timeout.ms", groups.consumer_min_session_timeout_ms),
            ("group.consumer.session.timeout.ms", groups.consumer_session_timeout_ms),
            ("group.consumer.max.session.timeout.ms", groups.consumer_max_session_timeout_ms),
        ],
    );
    ordered(
        r,
        &[
            (
                "group.consumer.min.assignment.interval.ms",
                groups.consumer_min_assignment_interval_ms,
            ),
            ("group.consumer.assignment.interval.ms", groups.consumer_assignment_interval_ms),
            (
                "group.consumer.max.assignment.interval.ms",
                groups.consumer_max_assignment_interval_ms,
            ),
        ],
    );
    if !(0..=4).contains(&groups.offsets_topic_compression_codec) {
        r.refuse("offsets.topic.compression.codec", "expected a codec from 0 to 4".to_owned());
    }
    let network = &config.network;
    let queued = network.queued_max_request_bytes;
    if queued > 0 && queued < i64::from(network.socket_request_max_bytes) {
        r.refuse(
            "queued.max.request.bytes",
            format!(
                "expected at least socket.request.max.bytes ({})",
                network.socket_request_max_bytes
            ),
        );
    }
    if network.max_connections_per_ip == 0 && network.max_connections_per_ip_overrides.is_empty() {
        r.refuse(
            "max.connections.per.ip",
            "0 is allowed only with max.connections.per.ip.overrides".to_owned(),
        );
    }
    check_cleaning(r, config);
}

/// What is allowed and yet hardly meant: Kafka starts with it, and so do we.
pub(crate) fn doubt(config: &BrokerConfig) -> Option<String> {
    let interval_ms = config.controller.broker_heartbeat_interval_ms;
    let session_ms = config.controller.broker_session_timeout_ms;
    (interval_ms.saturating_mul(2) > session_ms).then(|| {
        format!(
            "broker.heartbeat.interval.ms is {interval_ms}: with more than half of broker.session.timeout.ms ({session_ms}) one late heartbeat fences the broker"
        )
    })
}

fn check_cleaning(r: &Reader<'_>, config: &BrokerConfig) {
    let log = &config.log;
    let threads = log.cleaner_threads.max(1) as u64;
    if log.cleaner_dedupe_buffer_bytes / threads <= CLEANER_BUFFER_PER_THREAD_BYTES_MIN {
        r.refuse(
            "log.cleaner.dedupe.buffer.size",
            "expected more than 1 MiB per thread".to_owned(),
        );
    }
    for dir in r.text("cordoned.log.dirs").split(',').map(str::trim).filter(|d| !d.is_empty()) {
        if dir != "*" && !config.node.log_dirs.iter().any(|known| known.as_os_str() == dir) {
            r.refuse("cordoned.log.dirs", format!("{dir} is not in log.dirs"));
        }
    }
}

fn check_topic_relations(r: &Reader<'_>, config: &BrokerConfig) {
    let topic = &config.topic_defaults;
    if topic.retention_ms == Some(0) {
        r.refuse("log.retention.ms", "expected -1, or 1 and more".to_owned());
    }
    if topic.min_compaction_lag_ms > topic.max_compaction_lag_ms {
        r.conflict(format!(
            "log.cleaner.min.compaction.lag.ms ({}) is more than log.cleaner.max.compaction.lag.ms ({})",
            topic.min_compaction_lag_ms, topic.max_compaction_lag_ms
        ));
    }
}

fn ordered(r: &Reader<'_>, chain: &[(&str, i32)]) {
    for pair in chain.windows(2) {
        let [(low, low_value), (high, high_value)] = pair else { continue };
        if low_value > high_value {
            r.conflict(format!("{low} ({low_value}) is more than {high} ({high_value})"));
        }
    }
}
