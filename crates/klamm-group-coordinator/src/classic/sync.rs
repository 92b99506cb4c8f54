//! Assignments from the leader to the members, and heartbeats.

use bytes::Bytes;
use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::{ErrorCode, GenerationId};
use klamm_stdx::Str;

use super::group::Group;
use super::state::State;
use crate::{Actions, Response, Ticket, Time};

/// A SyncGroup request.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The member.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// The generation it believes in.
    pub generation_id: GenerationId,
    /// From version 5: the kind of group it believes in.
    pub protocol_type: Option<Str>,
    /// From version 5: the protocol it believes in.
    pub protocol_name: Option<Str>,
    /// From the leader: each member's part. From others: empty.
    pub assignments: Vec<(Str, Bytes)>,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Success or why not.
    pub error: ErrorCode,
    /// The kind of group.
    pub protocol_type: Option<Str>,
    /// The protocol chosen.
    pub protocol_name: Option<Str>,
    /// The member's part.
    pub assignment: Bytes,
}

impl Synced {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

/// A Heartbeat request.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The member.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// The generation it believes in.
    pub generation_id: GenerationId,
}

impl Group {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn on_sync(
        &mut self,
        time: Time,
        request: &SyncRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        if let Err(error) = self.check_sync(request) {
            return actions.reply(ticket, Response::Sync(Synced::refused(error)));
        }
        let member_id = request.member_id.clone();
        self.keep_alive(&member_id, time.now);
        self.pending_sync.remove(&member_id);
        if self.state == State::Stable {
            return actions.reply(ticket, Response::Sync(self.synced(&member_id)));
        }
        let member = self.members.get_mut(&member_id).expect("check_sync found it");
        if let Some(earlier) = member.awaiting_sync.replace(ticket) {
            actions.reply(earlier, Response::Sync(Synced::refused(ErrorCode::UnknownMemberId)));
        }
        // While it waits for our answer its silence is our doing.
        member.expires_at = None;
        if self.is_leader(&member_id) && !self.assignment_in_flight {
            self.assignment_in_flight = true;
            actions.write_assignment(self, &request.assignments);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |told: &Option<Str>, own: &Option<Str>| told.is_some() && told != own;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::CompletingRebalance | State::Stable => Ok(()),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        Synced {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|m| m.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// CompletingRebalance -> Stable: the leader's assignment is committed. If the group has gone
    /// on meanwhile, it is history.
    pub(crate) fn on_assignment_committed(
        &mut self,
        time: Time,
        generation_id: GenerationId,
        assignments: &[(Str, Bytes)],
        actions: &mut Actions,
    ) {
        if self.state != State::CompletingRebalance || self.generation_id != generation_id {
            return;
        }
        self.assignment_in_flight = false;
        self.move_to(State::Stable, time.wall);
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(member_id) {
                member.assignment = assignment.clone();
            }
        }
        let waiting: Vec<(Str, Ticket)> = self
            .members
            .values_mut()
            .filter_map(|m| m.awaiting_sync.take().map(|ticket| (m.member_id.clone(), ticket)))
            .collect();
        for (member_id, ticket) in waiting {
            self.keep_alive(&member_id, time.now);
            actions.reply(ticket, Response::Sync(self.synced(&member_id)));
        }
    }

    /// The leader's assignment could not be written: everybody starts over.
    pub(crate) fn on_assignment_failed(
        &mut self,
        time: Time,
        generation_id: GenerationId,
        error: ErrorCode,
        actions: &mut Actions,
    ) {
        if self.state != State::CompletingRebalance
            || self.generation_id != generation_id
            || is_seeded(CoordinatorBug::RefusedAssignmentHangs)
        {
            return;
        }
        self.refuse_waiting_syncs(error, actions);
        self.prepare_rebalance(time, actions);
    }

    /// A member says that it is alive.
    pub(crate) fn on_heartbeat(&mut self, time: Time, heartbeat: &Heartbeat) -> ErrorCode {
        if self.state == State::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(error) = self.check_member(&heartbeat.member_id, heartbeat.instance_id.as_ref())
        {
            return error;
        }
        if heartbeat.generation_id != self.generation_id {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            State::Empty | State::Dead => ErrorCode::UnknownMemberId,
            State::CompletingRebalance | State::Stable => {
                self.keep_alive(&heartbeat.member_id, time.now);
                ErrorCode::None
            }
            State::PreparingRebalance => {
                self.keep_alive(&heartbeat.member_id, time.now);
                ErrorCode::RebalanceInProgress
            }
        }
    }
}
