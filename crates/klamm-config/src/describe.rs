//! What DescribeConfigs tells: each key's value, where it comes from, and what lies below it.

use crate::keys::{broker_synonym, weaker_names};
use crate::layers::scaled;
use crate::{
    ConfigKey, ConfigMap, ConfigType, Layers, broker_key, broker_keys, group_keys, topic_keys,
};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic.
    DynamicTopic,
    /// One broker, while it runs.
    DynamicBroker,
    /// All brokers, while they run.
    DynamicDefaultBroker,
    /// The file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// The group.
    DynamicGroup,
}

impl ConfigSource {
    /// The number on the wire (Kafka: `DescribeConfigsResponse.ConfigSource`).
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::DynamicGroup => 8,
        }
    }
}

/// A value at one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key that was set there.
    pub name: String,
    /// Its value; `None` for secrets.
    pub value: Option<String>,
    /// The layer.
    pub source: ConfigSource,
}

/// A key as DescribeConfigs tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConfig {
    /// The key.
    pub name: &'static str,
    /// Its value; `None` for secrets and for keys without one.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// All values there are for it, the one that holds first.
    pub synonyms: Vec<Synonym>,
    /// Its type.
    pub config_type: ConfigType,
    /// Its meaning.
    pub doc: &'static str,
    /// Whether it cannot be changed while the node runs.
    pub read_only: bool,
    /// Whether its value is never shown.
    pub sensitive: bool,
}

/// A topic's keys; `overrides` are its own configs.
#[must_use]
pub fn describe_topic(layers: &Layers<'_>, overrides: &ConfigMap) -> Vec<DescribedConfig> {
    let own = Own { map: overrides, source: ConfigSource::DynamicTopic };
    topic_keys().map(|key| described(key, layers, Some(&own), broker_synonym(key.name))).collect()
}

/// A group's keys; `overrides` are its own configs.
#[must_use]
pub fn describe_group(layers: &Layers<'_>, overrides: &ConfigMap) -> Vec<DescribedConfig> {
    let own = Own { map: overrides, source: ConfigSource::DynamicGroup };
    group_keys()
        .map(|key| {
            let broker = broker_key(&format!("group.{}", key.name)).map(|key| key.name);
            described(key, layers, Some(&own), broker)
        })
        .collect()
}

/// A broker's keys.
#[must_use]
pub fn describe_broker(layers: &Layers<'_>) -> Vec<DescribedConfig> {
    broker_keys().map(|key| described(key, layers, None, Some(key.name))).collect()
}

struct Own<'a> {
    map: &'a ConfigMap,
    source: ConfigSource,
}

fn described(
    key: &'static ConfigKey,
    layers: &Layers<'_>,
    own: Option<&Own<'_>>,
    broker_name: Option<&'static str>,
) -> DescribedConfig {
    let mut synonyms = Vec::new();
    let mut value = None;
    let mut add = |name: &str, text: &str, factor: i64, source: ConfigSource| {
        let sensitive = key.is_sensitive();
        value.get_or_insert_with(|| scaled_or_same(text, factor));
        let shown = (!sensitive).then(|| text.to_owned());
        synonyms.push(Synonym { name: name.to_owned(), value: shown, source });
    };
    if let Some(text) = own.and_then(|own| own.map.get(key.name)) {
        add(key.name, text, 1, own.map_or(ConfigSource::Default, |own| own.source));
    }
    if let Some(name) = broker_name {
        let chain = || std::iter::once((name, 1)).chain(weaker_names(name).iter().copied());
        for (name, factor) in chain() {
            for (text, source) in given_values(layers, name) {
                add(name, text, factor, source);
            }
        }
        for (name, factor) in chain() {
            if let Some(text) = broker_key(name).and_then(|key| key.default.value()) {
                add(name, text, factor, ConfigSource::Default);
            }
        }
    } else if let Some(text) = key.default.value() {
        add(key.name, text, 1, ConfigSource::Default);
    }
    let source = synonyms.first().map_or(ConfigSource::Default, |s| s.source);
    DescribedConfig {
        name: key.name,
        value: value.filter(|_| !key.is_sensitive()),
        source,
        synonyms,
        config_type: key.config_type,
        doc: key.doc,
        read_only: !key.is_dynamic(),
        sensitive: key.is_sensitive(),
    }
}

fn scaled_or_same(text: &str, factor: i64) -> String {
    if factor == 1 { text.to_owned() } else { scaled(text, factor) }
}

fn given_values<'a>(layers: &Layers<'a>, name: &str) -> Vec<(&'a str, ConfigSource)> {
    let per_broker = layers.per_broker.get(name).map(String::as_str);
    let cluster = layers.cluster.get(name).map(String::as_str);
    [
        per_broker.map(|v| (v, ConfigSource::DynamicBroker)),
        cluster.map(|v| (v, ConfigSource::DynamicDefaultBroker)),
        layers.file.value(name).map(|v| (v, ConfigSource::StaticBroker)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
