//! Groups of the consumer protocol (KIP-848): the broker divides the work, and members are led to
//! their part one heartbeat at a time.
//!
//! ```text
//!             first member joins               target computed            all have their target
//!   Empty ──────────────────────▶ Assigning ──────────────────▶ Reconciling ─────────────▶ Stable
//!     ▲ │                          ▲   ▲                             │                      │ │
//!     │ │ deleted, expired         │   │ joins, leaves, fails, asks  │                      │ │
//!     │ ▼                          │   │ for other topics; topics    │                      │ │
//!     │ gone                       │   └─────────────────────────────┘                      │ │
//!     │                            └────────────────────────────────────────────────────────┘ │
//!     │                                      the last member leaves                           │
//!     └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Three epochs: the group's grows with each change (`decide`, `leave`), the target's is the
//! group's that it was computed for (`target`), and a member's is the target's that it has
//! reached (`reconcile`, where a member's own states are drawn). Everything follows from
//! records: `ConsumerGroup::apply` makes every move, while loading and while serving;
//! `tests::transitions` has each of them.
//! Kafka: `ConsumerGroup`, `GroupMetadataManager.consumerGroup*`.

mod assign;
mod change;
mod decide;
mod deciding;
mod describe;
mod group;
mod heartbeat;
mod leave;
mod limits;
mod member;
mod offsets;
mod partitions;
mod reconcile;
mod record;
mod regex;
mod serve;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod topics;

pub use assign::Assignor;
pub use change::{Change, GroupEpoch, ResolvedRegex, TargetEpoch};
pub(crate) use deciding::{tombstones, updated};
pub use describe::{DescribedConsumer, DescribedConsumerGroup, NamedPartitions};
pub use group::{ConsumerGroup, ConsumerState};
pub use heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
pub(crate) use leave::delete;
pub use limits::ConsumerLimits;
pub use member::{
    Current, JOIN_EPOCH, LEAVE_EPOCH, Member as ConsumerMember, MemberState, STATIC_LEAVE_EPOCH,
    Subscription,
};
pub use partitions::{Owned, Partitions, TopicPartitions};
pub use record::ConsumerRecord;
pub(crate) use topics::metadata_hash;
