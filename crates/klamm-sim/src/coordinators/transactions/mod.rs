//! Transactions: producers of both protocols against the transaction coordinator, the group
//! coordinator that takes their offsets, and the partitions that they write to.
//!
//! Whatever happens, a reader of committed records sees every committed transaction whole and
//! once, and nothing of another; offsets count exactly with their transaction and never go back;
//! no two producers are given the same epoch; the coordinator knows of no transaction what is not
//! written, so that nobody sees anything of a write that was refused; and nothing stays open for longer than its timeout.
//! Each seed draws what it is like: protocols, timeouts, how much goes wrong.
//!
//! What v1 cannot tell apart is kept from happening: one epoch serves many transactions, so that a
//! request which arrives when its transaction is over may be taken for one of the next (which is
//! why KIP-890 exists). A request of a v1 client is lost once the client has asked the next. With
//! v2 every copy arrives, however late.

mod broker;
mod client;
mod ledger;
mod markers;
mod options;
mod requests;
#[cfg(test)]
mod schedules;
mod world;

use super::world::tally;
pub use world::Transactions;

tally! {
    /// What a seed did.
    TransactionTally of Transactions {
        /// Transactions that were committed, as their clients know.
        committed,
        /// Markers that were written again because nobody heard what became of them.
        failed_markers,
        /// Producers that were fenced and came back as another instance.
        comebacks,
    }
}
