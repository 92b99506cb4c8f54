//! Classic members that join a group of the consumer protocol: as what a member of that protocol
//! would say, unless the group becomes a classic one with them.

use klamm_model::{ErrorCode, GenerationId};
use klamm_stdx::Str;

use super::downgrade::{Successor, may_replace, with_successor};
use super::embedded::{by_id, subscription};
use super::upgrade::classic_metadata;
use super::{CONSUMER_PROTOCOL_TYPE, MigrationPolicy, Onto};
use crate::actions::{Actions, Then};
use crate::classic::{JoinRequest, Joined};
use crate::consumer::{ConsumerGroup, ConsumerHeartbeat, HeartbeatAnswer, JOIN_EPOCH, updated};
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
