//! Groups and offsets that somebody deletes: by name, or with their topic.

use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::Ticket;
use crate::actions::Actions;
use crate::classic::{Group, State};
use crate::record::Record;
use crate::request::Response;
use crate::shard::GroupShard;

impl GroupShard {
    pub(crate) fn on_delete(&mut self, group_id: &Str, ticket: Ticket, actions: &mut Actions) {
        if self.consumer_groups.contains_key(group_id) {
            return self.on_delete_consumers(group_id, ticket, actions);
        }
        let error = match self.groups.get(group_id).map(Group::state) {
            None | Some(State::Dead) => ErrorCode::GroupIdNotFound,
            Some(State::Empty) => ErrorCode::None,
            Some(_) => ErrorCode::NonEmptyGroup,
        };
        if !error.is_none() {
            return actions.reply(ticket, Response::Delete(error));
        }
        let end = vec![Record::GroupTombstone { group_id: group_id.detached() }];
        self.delete_with(group_id, end, ticket, actions);
    }

    fn on_delete_consumers(&mut self, group_id: &Str, ticket: Ticket, actions: &mut Actions) {
        let Some(ends) = self.end_consumer_group(group_id) else {
            return actions.read(ticket, Response::Delete(ErrorCode::NonEmptyGroup));
        };
        self.delete_with(group_id, ends, ticket, actions);
    }

    /// The offsets of a group go first, then it does.
    fn delete_with(&self, group_id: &Str, end: Vec<Record>, ticket: Ticket, actions: &mut Actions) {
        let answers =
            [ErrorCode::None, ErrorCode::CoordinatorNotAvailable].map(Response::Delete).into();
        actions.write_tombstones((self.offsets.tombstones(group_id), end), ticket, answers);
    }

    pub(crate) fn on_topic_deleted(&mut self, topic: &Str, actions: &mut Actions) {
        let records = self.offsets.tombstones_of_topic(topic);
        actions.write_apart(records.into_iter().map(|record| vec![record]));
    }
}
