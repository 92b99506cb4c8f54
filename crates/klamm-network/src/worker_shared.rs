//! What the connections of a worker share.

use std::cell::RefCell;
use std::sync::Arc;

use klamm_env::Clock;

use crate::NetworkStats;
use crate::options::NetworkOptions;
use crate::permits::MemoryPermits;
use crate::pool::FramePool;

/// Bytes that one read can take; shared by all connections of the worker.
const SCRATCH_BYTES: usize = 64 * 1024;

/// One of it on each worker.
pub(crate) struct WorkerShared {
    pub(crate) options: Arc<NetworkOptions>,
    pub(crate) stats: Arc<NetworkStats>,
    /// Of frames whose bytes are still on their way, until they are handled.
    pub(crate) permits: MemoryPermits,
    /// Of frames that were whole when they were seen: a promise of bytes that never come must
    /// not stop those that did.
    pub(crate) whole_permits: MemoryPermits,
    pub(crate) pool: FramePool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) scratch: RefCell<Vec<u8>>,
}

/// The buffer that all connections of a worker read into.
pub(crate) fn new_scratch() -> RefCell<Vec<u8>> {
    RefCell::new(vec![0; SCRATCH_BYTES])
}
