//! The runtime for replicated state machines on internal topics (Kafka: `CoordinatorRuntime`).
//!
//! A coordinator is a set of [`Shard`]s, one for each partition of its topic that this broker
//! leads. A shard decides; this crate loads it from its log, gives it requests one at a time,
//! writes what it wants written, and tells it when that is committed. Nothing that depends on a
//! record is answered before the record is committed (invariant A5).
//!
//! ```text
//!            load                    log replayed                     unload
//!   absent ────────▶ loading ─────────────────────────▶ active ────────────────▶ absent
//!                 COORDINATOR_LOAD_IN_PROGRESS                 NOT_COORDINATOR
//! ```

mod agenda;
mod runtime;
mod seeded_bugs;
mod shard;
mod state;
#[cfg(test)]
mod state_tests;
mod task;

pub use runtime::{Coordinator, CoordinatorHandle, QUEUE_MAX};
#[cfg(feature = "seeded-bugs")]
pub use seeded_bugs::with_bug;
pub use seeded_bugs::{CoordinatorBug, is_seeded};
pub use shard::{
    Batch, Effects, Factory, KeyValue, Loaded, LoadedChunk, Outcome, PartitionLog, Shard, Ticket,
    Time, TransactionEnd, TransactionalProducer, partition_for,
};
pub use state::ShardState;
