//! One member of a classic group, and what it is waiting for.

use bytes::Bytes;
use klamm_env::Moment;
use klamm_stdx::Str;

use crate::Ticket;

/// A way to divide partitions that a member understands, and its own part in it (for consumers:
/// the subscription). The broker never looks inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Str,
    /// What the leader needs of this member.
    pub metadata: Bytes,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Chosen by the coordinator.
    pub member_id: Str,
    /// Chosen by the operator; a static member keeps its place over restarts (KIP-345).
    pub instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Str,
    /// How long the others wait for it to rejoin.
    pub rebalance_timeout_ms: i32,
    /// How long it may stay silent.
    pub session_timeout_ms: i32,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// When it is taken for dead; `None` while it waits for an answer of ours.
    pub(crate) expires_at: Option<Moment>,
    /// A join that is not answered yet.
    pub(crate) awaiting_join: Option<Ticket>,
    /// A sync that is not answered yet.
    pub(crate) awaiting_sync: Option<Ticket>,
    /// It has joined but never had an answer.
    pub(crate) is_new: bool,
}

impl Member {
    /// Whether both speak the same protocols with the same metadata, in the same order.
    #[must_use]
    pub fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// What the member said for `protocol`; empty if it does not speak it.
    #[must_use]
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|p| p.name == *protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// The first of the member's protocols that can be chosen.
    pub(crate) fn vote(&self, is_candidate: impl Fn(&Str) -> bool) -> Option<&Str> {
        self.protocols.iter().map(|p| &p.name).find(|name| is_candidate(name))
    }

    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }
}
