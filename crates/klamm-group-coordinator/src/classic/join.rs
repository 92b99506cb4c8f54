//! Joining: new and known, dynamic and static members (Kafka: `classicGroupJoin…`).

use bytes::Bytes;
use klamm_env::Moment;
use klamm_model::{ErrorCode, GenerationId};
use klamm_stdx::Str;

use super::group::{Group, State};
use super::{Member, Protocol};
use crate::{Actions, Response, Then, Ticket, Time};

/// A new member that waits for its first answer is kept this long at least, even if its session
/// is shorter: the others may need that long to rejoin (Kafka: `CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1_000;

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

    /// A static member without an id: new, or restarted.
    fn on_join_static(
        &mut self,
        time: Time,
        request: JoinRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let instance_id = request.instance_id.clone().expect("the caller saw one");
        let new_id = request.new_member_id.clone();
        let Some(old_id) = self.static_members.get(&instance_id).cloned() else {
            self.add_member(time, &new_id, &request, ticket);
            return self.rebalance_or_complete_join(time, actions);
        };
        let was_leader = self.is_leader(&old_id);
        let skips = request.supports_skipping_assignment;
        let before = Box::new(self.members[&old_id].clone());
        self.replace_static_member(&instance_id, &old_id, &new_id, actions);
        let old_choice = self.protocol_name.clone();
        self.update_member(time, &new_id, request, ticket, actions);
        match self.state {
            State::Stable if self.select_protocol() == old_choice => {
                self.return_to_stable(
                    time,
                    &new_id,
                    StaticReturn { ticket, before, was_leader, skips },
                    actions,
                );
            }
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(time, actions),
            State::PreparingRebalance => self.maybe_complete_join(time, actions),
            State::Empty | State::Dead => {
                let refused = Joined::refused(ErrorCode::UnknownMemberId, new_id);
                actions.reply(ticket, Response::Join(refused));
            }
        }
    }

    /// The new process takes over the old one's place without a rebalance, once that is written.
    fn return_to_stable(
        &mut self,
        time: Time,
        new_id: &Str,
        back: StaticReturn,
        actions: &mut Actions,
    ) {
        // The answer leaves when the change is written.
        self.take_join(new_id);
        self.members.get_mut(new_id).expect("it was just put in place").is_new = false;
        self.keep_alive(new_id, time.now);
        let mut joined = self.joined(new_id);
        if back.was_leader && back.skips {
            joined.skip_assignment = true;
        } else {
            // An old client must not take itself for the leader and assign anew.
            joined.members.clear();
            if back.was_leader {
                joined.leader_id = back.before.member_id.clone();
            }
        }
        let (ticket, before) = (back.ticket, back.before);
        let (group_id, joined) = (self.group_id.clone(), Box::new(joined));
        actions.write_group_then(self, Then::Returned { ticket, group_id, joined, before });
    }

    /// A return could not be written: whoever had the place before has it still (Kafka:
    /// `updateStaticMemberThenRebalanceOrCompleteJoin`).
    pub(crate) fn undo_return(&mut self, new_id: &Str, before: Member) {
        if self.state != State::Stable || self.take_member(new_id).is_none() {
            return;
        }
        if self.is_leader(new_id) {
            self.leader_id = Some(before.member_id.clone());
        }
        self.put_member(before);
    }

    fn replace_static_member(
        &mut self,
        instance_id: &Str,
        old_id: &Str,
        new_id: &Str,
        actions: &mut Actions,
    ) {
        let mut member = self.take_member(old_id).expect("static members are members");
        if let Some(ticket) = member.awaiting_join.take() {
            let fenced = Joined::refused(ErrorCode::FencedInstanceId, old_id.clone());
            actions.reply(ticket, Response::Join(fenced));
        }
        if let Some(ticket) = member.awaiting_sync.take() {
            actions
                .reply(ticket, Response::Sync(super::Synced::refused(ErrorCode::FencedInstanceId)));
        }
        member.member_id = new_id.clone();
        member.instance_id = Some(instance_id.detached());
        self.put_member(member);
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        if self.is_leader(old_id) {
            self.leader_id = Some(new_id.clone());
        }
    }

    fn add_member(&mut self, time: Time, member_id: &Str, request: &JoinRequest, ticket: Ticket) {
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

    fn update_member(
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

struct StaticReturn {
    ticket: Ticket,
    /// The member as it was, under its old id.
    before: Box<Member>,
    was_leader: bool,
    skips: bool,
}

/// Protocols in memory of their own, so that the frame they came in can be recycled.
fn detached(protocols: &[Protocol]) -> Vec<Protocol> {
    let own = |p: &Protocol| Protocol {
        name: p.name.detached(),
        metadata: Bytes::copy_from_slice(&p.metadata),
    };
    protocols.iter().map(own).collect()
}
