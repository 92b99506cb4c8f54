//! A group of the consumer protocol whose members all speak the classic one becomes a classic
//! group: each keeps its id and what it has, in the epoch as generation (Kafka:
//! `ClassicGroup.fromConsumerGroup`, which gives them what they were to have: then what one has and
//! was to give up may be another's before it knows, if the group changes its protocol again).

use bytes::Bytes;
use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_metadata::MetadataImage;
use klamm_model::{GenerationId, Timestamp};
use klamm_persisted::group::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use klamm_stdx::Str;

use super::embedded::{assignment_bytes, by_name};
use super::{CONSUMER_PROTOCOL_TYPE, MigrationPolicy};
use crate::classic::{Group, Limits, Member, Protocol, State};
use crate::consumer::{
    Change, ConsumerGroup, ConsumerRecord, Partitions, Subscription, delete, tombstones,
};
use crate::record::Record;
use crate::snapshot::GroupSnapshot;
use crate::{Actions, Ticket, Time};

/// What a consumer group becomes, once the records of it are in the log.
#[derive(Debug, Clone)]
pub struct Downgrade {
    pub(crate) group: Group,
    pub(crate) follows: Follows,
}

/// What follows for the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// They are asked to rejoin.
    Rebalance,
    /// Everybody has its part already.
    Nothing,
}

/// What a group is downgraded in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Onto<'a> {
    pub image: &'a MetadataImage,
    pub policy: MigrationPolicy,
    pub limits: Limits,
    pub wall: Timestamp,
}

/// A classic process that takes the place of a static member.
pub(super) struct Successor {
    pub member_id: Str,
    pub subscription: Subscription,
    /// What waits for the rebalance, if there is to be one.
    pub ticket: Option<Ticket>,
}

/// The classic group that is left when members are no more; `None` if the group stays what it is.
pub(crate) fn after_removal(
    group: &ConsumerGroup,
    removed: &[Str],
    onto: &Onto<'_>,
) -> Option<(Vec<Record>, Box<Downgrade>)> {
    let stays = |id: &Str| !removed.contains(id);
    let left = group.members.iter().filter(|(id, _)| stays(id)).count();
    let gone = removed.iter().filter_map(|id| group.member(id));
    let gone_classic = gone.filter(|member| member.subscription.is_classic()).count();
    let is_classic = left > 0 && group.classic_count - gone_classic == left;
    if !is_classic || !fits(left, onto) || is_seeded(CoordinatorBug::NeverDowngraded) {
        return None;
    }
    let mut classic = empty(group, onto);
    for (id, member) in group.members.iter().filter(|(id, _)| stays(id)) {
        put(&mut classic, id, &member.subscription);
    }
    give(&mut classic, onto.image, |id| held(group, id));
    let follows = Follows::Rebalance;
    Some((records(group, (&classic, follows)), Box::new(Downgrade { group: classic, follows })))
}

/// Whether the member with this id is the last that speaks the consumer protocol, and the group
/// may become a classic one with another in its place.
pub(super) fn may_replace(group: &ConsumerGroup, member_id: &Str, onto: &Onto<'_>) -> bool {
    let is_last = group.member(member_id).is_some_and(|m| !m.subscription.is_classic())
        && group.classic_count == group.members.len() - 1;
    is_last && fits(group.members.len(), onto)
}

/// The classic group with another process in a member's place.
pub(super) fn with_successor(
    group: &ConsumerGroup,
    old_id: &Str,
    successor: &Successor,
    onto: &Onto<'_>,
) -> (Vec<Record>, Box<Downgrade>) {
    let mut classic = empty(group, onto);
    for (id, member) in group.members.iter().filter(|(id, _)| *id != old_id) {
        put(&mut classic, id, &member.subscription);
    }
    put(&mut classic, &successor.member_id, &successor.subscription);
    let settled = |id: &Str| group.target(id).cloned().unwrap_or_default();
    give(&mut classic, onto.image, |id| {
        let id = if *id == successor.member_id { old_id } else { id };
        if successor.ticket.is_some() { held(group, id) } else { settled(id) }
    });
    let follows = match successor.ticket {
        None => Follows::Nothing,
        Some(ticket) => {
            classic.await_join(&successor.member_id, ticket);
            let member = classic.members.get_mut(&successor.member_id).expect("it was just put");
            member.is_new = true;
            Follows::Rebalance
        }
    };
    (records(group, (&classic, follows)), Box::new(Downgrade { group: classic, follows }))
}

/// What a member has, or has not given up yet.
fn held(group: &ConsumerGroup, member_id: &str) -> Partitions {
    let mut held = Partitions::new();
    let Some(member) = group.member(member_id) else { return held };
    for (topic_id, partitions) in member.current.assigned.iter().chain(&member.current.revoking) {
        held.entry(*topic_id).or_default().extend(partitions.keys());
    }
    held
}

fn fits(members: usize, onto: &Onto<'_>) -> bool {
    onto.policy.allows_downgrade() && members <= onto.limits.members_max
}

fn empty(group: &ConsumerGroup, onto: &Onto<'_>) -> Group {
    let mut classic = Group::new(group.group_id.clone(), onto.limits, onto.wall);
    classic.state = State::Stable;
    classic.generation_id = GenerationId(group.epoch);
    classic.protocol_type = Some(Str::from_static(CONSUMER_PROTOCOL_TYPE));
    classic
}

fn put(classic: &mut Group, member_id: &Str, told: &Subscription) {
    let none = ClassicMemberMetadata::default();
    let kept = told.classic.as_ref().unwrap_or(&none);
    let protocol =
        |p: &ClassicProtocol| Protocol { name: p.name.clone(), metadata: p.metadata.clone() };
    let member = Member {
        member_id: member_id.clone(),
        instance_id: told.instance_id.clone(),
        client_id: told.client_id.clone(),
        client_host: told.client_host.clone(),
        rebalance_timeout_ms: told.rebalance_timeout_ms,
        session_timeout_ms: kept.session_timeout_ms,
        protocols: kept.supported_protocols.iter().map(protocol).collect(),
        assignment: Bytes::new(),
        expires_at: None,
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
    };
    classic.leader_id.get_or_insert_with(|| member_id.clone());
    classic.put_member(member);
}

/// Chooses the protocol, and tells each member in its own words what it has.
fn give(classic: &mut Group, image: &MetadataImage, part: impl Fn(&Str) -> Partitions) {
    classic.protocol_name = classic.select_protocol();
    let chosen = classic.protocol_name.clone().unwrap_or_default();
    for (id, member) in &mut classic.members {
        let part = part(id);
        let lines = by_name(&part, image);
        member.assignment = assignment_bytes(lines, &member.metadata(&chosen));
    }
}

/// The end of the one group, then the other. One that is to rebalance is written without a leader:
/// whoever loads it before that has it rebalance.
fn records(group: &ConsumerGroup, (classic, follows): (&Group, Follows)) -> Vec<Record> {
    let members = group.members.keys().flat_map(tombstones);
    let changes: Vec<Change> = members.chain(delete(group)).collect();
    let record = |change| ConsumerRecord { group_id: group.group_id.clone(), change };
    let mut records: Vec<Record> =
        changes.into_iter().map(|change| Record::Consumer(record(change))).collect();
    let mut written = GroupSnapshot::of(classic, &[]);
    if follows == Follows::Rebalance {
        written.leader_id = None;
    }
    records.push(Record::Group(written));
    records
}

impl Downgrade {
    /// The group at this moment: everybody lives for another session, and is asked to rejoin if
    /// need be.
    pub(crate) fn begin(&self, time: Time, actions: &mut Actions) -> Group {
        let mut group = self.group.clone();
        let waits = |member: &Member| member.awaiting_join.is_some();
        let ids: Vec<(Str, bool)> =
            group.members().map(|m| (m.member_id.clone(), waits(m))).collect();
        for (id, waits) in &ids {
            match waits {
                true => group.await_first_answer(id, time.now),
                false => group.keep_alive(id, time.now),
            }
        }
        if self.follows == Follows::Rebalance {
            group.prepare_rebalance(time, actions);
        }
        group
    }
}
