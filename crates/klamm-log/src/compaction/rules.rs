//! What the decisions of a cleaning run go by, and the count of what they came to.

use std::collections::HashMap;

use klamm_model::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// What is remembered of a producer that is still active (Kafka: `LastRecord`): the batch with
/// its last sequence number, or, after a marker alone, its epoch, must not be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRecord {
    pub(super) data: LastData,
    pub(super) epoch: ProducerEpoch,
}

/// Which batch has a producer's last sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastData {
    /// It has sent none since its last marker.
    Nothing,
    /// The one that ends here, or, once what is not committed was cut off, there.
    At {
        /// Of all.
        last: Offset,
        /// Of those that nobody can cut off any more.
        stable: Offset,
    },
    /// Those that are remembered may all be cut off: any may be it then.
    Any,
}

/// What the decisions of one run go by.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) now: Timestamp,
    pub(super) delete_retention_ms: i64,
    pub(super) last_records: HashMap<ProducerId, LastRecord>,
}

impl Rules {
    /// The last offsets of the batches that producers need, in order; `None` if any may be needed.
    pub(super) fn needed_batches(&self) -> Option<Vec<Offset>> {
        let mut needed = Vec::new();
        for known in self.last_records.values() {
            match known.data {
                LastData::Nothing => {}
                LastData::At { last, stable } => needed.extend([last, stable]),
                LastData::Any => return None,
            }
        }
        needed.sort_unstable();
        Some(needed)
    }
}

/// What was seen and kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) records_read: u64,
    pub(super) records_kept: u64,
    /// Records without a key: a compacted topic has no place for them.
    pub(super) without_key: u64,
    /// Batches, or extents of them, that are not what they were, or no more.
    pub(super) batches_changed: u64,
}
