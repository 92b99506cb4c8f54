//! Groups of the consumer protocol (KIP-848): members that join by name and by pattern, take and
//! give up partitions, commit, fall silent, leave, die and come back, static ones too, while topics
//! come, go and grow, against the group coordinator and its log.
//!
//! Whatever happens, no partition has two owners at one time, as the members themselves see it: a
//! member owns a partition from the answer that gives it until it has given it up, or the
//! coordinator has put it out of the group. Members are assigned topics that exist and that they
//! read, and no others. The epochs of the group, of its target and of its members never go back,
//! nor do committed offsets; a commit that was answered is in the log; offsets of topics that
//! somebody reads do not expire; of a write that the log refuses nothing is seen. And once nothing more goes wrong, the group is stable within a
//! bounded time, and every partition is read.
//!
//! What the protocol cannot tell apart is kept from happening, as a connection keeps it: within an
//! epoch, and from one epoch to the next, no request says when it was sent, so that an old heartbeat
//! would be taken for what its member has now, and an old commit for a new one; and a commit in any
//! older epoch is as good as a new one while its partition stays with the member (KIP-1251). Such
//! requests are lost when a later one of their member has arrived. All others arrive, however late.

pub(super) mod cluster;
mod exchange;
pub(super) mod journal;
mod legal;
pub(super) mod member;
pub(super) mod options;
mod settled;
mod world;

use super::world::tally;
pub use world::ConsumerGroups;

tally! {
    /// What a seed did.
    ConsumerGroupTally of ConsumerGroups {
        /// Partitions that members took.
        taken,
        /// Commits that were answered.
        commits,
        /// Memberships that the coordinator ended.
        removed,
        /// Tombstones of offsets.
        expired,
        /// Topics that were deleted.
        deleted_topics,
    }
}
