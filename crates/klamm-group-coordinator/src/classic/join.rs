//! Joining: new and known members (Kafka: `classicGroupJoin…`).

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::group::Group;
use super::join_request::{JoinRequest, Joined, JoinedMember};
use super::state::State;
use super::{Member, Protocol};
use crate::{Actions, Response, Ticket, Time};

/// A new member that waits for its first answer is kept this long at least, even if its session is
/// shorter: the others may need that long to rejoin (Kafka:
/// `CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1_000;

impl Group {
    /// A member wants to join.
    pub(crate) fn on_join(
        &mut self,
        time: Time,
        request: JoinRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let error = self.check_join(&request);
        if let Some(error) = error {
            if error == ErrorCode::GroupMaxSizeReached {
                self.remove_member(&request.member_id, actions);
            }
            actions.reply(ticket, Response::Join(Joined::refused(error, request.member_id)));
            return;
        }
        if !request.member_id.is_empty() {
            return self.on_join_known(time, request, ticket, actions);
        }
        if request.instance_id.is_some() {
            return self.on_join_static(time, request, ticket, actions);
        }
        if request.requires_known_member_id {
            let member_id = request.new_member_id;
            let session_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
            let until = time.now.plus_ms(session_ms);
            self.pending_members.insert(member_id.clone(), until);
            self.look_at(until);
            let refused = Joined::refused(ErrorCode::MemberIdRequired, member_id);
            actions.reply(ticket, Response::Join(refused));
            return;
        }
        let member_id = request.new_member_id.clone();
        self.add_member(time, &member_id, &request, ticket);
        self.rebalance_or_complete_join(time, actions);
    }

    fn check_join(&self, request: &JoinRequest) -> Option<ErrorCode> {
        if self.state == State::Dead {
            return Some(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.accepts(&request.member_id) {
            return Some(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Some(ErrorCode::InconsistentGroupProtocol);
        }
        None
    }

    /// Whether there is room. While a rebalance is prepared only those count that wait in it, so
    /// that a group that shrank can fill up again (Kafka: `acceptJoiningMember`).
    fn accepts(&self, member_id: &str) -> bool {
        let known = self.members.get(member_id);
        let max = self.limits.members_max;
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                known.is_some_and(|m| m.awaiting_join.is_some()) || self.joined_count < max
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.members.len() < max
            }
        }
    }

    fn on_join_known(
        &mut self,
        time: Time,
        request: JoinRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let member_id = request.member_id.clone();
        if self.pending_members.contains_key(&member_id) && request.instance_id.is_none() {
            self.add_member(time, &member_id, &request, ticket);
            return self.rebalance_or_complete_join(time, actions);
        }
        if let Err(error) = self.check_member(&member_id, request.instance_id.as_ref()) {
            return actions.reply(ticket, Response::Join(Joined::refused(error, member_id)));
        }
        let same = self.members[&member_id].matches(&request.protocols);
        match self.state {
            State::CompletingRebalance if same => {
                self.keep_alive(&member_id, time.now);
                actions.reply(ticket, Response::Join(self.joined(&member_id)));
            }
            // The leader rejoins to have the work divided again.
            State::Stable if same && !self.is_leader(&member_id) => {
                self.keep_alive(&member_id, time.now);
                actions.reply(ticket, Response::Join(self.joined(&member_id)));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update_member(time, &member_id, request, ticket, actions);
                self.rebalance_or_complete_join(time, actions);
            }
            State::Empty | State::Dead => {
                let refused = Joined::refused(ErrorCode::UnknownMemberId, member_id);
                actions.reply(ticket, Response::Join(refused));
            }
        }
    }

    pub(super) fn add_member(
        &mut self,
        time: Time,
        member_id: &Str,
        request: &JoinRequest,
        ticket: Ticket,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.detached());
        }
        if self.leader_id.is_none() {
            self.leader_id = Some(member_id.clone());
        }
        self.pending_members.remove(member_id);
        if self.state == State::PreparingRebalance && self.began_empty {
            self.new_member_added = true;
        }
        let member = Member {
            member_id: member_id.clone(),
            instance_id: request.instance_id.as_ref().map(Str::detached),
            client_id: request.client_id.detached(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: detached(&request.protocols),
            assignment: Bytes::new(),
            expires_at: None,
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
        };
        self.put_member(member);
        self.await_first_answer(member_id, time.now);
    }

    /// A new member need not send heartbeats before it has its first answer, but it is not
    /// waited for without end.
    pub(crate) fn await_first_answer(&mut self, member_id: &str, now: Moment) {
        let member = self.members.get_mut(member_id).expect("it was just added");
        let until = now.plus_ms(NEW_MEMBER_JOIN_TIMEOUT_MS);
        member.expires_at = Some(until);
        self.look_at(until);
    }

    pub(super) fn update_member(
        &mut self,
        time: Time,
        member_id: &Str,
        request: JoinRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        if let Some(earlier) = self.await_join(member_id, ticket) {
            // The client gave up on that request and sent it again.
            let refused = Joined::refused(ErrorCode::UnknownMemberId, member_id.clone());
            actions.reply(earlier, Response::Join(refused));
        }
        self.set_protocols(member_id, detached(&request.protocols));
        let member = self.members.get_mut(member_id).expect("the caller checked");
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.client_id = request.client_id.detached();
        member.client_host = request.client_host;
        // While it waits for our answer its silence is our doing.
        member.expires_at = None;
        if self.members[member_id].is_new {
            self.await_first_answer(member_id, time.now);
        }
    }

    /// The answer to a member that has joined the current generation.
    pub(crate) fn joined(&self, member_id: &str) -> Joined {
        let members = if self.is_leader(member_id) { self.joined_members() } else { Vec::new() };
        Joined {
            error: ErrorCode::None,
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader_id: self.leader_id.clone().unwrap_or_default(),
            member_id: Str::from(member_id),
            skip_assignment: false,
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let line = |member: &Member| JoinedMember {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(&protocol),
        };
        self.members.values().map(line).collect()
    }
}

/// Protocols in memory of their own, so that the frame they came in can be recycled.
fn detached(protocols: &[Protocol]) -> Vec<Protocol> {
    let own = |p: &Protocol| Protocol {
        name: p.name.detached(),
        metadata: Bytes::copy_from_slice(&p.metadata),
    };
    protocols.iter().map(own).collect()
}
