//! A classic group's members as a set: who comes, who goes, and what is counted so that nobody has
//! to look at all of them for each request.

use std::collections::HashSet;

use klamm_env::Moment;
use klamm_stdx::Str;

use super::group::Group;
use super::state::Wait;
use super::{Member, Protocol};
use crate::Ticket;

impl Group {
    /// A member is one of the group.
    pub(crate) fn put_member(&mut self, member: Member) {
        // Ids are random: another with the same one is the same.
        drop(self.take_member(&member.member_id));
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        for name in distinct(&member.protocols) {
            *self.protocol_counts.entry(name.clone()).or_default() += 1;
        }
        self.joined_count += usize::from(member.awaiting_join.is_some());
        member.expires_at.iter().for_each(|at| self.look_at(*at));
        self.members.insert(member.member_id.clone(), member);
    }

    /// A member is one no longer. What it waits for is the caller's.
    pub(crate) fn take_member(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        self.uncount(&member.protocols);
        self.joined_count -= usize::from(member.awaiting_join.is_some());
        Some(member)
    }

    /// A member says which protocols it knows.
    pub(crate) fn set_protocols(&mut self, member_id: &str, protocols: Vec<Protocol>) {
        for name in distinct(&protocols) {
            *self.protocol_counts.entry(name.clone()).or_default() += 1;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            let old = std::mem::replace(&mut member.protocols, protocols);
            self.uncount(&old);
        }
    }

    fn uncount(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            if let Some(n) = self.protocol_counts.get_mut(name) {
                *n -= 1;
                if *n == 0 {
                    self.protocol_counts.remove(name);
                }
            }
        }
    }

    /// Whether every member knows a protocol.
    pub(crate) fn is_spoken_by_all(&self, protocol: &Str) -> bool {
        self.protocol_counts.get(protocol) == Some(&self.members.len())
    }

    /// A member waits for the answer to its join; gives the join that waited before.
    pub(crate) fn await_join(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        let earlier = self.members.get_mut(member_id)?.awaiting_join.replace(ticket);
        self.joined_count += usize::from(earlier.is_none());
        earlier
    }

    /// A member's join is answered now.
    pub(crate) fn take_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(member_id)?.awaiting_join.take();
        self.joined_count -= usize::from(ticket.is_some());
        ticket
    }

    /// Whether everybody who is expected waits in a join.
    pub(crate) fn have_all_joined(&self) -> bool {
        self.pending_members.is_empty() && self.joined_count == self.members.len()
    }

    /// The group waits as a whole.
    pub(crate) fn wait_for(&mut self, wait: Wait) {
        self.look_at(wait.until());
        self.wait = Some(wait);
    }

    /// Something may be due then.
    pub(crate) fn look_at(&mut self, at: Moment) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    /// Looks through all clocks for the one that is due first. Clocks that are put off are not
    /// looked at before that, so that a heartbeat costs the same in every group.
    pub(crate) fn look_again(&mut self) {
        let members = self.members.values().filter_map(|member| member.expires_at);
        let pending = self.pending_members.values().copied();
        self.earliest = members.chain(pending).chain(self.wait.map(Wait::until)).min();
    }
}

/// The names of protocols, each once.
fn distinct(protocols: &[Protocol]) -> impl Iterator<Item = &Str> {
    let mut seen = HashSet::with_capacity(protocols.len());
    protocols.iter().map(|p| &p.name).filter(move |name| seen.insert(*name))
}
