//! What a partition remembers of producers (KIP-98, KIP-360, KIP-890): enough to store a batch once and
//! in order, and to know which transactions are open.
//!
//! ```text
//! entry         one producer and its last batches      state         all of them
//! marker        what ends a transaction                verification  what may begin one
//! rules         which batches are taken, by all of that
//! snapshot      them as a file                         snapshots     which files there are
//! ```

pub(crate) mod entry;
pub(crate) mod marker;
pub(crate) mod rules;
pub(crate) mod snapshot;
pub(crate) mod snapshots;
pub(crate) mod state;
pub(crate) mod verification;
