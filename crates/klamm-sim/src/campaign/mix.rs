//! What the partitions of a campaign are like, drawn from its seed.

use klamm_log::{Cleanup, Durability, LogConfig};

use super::model::Compaction;
use crate::random::Seeded;

/// How partitions of a world treat old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// So many, none of them compacted, and of one topic all the time.
    Plain(usize),
    /// So many, each of them compacted or not by chance; topics are deleted and made again.
    Any(usize),
}

/// Small segments and indexes, so that few records show much.
pub(super) fn config(random: &mut Seeded) -> LogConfig {
    LogConfig {
        segment_bytes: *random.pick(&[8 * 1024, 9_000, 16 * 1024, 30_000]),
        index_interval_bytes: *random.pick(&[0, 100, 300, 1000]),
        segment_index_bytes: *random.pick(&[200, 1024, 1 << 20]),
        preallocate: random.one_in(5),
        cleanup: Cleanup { delete: true, compact: false },
        retention_ms: None,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

/// Makes a partition a compacted one, or leaves it as it is.
pub(super) fn compacted(
    random: &mut Seeded,
    mix: Mix,
    config: &mut LogConfig,
) -> Option<Compaction> {
    let is_compacted = match mix {
        Mix::Plain(_) => false,
        Mix::Any(_) => random.one_in(2),
    };
    if !is_compacted {
        return None;
    }
    config.cleanup = Cleanup { delete: random.one_in(3), compact: true };
    config.durability = *random.pick(&[Durability::Synced, Durability::PageCache]);
    config.delete_retention_ms = *random.pick(&[0, 500, 3000]);
    // Small ones, so that there is something to clean.
    config.segment_bytes = *random.pick(&[7000, 8 * 1024, 9_000]);
    let delete_retention_ms = config.delete_retention_ms;
    Some(Compaction { delete_retention_ms, ..Compaction::default() })
}
