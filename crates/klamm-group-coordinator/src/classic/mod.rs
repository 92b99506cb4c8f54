//! Classic groups: members agree through the broker, and their leader divides the work.
//!
//! ```text
//!              first member joins                 all have joined, or time is up
//!   Empty ─────────────────────▶ PreparingRebalance ─────────────────────▶ CompletingRebalance
//!     ▲  │ deleted                 ▲    │ nobody left                        │        │
//!     │  ▼                         │    ▼                                    │        │ leader's
//!     │ Dead                       │  Empty                                  │        │ assignment
//!     │                            │     a member joins, leaves or fails     │        ▼
//!     │                            ├─────────────────────────────────────────┘     Stable
//!     │                            │     a member joins, changes, leaves or fails     │
//!     │                            └──────────────────────────────────────────────────┘
//! ```
//! `Group::prepare_rebalance`, `Group::complete_join`, `Group::on_assignment_committed` and
//! `Group::forget` make the moves. Kafka: `ClassicGroup`, `GroupMetadataManager.classicGroup*`.

mod group;
mod join;
mod leave;
mod member;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;

pub use group::{Group, Limits, Membership, State};
pub use join::{JoinRequest, Joined, JoinedMember};
pub use leave::{Leaver, LeftMember};
pub use member::{Member, Protocol};
pub use sync::{Heartbeat, SyncRequest, Synced};
