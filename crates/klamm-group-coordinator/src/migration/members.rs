//! Classic members in a group of the consumer protocol: SyncGroup, Heartbeat and LeaveGroup,
//! answered from epochs and targets.

use std::sync::Arc;

use klamm_metadata::MetadataImage;
use klamm_model::ErrorCode;
use klamm_persisted::group::consumer_group_member_metadata_value::ClassicProtocol;
use klamm_stdx::Str;

use super::CONSUMER_PROTOCOL_TYPE;
use super::embedded::{assignment_bytes, by_name};
use crate::actions::{Actions, Then};
use crate::classic::{Heartbeat, Leaver, LeftMember, SyncRequest, Synced};
use crate::consumer::{ConsumerGroup, ConsumerMember, MemberState, Subscription};
use crate::request::Response;
use crate::{GroupShard, Ticket, Time};

impl GroupShard {
    /// A classic member's join is committed: its clocks start.
    pub(crate) fn on_classic_joined(&mut self, time: Time, group_id: &Str, member_id: &Str) {
        if let Some(group) = self.consumer_groups.get_mut(group_id)
            && group.member(member_id).is_some_and(|member| member.subscription.is_classic())
        {
            group.keep_alive(member_id, (time.now, 0));
            group.await_sync(member_id, time.now);
        }
    }

    pub(crate) fn on_sync_consumers(
        &mut self,
        time: Time,
        group_id: &Str,
        sync: &SyncRequest,
    ) -> Synced {
        let image = Arc::clone(&self.image);
        let Some(group) = self.consumer_groups.get_mut(group_id) else {
            return Synced::refused(ErrorCode::UnknownMemberId);
        };
        let error = match synced(group, sync, &image) {
            Ok(synced) => {
                group.on_synced(&sync.member_id);
                group.keep_alive(&sync.member_id, (time.now, 0));
                return synced;
            }
            Err(error) => error,
        };
        if error == ErrorCode::RebalanceInProgress {
            group.await_join(&sync.member_id, time.now);
        }
        Synced::refused(error)
    }

    pub(crate) fn on_heartbeat_consumers(
        &mut self,
        time: Time,
        group_id: &Str,
        heartbeat: &Heartbeat,
    ) -> ErrorCode {
        let Some(group) = self.consumer_groups.get(group_id) else {
            return ErrorCode::UnknownMemberId;
        };
        let instance_id = heartbeat.instance_id.as_ref();
        let member = match classic_member(group, &heartbeat.member_id, instance_id) {
            Ok(member) if member.current.epoch != heartbeat.generation_id.0 => {
                return ErrorCode::IllegalGeneration;
            }
            Ok(member) => member,
            Err(error) => return error,
        };
        let is_behind = member.current.epoch < group.target_epoch
            || self.is_target_due(time, group)
            || match member.current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !waits(group, &heartbeat.member_id, member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        let Some(group) = self.consumer_groups.get_mut(group_id) else {
            return ErrorCode::UnknownMemberId;
        };
        group.keep_alive(&heartbeat.member_id, (time.now, 0));
        if !is_behind {
            return ErrorCode::None;
        }
        group.await_join(&heartbeat.member_id, time.now);
        ErrorCode::RebalanceInProgress
    }

    /// Members leave, by their id or by the operator's name, whatever their protocol.
    pub(crate) fn on_leave_consumers(
        &mut self,
        time: Time,
        (group_id, leavers): (&Str, Vec<Leaver>),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let Some(group) = self.consumer_groups.get(group_id) else {
            let unknown = Response::Leave(Err(ErrorCode::UnknownMemberId));
            return actions.read(ticket, unknown);
        };
        let mut removed: Vec<Str> = Vec::new();
        let mut left = Vec::with_capacity(leavers.len());
        for leaver in leavers {
            let error = match who_leaves(group, &leaver) {
                Ok(member_id) if removed.contains(&member_id) => ErrorCode::UnknownMemberId,
                Ok(member_id) => {
                    removed.push(member_id);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            left.push(LeftMember { leaver, error });
        }
        let answer = Response::Leave(Ok(left));
        if removed.is_empty() {
            return actions.read(ticket, answer);
        }
        let failed = Box::new(Response::Leave(Err(ErrorCode::NotCoordinator)));
        let then = Then::Reply { ticket, committed: Box::new(answer), failed };
        self.remove_consumers(time, (group_id, &removed), then, actions);
    }
}

fn who_leaves(group: &ConsumerGroup, leaver: &Leaver) -> Result<Str, ErrorCode> {
    let member_id = match &leaver.instance_id {
        Some(instance_id) => {
            let current = group.static_members.get(instance_id);
            let current = current.ok_or(ErrorCode::UnknownMemberId)?;
            if !leaver.member_id.is_empty() && leaver.member_id != *current {
                return Err(ErrorCode::FencedInstanceId);
            }
            current
        }
        None => &leaver.member_id,
    };
    group.member(member_id).map(|_| member_id.detached()).ok_or(ErrorCode::UnknownMemberId)
}

/// The classic member that a request comes from.
fn classic_member<'a>(
    group: &'a ConsumerGroup,
    member_id: &Str,
    instance_id: Option<&Str>,
) -> Result<&'a ConsumerMember, ErrorCode> {
    if let Some(instance_id) = instance_id {
        match group.static_members.get(instance_id) {
            None => return Err(ErrorCode::UnknownMemberId),
            Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
            Some(_) => {}
        }
    }
    let member = group.member(member_id).filter(|member| member.subscription.is_classic());
    member.ok_or(ErrorCode::UnknownMemberId)
}

/// Whether some of what a member is to have is still with others.
fn waits(group: &ConsumerGroup, member_id: &Str, member: &ConsumerMember) -> bool {
    let assigned = &member.current.assigned;
    group.target(member_id).into_iter().flatten().any(|(topic_id, partitions)| {
        partitions.iter().any(|p| {
            let has = assigned.get(topic_id).is_some_and(|owned| owned.contains_key(p));
            !has && group.owner(*topic_id, *p).is_some()
        })
    })
}

fn synced(
    group: &ConsumerGroup,
    sync: &SyncRequest,
    image: &MetadataImage,
) -> Result<Synced, ErrorCode> {
    let member = classic_member(group, &sync.member_id, sync.instance_id.as_ref())?;
    if sync.generation_id.0 != member.current.epoch {
        return Err(ErrorCode::IllegalGeneration);
    }
    let spoken = first_protocol(&member.subscription);
    let differs = |told: &Option<Str>, own: &str| told.as_ref().is_some_and(|told| told != own);
    let own = spoken.map_or("", |protocol| &protocol.name);
    if differs(&sync.protocol_type, CONSUMER_PROTOCOL_TYPE) || differs(&sync.protocol_name, own) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let is_behind = group.target_epoch > member.current.epoch
        && member.current.state != MemberState::UnrevokedPartitions;
    if is_behind {
        return Err(ErrorCode::RebalanceInProgress);
    }
    let assigned = member.current.assigned.iter();
    let has = assigned.map(|(id, owned)| (*id, owned.keys().copied().collect())).collect();
    let metadata = spoken.map(|protocol| protocol.metadata.clone()).unwrap_or_default();
    Ok(Synced {
        error: ErrorCode::None,
        protocol_type: sync.protocol_type.clone(),
        protocol_name: sync.protocol_name.clone(),
        assignment: assignment_bytes(by_name(&has, image), &metadata),
    })
}

fn first_protocol(told: &Subscription) -> Option<&ClassicProtocol> {
    told.classic.as_ref()?.supported_protocols.first()
}
