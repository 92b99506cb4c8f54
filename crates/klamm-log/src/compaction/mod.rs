//! Compaction: of each key the last record stays (Kafka: `LogCleaner`, `Cleaner`; KIP-58, KIP-354,
//! KIP-534). Offsets never change, and nothing at or above the last stable offset is touched.
//!
//! ```text
//! plan      which part of a log is dirty, which log is the filthiest, which segments become one
//! keys      the last offset of each key of the dirty part, and which records are superseded
//! extents   where their batches lie: what is superseded as a whole is not read again
//! filter    a batch in, its survivors out; survival says which records those are, transactions
//!           what an aborted one leaves behind
//! ─────────────────────────────── above decides, below does ──────────────────────────────────
//! source    batches of a segment, checked        target    the segment that replaces a group
//! learned   the dirty part, read once            swap      the new segment takes its place
//! cleaner   one log from its first dirty offset  run       what is asked of the log meanwhile
//! ```

mod cleaner;
mod extents;
mod filter;
mod keys;
mod learned;
mod plan;
mod rewrite;
mod rules;
mod run;
mod source;
mod state;
mod superseded;
mod survival;
mod swap;
mod target;
mod terms;
mod transactions;

pub use cleaner::Cleaner;
pub use keys::KeySecret;
pub use plan::{Assessment, filthiest};
pub use state::Candidate;
pub(crate) use state::CompactionState;
pub use terms::{CleanError, CleanReport, CleanerOptions, LogOwner, Pace, Stopped};
