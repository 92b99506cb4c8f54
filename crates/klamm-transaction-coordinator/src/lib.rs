//! Transactions: one [`TransactionShard`] for each partition of `__transaction_state`, a plain
//! state machine.
//!
//! A transactional id has one [`Transaction`] at a time. What becomes of it is a record in the log
//! before anybody hears of it; that it ended is written into every partition that it touched, as a
//! marker, and only then is it complete.
//!
//! ```text
//!                 InitProducerId
//!                  ┌────────┐
//!                  ▼        │    AddPartitionsToTxn
//!   (new) ──────▶ Empty ────┴───────────────────────────▶ Ongoing ◀─┐ more partitions
//!                  ▲ │ EndTxn(abort), v2                   │  │  └──┘
//!                  │ │                      EndTxn(commit) │  │ EndTxn(abort), timeout,
//!   InitProducerId │ └──────────────┐                      │  │ InitProducerId of another
//!                  │                ▼                      ▼  ▼
//!                  │           PrepareAbort ◀──────────────┼──┘
//!                  │                │ all markers     PrepareCommit
//!                  │                ▼ written              │ all markers written
//!                  ├───────── CompleteAbort                ▼
//!                  └───────────────────────────────── CompleteCommit ──▶ Ongoing, or as Empty
//!
//!   Empty, CompleteCommit, CompleteAbort ── transactional.id.expiration.ms ──▶ (gone)
//! ```
//!
//! Sources: Kafka's `TransactionCoordinator` and `TransactionMetadata`, KIP-98, KIP-360, KIP-890.
//! Three things are otherwise than in Kafka. A request that comes while markers are being written
//! waits for them for a moment instead of being sent away with CONCURRENT_TRANSACTIONS, so that a
//! producer's next transaction starts without a round of retries. Fencing a producer bumps its
//! epoch once, with either protocol, where Kafka's v2 bumps it twice, so that the epoch before is
//! not taken for a repeated question; here the record says v1, which does the same, and the fenced
//! producer hears the same errors. And a producer that begins anew by itself while its transaction
//! is open gets its next epoch once that is aborted; Kafka fences it when it asks again.

mod actions;
mod ends;
mod figures;
mod ids;
mod init;
mod limits;
mod parked;
mod producer;
mod record;
mod request;
mod runs;
mod shard;
mod state;
mod timers;
mod transaction;

#[cfg(test)]
mod tests;

pub use actions::{Actions, MarkersToWrite, Then, Write};
pub use figures::Figures;
pub use limits::Limits;
pub use producer::{Outcome, ProducerIdAndEpoch, Protocol};
pub use record::{Record, RecordError};
pub use request::{DescribedTransaction, ListedTransaction, Request, Response, TransactionFilter};
pub use shard::TransactionShard;
pub use state::State;
pub use transaction::Transaction;

pub use klamm_coordinator::{Ticket, Time};
