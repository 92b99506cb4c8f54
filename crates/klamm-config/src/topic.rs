//! A topic's configuration, typed: its own values over the broker's over the defaults.

use crate::keys::broker_synonym;
use crate::reader::Reader;
use crate::value::items;
use crate::{ChangeError, ConfigMap, topic_key};

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Old segments are deleted.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

/// Codec that a topic's batches are stored with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// What the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// gzip at this level; -1 is the library's choice.
    Gzip(i32),
    /// snappy.
    Snappy,
    /// lz4 at this level.
    Lz4(i32),
    /// zstd at this level.
    Zstd(i32),
}

/// Levels of the codecs that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionLevels {
    /// compression.gzip.level.
    pub gzip: i32,
    /// compression.lz4.level.
    pub lz4: i32,
    /// compression.zstd.level.
    pub zstd: i32,
}

/// What a record's time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// Its creation.
    CreateTime,
    /// Its arrival.
    LogAppendTime,
}

/// What acks=all promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The records are on the disks of the in-sync replicas.
    Synced,
    /// The records are in the memory of the in-sync replicas, as in Kafka.
    PageCache,
}

/// A topic's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// cleanup.policy.
    pub cleanup: Cleanup,
    /// compression.type with its level.
    pub compression: Compression,
    /// The levels of all codecs: a topic that names only a codec uses the broker's level of it.
    pub compression_levels: CompressionLevels,
    /// delete.retention.ms.
    pub delete_retention_ms: i64,
    /// file.delete.delay.ms.
    pub file_delete_delay_ms: i64,
    /// flush.messages.
    pub flush_messages: i64,
    /// flush.ms.
    pub flush_ms: i64,
    /// index.interval.bytes.
    pub index_interval_bytes: i32,
    /// max.compaction.lag.ms.
    pub max_compaction_lag_ms: i64,
    /// max.message.bytes.
    pub max_message_bytes: i32,
    /// message.timestamp.after.max.ms.
    pub message_timestamp_after_max_ms: i64,
    /// message.timestamp.before.max.ms.
    pub message_timestamp_before_max_ms: i64,
    /// message.timestamp.type.
    pub message_timestamp_type: TimestampType,
    /// min.cleanable.dirty.ratio.
    pub min_cleanable_dirty_ratio: f64,
    /// min.compaction.lag.ms.
    pub min_compaction_lag_ms: i64,
    /// min.insync.replicas.
    pub min_insync_replicas: i32,
    /// preallocate.
    pub preallocate: bool,
    /// retention.bytes; `None`: no limit.
    pub retention_bytes: Option<i64>,
    /// retention.ms; `None`: no limit.
    pub retention_ms: Option<i64>,
    /// segment.bytes, or internal.segment.bytes where that is set.
    pub segment_bytes: i32,
    /// segment.index.bytes.
    pub segment_index_bytes: i32,
    /// segment.jitter.ms.
    pub segment_jitter_ms: i64,
    /// segment.ms.
    pub segment_ms: i64,
    /// unclean.leader.election.enable.
    pub unclean_leader_election_enable: bool,
    /// klamm.durability.
    pub durability: Durability,
}

impl TopicConfig {
    pub(crate) fn defaults(r: &Reader<'_>) -> Self {
        let mut values = ConfigMap::new();
        for key in crate::topic_keys() {
            let value = match broker_synonym(key.name) {
                Some(broker) => r.text_effective(broker),
                None => key.default.value().map(str::to_owned),
            };
            // A broker key may accept what its topic key does not (-5 for log.retention.ms).
            let value = value.and_then(|value| key.check(&value).ok());
            let value = value.or_else(|| key.default.value().map(str::to_owned));
            values.extend(value.map(|value| (key.name.to_owned(), value)));
        }
        Self::from_values(&|name| values.get(name).map(String::as_str))
    }

    /// A topic's own values over these defaults. A value that its key does not accept counts as
    /// not set: it was checked when it was written, and a log must open in any case.
    #[must_use]
    pub fn with(&self, overrides: &ConfigMap) -> Self {
        let mut values = self.values();
        for (name, value) in overrides {
            if let Some(Ok(value)) = topic_key(name).map(|key| key.check(value)) {
                values.insert(name.clone(), value);
            }
        }
        Self::from_values(&|name| values.get(name).map(String::as_str))
    }

    fn from_values<'v>(value: &dyn Fn(&str) -> Option<&'v str>) -> Self {
        let text = |name| value(name).unwrap_or_default();
        let long = |name| text(name).parse::<i64>().unwrap_or_default();
        let int = |name| text(name).parse::<i32>().unwrap_or_default();
        let limit = |name| Some(long(name)).filter(|n| *n >= 0);
        let policy: Vec<&str> = items(text("cleanup.policy")).collect();
        Self {
            cleanup: Cleanup {
                delete: policy.contains(&"delete"),
                compact: policy.contains(&"compact"),
            },
            compression: match text("compression.type") {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip(int("compression.gzip.level")),
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4(int("compression.lz4.level")),
                "zstd" => Compression::Zstd(int("compression.zstd.level")),
                _ => Compression::Producer,
            },
            compression_levels: CompressionLevels {
                gzip: int("compression.gzip.level"),
                lz4: int("compression.lz4.level"),
                zstd: int("compression.zstd.level"),
            },
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: text("preallocate") == "true",
            retention_bytes: limit("retention.bytes"),
            retention_ms: limit("retention.ms"),
            segment_bytes: match value("internal.segment.bytes") {
                Some(_) => int("internal.segment.bytes"),
                None => int("segment.bytes"),
            },
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
            unclean_leader_election_enable: text("unclean.leader.election.enable") == "true",
            durability: match text("klamm.durability") {
                "page-cache" => Durability::PageCache,
                _ => Durability::Synced,
            },
        }
    }

    /// The values as text, for laying others over them.
    fn values(&self) -> ConfigMap {
        let codec = match self.compression {
            Compression::Producer => "producer",
            Compression::Uncompressed => "uncompressed",
            Compression::Gzip(_) => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4(_) => "lz4",
            Compression::Zstd(_) => "zstd",
        };
        let policy = match self.cleanup {
            Cleanup { delete: true, compact: true } => "compact,delete",
            Cleanup { delete: true, compact: false } => "delete",
            Cleanup { delete: false, compact: true } => "compact",
            Cleanup { delete: false, compact: false } => "",
        };
        let timestamp = match self.message_timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        let durability = match self.durability {
            Durability::Synced => "synced",
            Durability::PageCache => "page-cache",
        };
        let mut values = ConfigMap::new();
        let mut set = |name: &str, value: String| drop(values.insert(name.to_owned(), value));
        set("cleanup.policy", policy.to_owned());
        set("compression.type", codec.to_owned());
        set("message.timestamp.type", timestamp.to_owned());
        set("klamm.durability", durability.to_owned());
        set("min.cleanable.dirty.ratio", self.min_cleanable_dirty_ratio.to_string());
        set("preallocate", self.preallocate.to_string());
        set("unclean.leader.election.enable", self.unclean_leader_election_enable.to_string());
        for (name, number) in self.numbers() {
            set(name, number.to_string());
        }
        values
    }

    fn numbers(&self) -> [(&'static str, i64); 20] {
        [
            ("compression.gzip.level", self.compression_levels.gzip.into()),
            ("compression.lz4.level", self.compression_levels.lz4.into()),
            ("compression.zstd.level", self.compression_levels.zstd.into()),
            ("delete.retention.ms", self.delete_retention_ms),
            ("file.delete.delay.ms", self.file_delete_delay_ms),
            ("flush.messages", self.flush_messages),
            ("flush.ms", self.flush_ms),
            ("index.interval.bytes", self.index_interval_bytes.into()),
            ("max.compaction.lag.ms", self.max_compaction_lag_ms),
            ("max.message.bytes", self.max_message_bytes.into()),
            ("message.timestamp.after.max.ms", self.message_timestamp_after_max_ms),
            ("message.timestamp.before.max.ms", self.message_timestamp_before_max_ms),
            ("min.compaction.lag.ms", self.min_compaction_lag_ms),
            ("min.insync.replicas", self.min_insync_replicas.into()),
            ("retention.bytes", self.retention_bytes.unwrap_or(-1)),
            ("retention.ms", self.retention_ms.unwrap_or(-1)),
            ("segment.bytes", self.segment_bytes.into()),
            ("segment.index.bytes", self.segment_index_bytes.into()),
            ("segment.jitter.ms", self.segment_jitter_ms),
            ("segment.ms", self.segment_ms),
        ]
    }
}

/// Checks the configs that a topic would have, all together (Kafka: `LogConfig.validate`).
///
/// # Errors
/// The first that is wrong.
pub fn check_topic_overrides(
    overrides: &ConfigMap,
    defaults: &TopicConfig,
) -> Result<(), ChangeError> {
    for (name, value) in overrides {
        let key = topic_key(name).ok_or_else(|| ChangeError::UnknownKey(name.clone()))?;
        key.check(value).map_err(|reason| ChangeError::Value {
            key: name.clone(),
            value: value.clone(),
            reason,
        })?;
    }
    let flag =
        |name: &str| overrides.get(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
    if flag("remote.storage.enable") {
        return Err(ChangeError::Conflict(
            "remote.storage.enable is true, but tiered storage is not built".to_owned(),
        ));
    }
    let config = defaults.with(overrides);
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(ChangeError::Conflict(format!(
            "min.compaction.lag.ms ({}) is more than max.compaction.lag.ms ({})",
            config.min_compaction_lag_ms, config.max_compaction_lag_ms
        )));
    }
    Ok(())
}
