//! Classic members of a group of the consumer protocol: JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup, answered from epochs and targets.

use std::sync::Arc;

use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, GenerationId};
use klamm_persisted::group::consumer_group_member_metadata_value::ClassicProtocol;
use klamm_stdx::Str;

use super::downgrade::{Successor, may_replace, with_successor};
use super::embedded::{assignment_bytes, by_id, by_name, subscription};
use super::upgrade::classic_metadata;
use super::{CONSUMER_PROTOCOL_TYPE, MigrationPolicy, Onto};
use crate::actions::{Actions, Then};
use crate::classic::{Heartbeat, JoinRequest, Joined, Leaver, LeftMember, SyncRequest, Synced};
use crate::consumer::{
    ConsumerGroup, ConsumerHeartbeat, ConsumerMember, HeartbeatAnswer, JOIN_EPOCH, MemberState,
    Subscription, updated,
};
use crate::request::Response;
use crate::{GroupShard, Ticket, Time};

impl GroupShard {
    pub(crate) fn on_join_consumers(
        &mut self,
        time: Time,
        (group_id, join): (&Str, JoinRequest),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let member_id = join.member_id.clone();
        if let Err(error) = self.join_consumers(time, (group_id, join), ticket, actions) {
            let refused = Joined::refused(error, member_id);
            actions.read(ticket, Response::Join(refused));
        }
    }

    fn join_consumers(
        &mut self,
        time: Time,
        (group_id, join): (&Str, JoinRequest),
        ticket: Ticket,
        actions: &mut Actions,
    ) -> Result<(), ErrorCode> {
        let group = &self.consumer_groups[group_id];
        self.check_classic_join(group, &join)?;
        if join.requires_known_member_id && join.member_id.is_empty() && join.instance_id.is_none()
        {
            let refused = Joined::refused(ErrorCode::MemberIdRequired, join.new_member_id);
            actions.read(ticket, Response::Join(refused));
            return Ok(());
        }
        let beat = self.as_heartbeat(&join)?;
        if let Some(old_id) = self.last_of_its_kind(time, group, &join) {
            self.downgrade_with(time, (group_id, &old_id, &beat), ticket, actions);
            return Ok(());
        }
        let decided = self.decide_heartbeat(time, group_id, &beat);
        let decided = decided.map_err(|refusal| error_for_classic(refusal.error))?;
        let joined = joined(&decided.answer, &beat);
        if decided.records.is_empty() {
            self.on_classic_joined(time, group_id, &joined.member_id);
            actions.read(ticket, Response::Join(joined));
            return Ok(());
        }
        let then = Then::Joined { ticket, group_id: group_id.detached(), joined: Box::new(joined) };
        actions.write(decided.records, then);
        Ok(())
    }

    fn check_classic_join(
        &self,
        group: &ConsumerGroup,
        join: &JoinRequest,
    ) -> Result<(), ErrorCode> {
        if self.consumer_limits.migration == MigrationPolicy::Disabled {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_full = group.members.len() >= self.consumer_limits.config.consumer_max_size;
        if is_full && group.member(&join.member_id).is_none() {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if join.protocol_type != CONSUMER_PROTOCOL_TYPE || !group.supports_classic(&join.protocols)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// A JoinGroup as what a member of the consumer protocol would say. All of a consumer's
    /// protocols carry the same subscription: the first one counts.
    fn as_heartbeat(&self, join: &JoinRequest) -> Result<ConsumerHeartbeat, ErrorCode> {
        let first = join.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let told = subscription(&first.metadata).map_err(|_| ErrorCode::UnknownServerError)?;
        let protocols = join.protocols.iter().map(|p| (&p.name, &p.metadata));
        Ok(ConsumerHeartbeat {
            member_id: join.member_id.clone(),
            member_epoch: JOIN_EPOCH,
            instance_id: join.instance_id.clone(),
            rack_id: told.rack_id,
            rebalance_timeout_ms: (join.rebalance_timeout_ms != -1)
                .then_some(join.rebalance_timeout_ms),
            names: Some(told.topics),
            regex: Some(Str::new()),
            assignor: None,
            owned: Some(by_id(told.owned, &self.image)),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            brings_id: false,
            new_member_id: join.new_member_id.clone(),
            classic: Some(classic_metadata(join.session_timeout_ms, protocols)),
        })
    }

    /// The static member whose place the join takes, if it is the last of the consumer protocol.
    fn last_of_its_kind(
        &self,
        time: Time,
        group: &ConsumerGroup,
        join: &JoinRequest,
    ) -> Option<Str> {
        let instance_id = join.instance_id.as_ref().filter(|_| join.member_id.is_empty())?;
        let old_id = group.static_members.get(instance_id)?;
        may_replace(group, old_id, &self.onto(time)).then(|| old_id.clone())
    }

    /// The group becomes a classic one with a new process in a static member's place. It need not
    /// rebalance if everybody else has its part and the new one wants what the old one wanted.
    fn downgrade_with(
        &self,
        time: Time,
        (group_id, old_id, beat): (&Str, &Str, &ConsumerHeartbeat),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let group = &self.consumer_groups[group_id];
        let old = &group.members[old_id].subscription;
        let new = updated(Some(old), beat);
        let is_settled = new.names == old.names
            && old.regex.is_none()
            && group.epoch == group.target_epoch
            && group.members().all(|(id, member)| {
                id == old_id || member.current.is_reconciled_to(group.target_epoch)
            });
        let successor = Successor {
            member_id: beat.new_member_id.clone(),
            subscription: new,
            ticket: (!is_settled).then_some(ticket),
        };
        let (records, becomes) = with_successor(group, old_id, &successor, &self.onto(time));
        let answer = HeartbeatAnswer {
            member_id: successor.member_id,
            member_epoch: group.epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        let joined = joined(&answer, beat);
        let then = match successor.ticket {
            // It is answered when the others have joined too.
            Some(_) => Then::Nothing,
            None => {
                Then::Joined { ticket, group_id: group_id.detached(), joined: Box::new(joined) }
            }
        };
        actions.convert(records, then, becomes);
    }

    pub(crate) fn onto(&self, time: Time) -> Onto<'_> {
        Onto {
            image: &self.image,
            policy: self.consumer_limits.migration,
            limits: self.limits,
            wall: time.wall,
        }
    }

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

/// The answer to a join: nobody leads, the broker divides the work.
fn joined(answer: &HeartbeatAnswer, beat: &ConsumerHeartbeat) -> Joined {
    let first = beat.classic.as_ref().and_then(|classic| classic.supported_protocols.first());
    Joined {
        error: ErrorCode::None,
        generation_id: GenerationId(answer.member_epoch),
        protocol_type: Some(Str::from_static(CONSUMER_PROTOCOL_TYPE)),
        protocol_name: first.map(|protocol| protocol.name.clone()),
        leader_id: Str::new(),
        member_id: answer.member_id.clone(),
        skip_assignment: false,
        members: Vec::new(),
    }
}

/// What a classic client understands.
fn error_for_classic(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::FencedMemberEpoch => ErrorCode::UnknownMemberId,
        other => other,
    }
}
