//! Static members that join without an id: new ones, and processes that take the place of one
//! before (KIP-345, KIP-814).

use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::group::Group;
use super::join_request::{JoinRequest, Joined};
use super::state::State;
use super::{Member, Synced};
use crate::{Actions, Response, Then, Ticket, Time};

struct StaticReturn {
    ticket: Ticket,
    /// The member as it was, under its old id.
    before: Box<Member>,
    was_leader: bool,
    skips: bool,
}

impl Group {
    /// A static member without an id: new, or restarted.
    pub(super) fn on_join_static(
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
            actions.reply(ticket, Response::Sync(Synced::refused(ErrorCode::FencedInstanceId)));
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
}
