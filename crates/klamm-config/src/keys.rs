//! The keys, by area, and how to find one.

mod client_metrics;
mod group;
mod groups;
mod klamm;
mod log;
mod network;
mod node;
mod remote;
mod replication;
mod security;
mod share;
mod topic;
mod transactions;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::ConfigKey;

pub(crate) use topic::BROKER_SYNONYMS;

type Index = HashMap<&'static str, &'static ConfigKey>;

static BROKER: LazyLock<Index> = LazyLock::new(|| broker_keys().map(|k| (k.name, k)).collect());
static TOPIC: LazyLock<Index> = LazyLock::new(|| topic_keys().map(|k| (k.name, k)).collect());
static GROUP: LazyLock<Index> = LazyLock::new(|| group_keys().map(|k| (k.name, k)).collect());

/// Every broker key, by area.
pub fn broker_keys() -> impl Iterator<Item = &'static ConfigKey> {
    [
        node::NODE,
        network::NETWORK,
        log::LOG,
        replication::REPLICATION,
        groups::GROUPS,
        share::SHARE,
        transactions::TRANSACTIONS,
        remote::REMOTE,
        security::SECURITY,
        klamm::KLAMM,
    ]
    .into_iter()
    .flatten()
}

/// Every topic key.
pub fn topic_keys() -> impl Iterator<Item = &'static ConfigKey> {
    topic::TOPIC.iter()
}

/// Every group key.
pub fn group_keys() -> impl Iterator<Item = &'static ConfigKey> {
    group::GROUP.iter()
}

/// Every key of a client metrics subscription.
pub fn client_metrics_keys() -> impl Iterator<Item = &'static ConfigKey> {
    client_metrics::CLIENT_METRICS.iter()
}

/// The broker key of this name.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    BROKER.get(name).copied()
}

/// The topic key of this name.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static ConfigKey> {
    TOPIC.get(name).copied()
}

/// The group key of this name.
#[must_use]
pub fn group_key(name: &str) -> Option<&'static ConfigKey> {
    GROUP.get(name).copied()
}

/// The broker key that gives a topic key its default.
pub(crate) fn broker_synonym(topic_key: &str) -> Option<&'static str> {
    BROKER_SYNONYMS.iter().find(|(topic, _)| *topic == topic_key).map(|(_, broker)| *broker)
}

/// The other names of a broker key, the strongest first, with what a unit of theirs is in ours
/// (Kafka: `DynamicBrokerConfig.brokerConfigSynonyms`).
pub(crate) fn weaker_names(broker_key: &str) -> &'static [(&'static str, i64)] {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 3_600_000;
    match broker_key {
        "log.retention.ms" => {
            &[("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)]
        }
        "log.roll.ms" => &[("log.roll.hours", HOUR_MS)],
        "log.roll.jitter.ms" => &[("log.roll.jitter.hours", HOUR_MS)],
        "log.flush.interval.ms" => &[("log.flush.scheduler.interval.ms", 1)],
        _ => &[],
    }
}
