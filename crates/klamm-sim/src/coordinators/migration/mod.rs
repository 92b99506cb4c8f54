//! Groups that change their protocol while they run (KIP-848): clients of the classic and of the
//! consumer protocol, the same as in the simulations of either, that take each other's places one by
//! one, in either direction or to and fro, static ones too, against the group coordinator and its
//! log.
//!
//! Whatever happens, no partition has two owners at one time, as the members themselves see it: a
//! member has a partition from the answer that gives it until it has given it up, the coordinator
//! has put the member out of the group, or a classic group has gone on to its next generation.
//! Committed offsets never go back, nor does the generation that becomes the epoch and back, while a
//! member stays; a commit that was answered is in the log. And once nothing more goes wrong the
//! group is stable within a bounded time, every partition is somebody's, and the group is of the
//! protocol of its last members: a classic one if all of them are.
//!
//! What the protocols cannot tell apart is kept from happening, as in the simulations of either; a
//! classic member's JoinGroup and commit say nothing of when they were sent to a group of the
//! consumer protocol either, and are lost when a later request of their member has arrived.

mod client;
mod exchange;
mod journal;
mod options;
mod settled;
mod world;

use super::world::tally;
pub use world::Migration;

tally! {
    /// What a seed did.
    MigrationTally of Migration {
        /// Partitions that members took.
        taken,
        /// Commits that were answered.
        commits,
        /// Memberships that the coordinator ended.
        removed,
        /// Clients that were followed by one of the other protocol.
        switches,
        /// Groups with members that became one of the consumer protocol.
        upgrades,
        /// Groups with members that became a classic one.
        downgrades,
    }
}
