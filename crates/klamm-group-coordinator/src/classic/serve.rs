//! Requests of the classic protocol, brought to their group; where the group is one of the consumer
//! protocol they are served there.

use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::{Group, Heartbeat, JoinRequest, Joined, Leaver, SyncRequest, Synced};
use crate::actions::{Actions, Then};
use crate::request::Response;
use crate::shard::GroupShard;
use crate::{Ticket, Time};

impl GroupShard {
    pub(crate) fn on_join(
        &mut self,
        time: Time,
        group_id: &Str,
        join: JoinRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        if group_id.is_empty() {
            let refused = Joined::refused(ErrorCode::InvalidGroupId, join.member_id);
            return actions.reply(ticket, Response::Join(refused));
        }
        if !self.limits.allow_session(join.session_timeout_ms) {
            let refused = Joined::refused(ErrorCode::InvalidSessionTimeout, join.member_id);
            return actions.reply(ticket, Response::Join(refused));
        }
        if !self.has_room_for_join(group_id, &join) {
            let refused = Joined::refused(ErrorCode::GroupMaxSizeReached, join.member_id);
            return actions.reply(ticket, Response::Join(refused));
        }
        if self.consumer_groups.get(group_id).is_some_and(|group| !group.members.is_empty()) {
            return self.on_join_consumers(time, (group_id, join), ticket, actions);
        }
        if !self.groups.contains_key(group_id) {
            if !join.member_id.is_empty() {
                let refused = Joined::refused(ErrorCode::UnknownMemberId, join.member_id);
                return actions.reply(ticket, Response::Join(refused));
            }
            // An empty group changes its protocol without more ado.
            if let Some(records) = self.end_consumer_group(group_id) {
                actions.write(records, Then::Nothing);
            } else if let Err(error) = self.make_room_for(group_id, actions) {
                let refused = Joined::refused(error, join.member_id);
                return actions.reply(ticket, Response::Join(refused));
            }
            let group_id = group_id.detached();
            self.groups.insert(group_id.clone(), Group::new(group_id, self.limits, time.wall));
        }
        let group = self.groups.get_mut(group_id).expect("it was just made sure of");
        group.on_join(time, join, ticket, actions);
    }

    pub(crate) fn on_sync(
        &mut self,
        time: Time,
        group_id: &Str,
        sync: &SyncRequest,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        match self.groups.get_mut(group_id) {
            Some(group) => group.on_sync(time, sync, ticket, actions),
            None if self.consumer_groups.contains_key(group_id) => {
                let synced = self.on_sync_consumers(time, group_id, sync);
                actions.read(ticket, Response::Sync(synced));
            }
            None => {
                let error = if group_id.is_empty() {
                    ErrorCode::InvalidGroupId
                } else {
                    ErrorCode::UnknownMemberId
                };
                actions.reply(ticket, Response::Sync(Synced::refused(error)));
            }
        }
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        time: Time,
        (group_id, heartbeat): (&Str, &Heartbeat),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let error = match self.groups.get_mut(group_id) {
            Some(group) => group.on_heartbeat(time, heartbeat),
            None if self.consumer_groups.contains_key(group_id) => {
                let error = self.on_heartbeat_consumers(time, group_id, heartbeat);
                return actions.read(ticket, Response::Heartbeat(error));
            }
            None if group_id.is_empty() => ErrorCode::InvalidGroupId,
            None => ErrorCode::UnknownMemberId,
        };
        actions.reply(ticket, Response::Heartbeat(error));
    }

    pub(crate) fn on_leave(
        &mut self,
        time: Time,
        group_id: &Str,
        leavers: Vec<Leaver>,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        if self.consumer_groups.contains_key(group_id) {
            return self.on_leave_consumers(time, (group_id, leavers), ticket, actions);
        }
        let left = match self.groups.get_mut(group_id) {
            Some(group) => Ok(group.on_leave(time, leavers, actions)),
            None if group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
            None => Err(ErrorCode::UnknownMemberId),
        };
        actions.reply(ticket, Response::Leave(left));
    }
}
