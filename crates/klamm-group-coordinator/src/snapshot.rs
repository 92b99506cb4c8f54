//! A classic group as the log keeps it.

use bytes::Bytes;
use klamm_model::{GenerationId, Timestamp};
use klamm_persisted::group::{GroupMetadataValue, group_metadata_value::MemberMetadata};
use klamm_stdx::Str;

use crate::classic::{Group, Limits, Member, Protocol, State};

/// What the log keeps of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Its name.
    pub group_id: Str,
    /// The kind of group; empty for one that only stores offsets.
    pub protocol_type: Str,
    /// The generation.
    pub generation_id: GenerationId,
    /// The protocol chosen.
    pub protocol_name: Option<Str>,
    /// Who divides the work.
    pub leader_id: Option<Str>,
    /// Since when it is as it is.
    pub state_since: Timestamp,
    /// Its members.
    pub members: Vec<MemberSnapshot>,
}

/// What the log keeps of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSnapshot {
    /// Chosen by the coordinator.
    pub member_id: Str,
    /// Chosen by the operator.
    pub instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it said for the chosen protocol.
    pub subscription: Bytes,
    /// Its part.
    pub assignment: Bytes,
}

impl GroupSnapshot {
    /// The group as it is now, with `assignments` instead of the members' own where given; they are
    /// in the order of the members' ids.
    pub(crate) fn of(group: &Group, assignments: &[(Str, Bytes)]) -> Self {
        let protocol = group.protocol_name().cloned().unwrap_or_default();
        let member = |m: &Member| MemberSnapshot {
            member_id: m.member_id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout_ms: m.rebalance_timeout_ms,
            session_timeout_ms: m.session_timeout_ms,
            subscription: m.metadata(&protocol),
            assignment: match assignments.binary_search_by(|(id, _)| id.cmp(&m.member_id)) {
                Ok(at) => assignments[at].1.clone(),
                Err(_) => m.assignment.clone(),
            },
        };
        Self {
            group_id: group.group_id.clone(),
            protocol_type: group.protocol_type().cloned().unwrap_or_default(),
            generation_id: group.generation_id(),
            protocol_name: group.protocol_name().cloned(),
            leader_id: group.leader_id().cloned(),
            state_since: group.state_since(),
            members: group.members().map(member).collect(),
        }
    }

    /// The group that was written: stable if it had members, else empty.
    pub(crate) fn into_group(self, limits: Limits) -> Group {
        let mut group = Group::new(self.group_id, limits, self.state_since);
        group.generation_id = self.generation_id;
        group.protocol_type = (!self.protocol_type.is_empty()).then_some(self.protocol_type);
        group.state = if self.members.is_empty() { State::Empty } else { State::Stable };
        group.leader_id = self.leader_id.filter(|_| !self.members.is_empty());
        for member in self.members {
            let name = self.protocol_name.clone().unwrap_or_default();
            let protocols = vec![Protocol { name, metadata: member.subscription }];
            let loaded = Member {
                member_id: member.member_id,
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols,
                assignment: member.assignment,
                expires_at: None,
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
            };
            group.put_member(loaded);
        }
        group.protocol_name = self.protocol_name.filter(|_| group.state == State::Stable);
        group
    }

    pub(crate) fn to_value(&self) -> GroupMetadataValue {
        let member = |m: &MemberSnapshot| MemberMetadata {
            member_id: m.member_id.clone(),
            group_instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout_ms,
            session_timeout: m.session_timeout_ms,
            subscription: m.subscription.clone(),
            assignment: m.assignment.clone(),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation_id.0,
            protocol: self.protocol_name.clone(),
            leader: self.leader_id.clone(),
            current_state_timestamp: self.state_since.0,
            members: self.members.iter().map(member).collect(),
        }
    }

    pub(crate) fn from_value(group_id: Str, value: GroupMetadataValue) -> Self {
        let member = |m: MemberMetadata| MemberSnapshot {
            member_id: m.member_id.detached(),
            instance_id: m.group_instance_id.map(|id| id.detached()),
            client_id: m.client_id.detached(),
            client_host: m.client_host.detached(),
            rebalance_timeout_ms: if m.rebalance_timeout < 0 {
                m.session_timeout
            } else {
                m.rebalance_timeout
            },
            session_timeout_ms: m.session_timeout,
            subscription: Bytes::copy_from_slice(&m.subscription),
            assignment: Bytes::copy_from_slice(&m.assignment),
        };
        Self {
            group_id,
            protocol_type: value.protocol_type.detached(),
            generation_id: GenerationId(value.generation),
            protocol_name: value.protocol.map(|name| name.detached()),
            leader_id: value.leader.map(|id| id.detached()),
            state_since: Timestamp(value.current_state_timestamp),
            members: value.members.into_iter().map(member).collect(),
        }
    }
}
