//! Groups that change their protocol while they run (KIP-848), and classic members of a group of
//! the consumer protocol meanwhile. It never changes a group by itself: records come out, and
//! the shard follows them when they are in the log.
//!
//! ```text
//!                 a member joins by heartbeat: `upgrade`
//!   classic ──────────────────────────────────────────────────▶ consumer
//!      ▲                                                            │
//!      └────────────────────────────────────────────────────────────┘
//!         the last member of the consumer protocol leaves, is removed, or a classic
//!         process takes its static place: `downgrade`
//! ```
//! Either arrow needs `group.consumer.migration.policy`; an empty group changes in any case.
//! Members keep ids, subscriptions and partitions, and the generation becomes the epoch and back.
//!
//! A classic member of a consumer group has its epoch for a generation, nobody leads, and
//! SyncGroup tells it its part (`members`):
//!
//! ```text
//!              the target is newer, or it has to give something up, or what it waits for is free
//!   Settled ─────────────────────────────────────────────────────────────────▶ Told to rejoin
//!     ▲  │                                                                        │      │
//!     │  │ it joins                                                      it joins │      │
//!     │  ▼                                                                        │      │
//!   Joined ◀──────────────────────────────────────────────────────────────────────┘      │
//!        │                                                                               │
//!        │ it does not sync in time          gone          it does not rejoin in time    │
//!        └──────────────────────────────────▶    ◀───────────────────────────────────────┘
//! ```
//! (Joined goes back to Settled when it syncs.) The tests have each arrow, and members of both
//! protocols that do anything at random. Kafka: `GroupMetadataManager.convertTo…`,
//! `classicGroupJoinToConsumerGroup` and the like.

mod downgrade;
mod embedded;
mod join;
mod members;
mod policy;
#[cfg(test)]
mod tests;
mod upgrade;

pub use downgrade::{Downgrade, Follows};
pub(crate) use downgrade::{Onto, after_removal};
pub(crate) use embedded::subscribed_topics;
pub(crate) use policy::MigrationPolicy;
pub(crate) use upgrade::upgrade;

/// The protocol type of consumers; Kafka Connect's workers, for one, have another.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";
