//! The broker's bounds for transactions.

/// The broker's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub remove_interval_ms: u64,
    /// How long a request waits for markers (`add.partitions.to.txn.retry.backoff.max.ms`).
    pub wait_ms: u64,
    /// Transactional ids of one shard; a new one takes the place of the one idle for longest.
    pub ids_max: usize,
}
