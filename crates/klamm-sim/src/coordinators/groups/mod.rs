//! Classic groups: members that join, divide the work, commit offsets, fall silent, leave and come
//! back, against the group coordinator and its log.
//!
//! Whatever happens, within a generation no partition has two owners; generations and committed
//! offsets never go back, those that transactions commit neither; what is told is committed, and
//! what was answered is in the log; offsets expire only while the group is empty; and a stable group
//! is what its log says to the last member, so that nobody sees anything of a write that was
//! refused. Once nothing more goes wrong the group is stable within a bounded time, every member
//! that lives is in it, and every partition is somebody's. Each seed draws what it is like:
//! timeouts, static members, transactions, how much goes wrong and how often the log refuses.
//!
//! A live member's requests arrive in order, as on a connection; what a member sent in a
//! generation before arrives as late and as often as it likes.

mod exchange;
mod journal;
pub(super) mod member;
pub(super) mod options;
mod promises;
mod settled;
mod transactions;
mod words;
mod world;

use super::world::tally;
pub use world::Groups;

tally! {
    /// What a seed did.
    GroupTally of Groups {
        /// Parts of members in generations.
        assignments,
        /// Commits that were answered.
        commits,
        /// Tombstones of offsets.
        expired,
        /// Tombstones of groups.
        deleted,
        /// Static members that were told that another has their name.
        fenced,
        /// Static members that came back without a rebalance.
        static_returns,
        /// Transactions that were committed.
        transactions,
    }
}
