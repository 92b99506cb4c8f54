//! Consumer groups and their committed offsets: one [`GroupShard`] for each partition of
//! `__consumer_offsets`, a plain state machine.
//!
//! A request goes in with a [`Ticket`]; answers and records come out in [`Actions`]. What must be
//! in the log before it is answered is a [`Write`], and the shard hears of its commit or failure.
//! No clock, no disk, no task here: klamm-coordinator runs the shard.

mod actions;
mod bounds;
pub mod classic;
pub mod consumer;
mod deletion;
mod expiry;
#[cfg(test)]
mod hostile;
mod look;
mod migration;
mod offsets;
mod record;
mod request;
mod roll;
mod room;
mod runs;
mod shard;
mod snapshot;
mod writes;

pub use actions::{Actions, Author, Then, Write};
pub use bounds::Bounds;
pub use classic::{
    Group, Heartbeat, JoinRequest, Joined, JoinedMember, Leaver, LeftMember, Limits, Member,
    Protocol, State, SyncRequest, Synced,
};
pub use consumer::{
    ConsumerGroup, ConsumerHeartbeat, ConsumerLimits, DescribedConsumer, DescribedConsumerGroup,
    HeartbeatAnswer, NamedPartitions, Refusal,
};
pub use migration::{Downgrade, Follows};
pub use offsets::{
    CommittedOffset, FoundOffset, MemberEpochs, OffsetCommit, OffsetFetch, OffsetLimits,
    OffsetOfPartition, OffsetToCommit, OffsetsOfGroup, PartitionResult, Stability,
    TransactionalCommit,
};
pub use record::{Record, RecordError};
pub use request::{DescribedGroup, DescribedMember, GroupFilter, ListedGroup, Request, Response};
pub use shard::GroupShard;
pub use snapshot::{GroupSnapshot, MemberSnapshot};

pub use klamm_coordinator::{Ticket, Time};
