//! From a topic's configuration to what the log and the batch checks need.

use klamm_config::{Compression, Durability, TimestampType, TopicConfig};
use klamm_log as log;
use klamm_records as records;
use klamm_records::{Codec, Rules, TopicCompression};

/// The log's part of a topic's configuration.
#[must_use]
pub fn log_config(topic: &TopicConfig, producer_id_expiration_ms: i64) -> log::LogConfig {
    let positive = |value: i64| u64::try_from(value).unwrap_or(0);
    let finite = |value: i64| (value != i64::MAX).then(|| positive(value));
    log::LogConfig {
        segment_bytes: positive(i64::from(topic.segment_bytes)),
        segment_ms: positive(topic.segment_ms),
        segment_jitter_ms: positive(topic.segment_jitter_ms),
        segment_index_bytes: positive(i64::from(topic.segment_index_bytes)),
        index_interval_bytes: positive(i64::from(topic.index_interval_bytes)),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes.map(positive),
        cleanup: log::Cleanup { delete: topic.cleanup.delete, compact: topic.cleanup.compact },
        delete_retention_ms: topic.delete_retention_ms,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        file_delete_delay_ms: positive(topic.file_delete_delay_ms),
        preallocate: topic.preallocate,
        flush_messages: finite(topic.flush_messages),
        flush_ms: finite(topic.flush_ms),
        durability: match topic.durability {
            Durability::Synced => log::Durability::Synced,
            Durability::PageCache => log::Durability::PageCache,
        },
        producer_id_expiration_ms,
    }
}

/// What the topic asks of produced batches.
#[must_use]
pub fn rules(topic: &TopicConfig) -> Rules {
    let with_level = |codec, level| {
        let compression = records::Compression::with_level(codec, level);
        TopicCompression::Fixed(compression.unwrap_or_else(|_| records::Compression::from(codec)))
    };
    Rules {
        timestamp_type: match topic.message_timestamp_type {
            TimestampType::CreateTime => records::TimestampType::CreateTime,
            TimestampType::LogAppendTime => records::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        max_message_bytes: usize::try_from(topic.max_message_bytes).unwrap_or(0),
        compression: match topic.compression {
            Compression::Producer => TopicCompression::Producer,
            Compression::Uncompressed => TopicCompression::Fixed(Codec::None.into()),
            Compression::Snappy => TopicCompression::Fixed(Codec::Snappy.into()),
            Compression::Gzip(-1) => TopicCompression::Fixed(Codec::Gzip.into()),
            Compression::Gzip(level) => with_level(Codec::Gzip, level),
            Compression::Lz4(level) => with_level(Codec::Lz4, level),
            Compression::Zstd(level) => with_level(Codec::Zstd, level),
        },
        is_compacted: topic.cleanup.compact,
    }
}

#[cfg(test)]
mod tests {
    use klamm_config::{BrokerConfig, ConfigMap, Effect, Properties, topic_keys};

    use super::*;

    /// Keys that are read elsewhere: by the controller, or by whoever answers a produce request.
    const NOT_OF_A_LOG: [&str; 2] = ["min.insync.replicas", "unclean.leader.election.enable"];

    /// A value that is no default, and what it needs beside it.
    fn changed(name: &str) -> Vec<(&'static str, &'static str)> {
        let alone = |value| vec![(topic_key_named(name), value)];
        match name {
            "cleanup.policy" => alone("compact"),
            "compression.type" => alone("zstd"),
            "compression.gzip.level" => vec![("compression.type", "gzip"), alone("3")[0]],
            "compression.lz4.level" => vec![("compression.type", "lz4"), alone("3")[0]],
            "compression.zstd.level" => vec![("compression.type", "zstd"), alone("9")[0]],
            "message.timestamp.type" => alone("LogAppendTime"),
            "min.cleanable.dirty.ratio" => alone("0.25"),
            "preallocate" => alone("true"),
            "klamm.durability" => alone("page-cache"),
            "segment.bytes" => alone("2000000"),
            _ => alone("12345"),
        }
    }

    fn topic_key_named(name: &str) -> &'static str {
        klamm_config::topic_key(name).expect("it is declared").name
    }

    fn said(overrides: &[(&str, &str)]) -> String {
        let broker = BrokerConfig::load(&Properties::default()).expect("the defaults are sound");
        let map: ConfigMap =
            overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let topic = broker.config.topic_defaults.with(&map);
        format!("{:?} {:?}", log_config(&topic, 1), rules(&topic))
    }

    #[test]
    fn every_topic_config_that_acts_changes_what_its_logs_and_batches_are_told() {
        let mut checked = 0;
        for key in topic_keys().filter(|key| key.effect == Effect::Acted) {
            if NOT_OF_A_LOG.contains(&key.name) {
                continue;
            }
            let mut overrides = changed(key.name);
            let with = said(&overrides);
            overrides.pop();
            assert_ne!(with, said(&overrides), "{}", key.name);
            checked += 1;
        }
        assert!(checked > 20, "{checked}");
    }
}
