//! What JoinGroup asks, and what it is answered.

use bytes::Bytes;
use klamm_model::{ErrorCode, GenerationId};
use klamm_stdx::Str;

use super::Protocol;

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Empty for a member that has no id yet.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// How long it may stay silent.
    pub session_timeout_ms: i32,
    /// How long the others wait for it.
    pub rebalance_timeout_ms: i32,
    /// The kind of group.
    pub protocol_type: Str,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// From version 4: an id is given out first and the member joins with it (KIP-394).
    pub requires_known_member_id: bool,
    /// From version 9: a static leader that returns may be told to skip the assignment (KIP-814).
    pub supports_skipping_assignment: bool,
    /// An id for the member, made by the caller from a random source; used if it has none.
    pub new_member_id: Str,
}

/// One line of what the leader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// What it said for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Success or why not.
    pub error: ErrorCode,
    /// The generation that was joined; -1 without one.
    pub generation_id: GenerationId,
    /// The kind of group.
    pub protocol_type: Option<Str>,
    /// The protocol chosen.
    pub protocol_name: Option<Str>,
    /// Who divides the work.
    pub leader_id: Str,
    /// The member that was asked about.
    pub member_id: Str,
    /// Whether the leader keeps the assignment that exists.
    pub skip_assignment: bool,
    /// For the leader: everybody. For others: empty.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode, member_id: Str) -> Self {
        Self {
            error,
            generation_id: GenerationId(-1),
            protocol_type: None,
            protocol_name: None,
            leader_id: Str::new(),
            member_id,
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}
