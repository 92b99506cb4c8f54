//! From one generation to the next: waiting for members, electing a leader, giving up on some.

use klamm_model::{ErrorCode, GenerationId};
use klamm_stdx::Str;

use super::group::Group;
use super::state::{State, Wait};
use super::{Member, Synced};
use crate::{Actions, Joined, Response, Time};

impl Group {
    /// A member was added or changed: start a rebalance, or finish the one that waits.
    pub(crate) fn rebalance_or_complete_join(&mut self, time: Time, actions: &mut Actions) {
        match self.state {
            State::Empty | State::Stable | State::CompletingRebalance => {
                self.prepare_rebalance(time, actions);
            }
            State::PreparingRebalance => self.maybe_complete_join(time, actions),
            State::Dead => {}
        }
    }

    /// Stable, CompletingRebalance or Empty -> PreparingRebalance.
    pub(crate) fn prepare_rebalance(&mut self, time: Time, actions: &mut Actions) {
        if self.state == State::CompletingRebalance {
            self.refuse_waiting_syncs(ErrorCode::RebalanceInProgress, actions);
        }
        self.pending_sync.clear();
        self.assignment_in_flight = false;
        let was_empty = self.state == State::Empty;
        self.move_to(State::PreparingRebalance, time.wall);
        let timeout_ms = self.rebalance_timeout_ms();
        if was_empty {
            self.new_member_added = false;
            let delay_ms = self.limits.initial_rebalance_delay_ms.min(timeout_ms);
            let remaining_ms = timeout_ms - delay_ms;
            let until = time.now.plus_ms(delay_ms);
            self.wait_for(Wait::InitialDelay { until, remaining_ms });
            if delay_ms == 0 {
                self.complete_join(time, actions);
            }
            return;
        }
        self.wait_for(Wait::Join { until: time.now.plus_ms(timeout_ms) });
        self.maybe_complete_join(time, actions);
    }

    /// Completes the join if everybody is there. The first generation waits for its delay.
    pub(crate) fn maybe_complete_join(&mut self, time: Time, actions: &mut Actions) {
        if self.state == State::PreparingRebalance && self.have_all_joined() && !self.began_empty {
            self.complete_join(time, actions);
        }
    }

    /// PreparingRebalance -> CompletingRebalance, or Empty if nobody is left.
    pub(crate) fn complete_join(&mut self, time: Time, actions: &mut Actions) {
        // Dynamic members that did not rejoin are gone; static ones keep their place until
        // their session ends.
        let late: Vec<Str> = self
            .members
            .values()
            .filter(|member| member.awaiting_join.is_none() && !member.is_static())
            .map(|member| member.member_id.clone())
            .collect();
        for member_id in &late {
            self.remove_member(member_id, actions);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only silent static members are left: wait another round for any of them.
            let until = time.now.plus_ms(self.rebalance_timeout_ms());
            self.wait_for(Wait::Join { until });
            return;
        }
        self.generation_id = GenerationId(self.generation_id.0.wrapping_add(1).max(1));
        self.wait = None;
        if self.members.is_empty() {
            self.protocol_name = None;
            self.move_to(State::Empty, time.wall);
            actions.write_group(self);
            return;
        }
        self.protocol_name = self.select_protocol();
        self.move_to(State::CompletingRebalance, time.wall);
        self.answer_joins(time, actions);
    }

    /// Whether somebody who has rejoined leads.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |member: &Member| member.awaiting_join.is_some();
        if self.leader_id.as_ref().and_then(|id| self.members.get(id)).is_some_and(has_joined) {
            return true;
        }
        let next = self.members.values().find(|member| has_joined(member));
        let Some(next) = next else { return false };
        self.leader_id = Some(next.member_id.clone());
        true
    }

    fn answer_joins(&mut self, time: Time, actions: &mut Actions) {
        let ids: Vec<Str> = self.members.keys().cloned().collect();
        for member_id in &ids {
            let joined = self.joined(member_id);
            let member = self.members.get_mut(member_id).expect("ids are keys");
            member.is_new = false;
            if let Some(ticket) = self.take_join(member_id) {
                actions.reply(ticket, Response::Join(joined));
            }
            self.keep_alive(member_id, time.now);
        }
        self.pending_sync = ids.into_iter().collect();
        let until = time.now.plus_ms(self.rebalance_timeout_ms());
        self.wait_for(Wait::Sync { until });
    }

    /// Takes a member out, answering what it waits for.
    pub(crate) fn remove_member(&mut self, member_id: &str, actions: &mut Actions) {
        let Some(member) = self.take_member(member_id) else { return };
        if let Some(ticket) = member.awaiting_join {
            let refused = Joined::refused(ErrorCode::UnknownMemberId, member.member_id.clone());
            actions.reply(ticket, Response::Join(refused));
        }
        if let Some(ticket) = member.awaiting_sync {
            actions.reply(ticket, Response::Sync(Synced::refused(ErrorCode::UnknownMemberId)));
        }
        self.pending_sync.remove(member_id);
        if self.is_leader(member_id) {
            self.leader_id = self.members.keys().next().cloned();
        }
    }

    /// A member left or failed: the others need a new division of the work.
    pub(crate) fn remove_and_rebalance(
        &mut self,
        time: Time,
        member_id: &str,
        actions: &mut Actions,
    ) {
        self.remove_member(member_id, actions);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(time, actions),
            State::PreparingRebalance => self.maybe_complete_join(time, actions),
            State::Empty | State::Dead => {}
        }
    }

    pub(crate) fn refuse_waiting_syncs(&mut self, error: ErrorCode, actions: &mut Actions) {
        for member in self.members.values_mut() {
            member.assignment.clear();
            if let Some(ticket) = member.awaiting_sync.take() {
                actions.reply(ticket, Response::Sync(Synced::refused(error)));
            }
        }
    }

    /// Time has passed: sessions, joins, syncs and delays that are over.
    pub(crate) fn on_timeout(&mut self, time: Time, actions: &mut Actions) {
        self.pending_members.retain(|_, until| *until > time.now);
        let dead: Vec<Str> = self
            .members
            .values()
            .filter(|member| member.expires_at.is_some_and(|at| at <= time.now))
            .map(|member| member.member_id.clone())
            .collect();
        for member_id in &dead {
            actions.member_failed(&self.group_id, member_id);
            self.remove_and_rebalance(time, member_id, actions);
        }
        match self.wait {
            Some(wait) if wait.until() <= time.now => self.on_wait_over(time, wait, actions),
            _ => self.maybe_complete_join(time, actions),
        }
        self.look_again();
    }

    fn on_wait_over(&mut self, time: Time, wait: Wait, actions: &mut Actions) {
        match wait {
            Wait::InitialDelay { remaining_ms, .. }
                if self.new_member_added && remaining_ms > 0 =>
            {
                self.new_member_added = false;
                let delay_ms = self.limits.initial_rebalance_delay_ms.min(remaining_ms);
                let until = time.now.plus_ms(delay_ms);
                let remaining_ms = remaining_ms - delay_ms;
                self.wait_for(Wait::InitialDelay { until, remaining_ms });
            }
            Wait::InitialDelay { .. } | Wait::Join { .. } => {
                self.pending_members.clear();
                self.complete_join(time, actions);
            }
            Wait::Sync { .. } => {
                self.wait = None;
                let late: Vec<Str> = self.pending_sync.iter().cloned().collect();
                for member_id in &late {
                    self.remove_member(member_id, actions);
                }
                if !late.is_empty() {
                    self.prepare_rebalance(time, actions);
                }
            }
        }
    }

    /// The group is deleted, or has become one of the consumer protocol: then whoever waits is to
    /// join that one.
    pub(crate) fn forget(&mut self, time: Time, actions: &mut Actions) {
        self.move_to(State::Dead, time.wall);
        self.wait = None;
        self.refuse_waiting(ErrorCode::RebalanceInProgress, actions);
    }

    /// Whoever waits for an answer gets this one.
    pub(crate) fn refuse_waiting(&mut self, error: ErrorCode, actions: &mut Actions) {
        self.joined_count = 0;
        for member in self.members.values_mut() {
            if let Some(ticket) = member.awaiting_join.take() {
                let refused = Joined::refused(error, member.member_id.clone());
                actions.reply(ticket, Response::Join(refused));
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                actions.reply(ticket, Response::Sync(Synced::refused(error)));
            }
        }
    }
}
