//! Classic groups: members agree through the broker, and their leader divides the work.
//!
//! ```text
//!              first member joins                 all have joined, or time is up
//!   Empty ─────────────────────▶ PreparingRebalance ─────────────────────▶ CompletingRebalance
//!   │   ▲                          │    ▲    ▲                              │            │
//!   │   └──────────────────────────┘    │    └──────────────────────────────┘            │
//!   │           nobody is left          │        a member joins, changes, leaves         │ leader's
//!   │ deleted, or                       │        or fails, also the leader               │ assignment
//!   ▼ nothing left to keep              │                                                ▼
//!  Dead                                 └───────────────────────────────────────────── Stable
//!                                               a member joins, changes, leaves or fails
//! ```
//! From any state a group may become one of the consumer protocol; then it is Dead here
//! (`migration`). `Group::prepare_rebalance`, `Group::complete_join`,
//! `Group::on_assignment_committed` and `Group::forget` make the moves; `tests::transitions` has
//! each of them. Kafka: `ClassicGroup`, `GroupMetadataManager.classicGroup*`.

mod group;
mod join;
mod join_request;
mod leave;
mod limits;
mod member;
mod rebalance;
mod roster;
mod serve;
mod state;
mod static_join;
mod sync;
#[cfg(test)]
mod tests;

pub use group::{Group, Membership};
pub use join_request::{JoinRequest, Joined, JoinedMember};
pub use leave::{Leaver, LeftMember};
pub use limits::Limits;
pub use member::{Member, Protocol};
pub use state::State;
pub use sync::{Heartbeat, SyncRequest, Synced};
