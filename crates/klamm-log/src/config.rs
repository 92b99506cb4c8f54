//! What a topic's configuration says about its logs.

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// They are deleted by age and size.
    pub delete: bool,
    /// The last record of each key is kept.
    pub compact: bool,
}

/// What acks=all means (`klamm.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On the disk.
    #[default]
    Synced,
    /// In the page cache, as with Kafka.
    PageCache,
}

/// A log's configuration; the defaults are Kafka's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: u64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `retention.ms`; `None` keeps for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`; `i64::MAX` is no limit.
    pub max_compaction_lag_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: u64,
    /// `preallocate`.
    pub preallocate: bool,
    /// `flush.messages`; `None` leaves it to the kernel.
    pub flush_messages: Option<u64>,
    /// `flush.ms`; `None` leaves it to the kernel.
    pub flush_ms: Option<u64>,
    /// `klamm.durability`.
    pub durability: Durability,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        const WEEK_MS: i64 = 7 * 24 * 3_600_000;
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: WEEK_MS as u64,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_ms: Some(WEEK_MS),
            retention_bytes: None,
            cleanup: Cleanup { delete: true, compact: false },
            delete_retention_ms: 24 * 3_600_000,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            flush_messages: None,
            flush_ms: None,
            durability: Durability::Synced,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}

impl LogConfig {
    /// The age at which a segment is sealed: where the log is compacted no later than its oldest
    /// record may stay dirty (KIP-354; Kafka: `LogConfig.maxSegmentMs`).
    pub(crate) fn segment_ms_max(&self) -> u64 {
        let lag_ms = u64::try_from(self.max_compaction_lag_ms).unwrap_or(0);
        if self.cleanup.compact && lag_ms > 0 {
            return self.segment_ms.min(lag_ms);
        }
        self.segment_ms
    }
}
