//! How records are fetched.

use std::time::Duration;

use klamm_model::IsolationLevel;

/// How records are fetched. The defaults are those of Kafka's Java consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// What is seen of transactions.
    pub isolation: IsolationLevel,
    /// How long the broker waits for [`Self::fetch_min_bytes`].
    pub fetch_max_wait: Duration,
    /// Bytes below which the broker waits.
    pub fetch_min_bytes: i32,
    /// Bytes of one answer, about.
    pub fetch_max_bytes: i32,
    /// Bytes of one partition in an answer, about.
    pub max_partition_fetch_bytes: i32,
    /// Records that [`Consumer::poll`](super::Consumer::poll) gives at once.
    pub max_poll_records: usize,
    /// Where to go when the position is no longer (or not yet) in the log.
    pub reset: OffsetReset,
}

/// Where to go without a position that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// To the start.
    Earliest,
    /// To the end.
    Latest,
    /// Nowhere: it is an error.
    None,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            isolation: IsolationLevel::ReadUncommitted,
            fetch_max_wait: Duration::from_millis(500),
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 * 1024 * 1024,
            max_partition_fetch_bytes: 1024 * 1024,
            max_poll_records: 500,
            reset: OffsetReset::Latest,
        }
    }
}
