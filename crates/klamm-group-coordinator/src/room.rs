//! Whether there is room for what a client wants a shard to remember, and which groups make room
//! for others. A group with members never does.

use klamm_model::{ErrorCode, Timestamp};
use klamm_stdx::Str;

use crate::actions::Actions;
use crate::classic::{JoinRequest, State};
use crate::consumer::{ConsumerHeartbeat, JOIN_EPOCH};
use crate::record::Record;
use crate::shard::GroupShard;

/// Empty groups that make room at once: looking for the oldest costs a look at all.
const LEAVING_AT_ONCE: usize = 64;

impl GroupShard {
    /// Whether a group may come. Those that have been empty for longest go for it.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` if all have members.
    pub(crate) fn make_room_for(
        &mut self,
        group_id: &Str,
        actions: &mut Actions,
    ) -> Result<(), ErrorCode> {
        let count = self.group_count();
        if count < self.bounds.groups_max {
            return Ok(());
        }
        // Groups go when that is written. While it cannot be, no more than these come.
        let is_over = count >= self.bounds.groups_max + LEAVING_AT_ONCE;
        if is_over || self.end_idle_groups(group_id, actions).groups == 0 {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(())
    }

    /// How many more lines of offsets a group may add, if it wants so many.
    pub(crate) fn room_for_offsets(
        &self,
        group_id: &Str,
        wanted: usize,
        actions: &mut Actions,
    ) -> usize {
        let room = self.bounds.offsets_max.saturating_sub(self.offsets.len());
        if wanted <= room {
            return room;
        }
        room + self.end_idle_groups(group_id, actions).offsets
    }

    /// Whether a classic member may come; one that has an id has a place.
    pub(crate) fn has_room_for_join(&self, group_id: &Str, join: &JoinRequest) -> bool {
        if self.roll.members() < self.bounds.members_max {
            return true;
        }
        let instance_id = join.instance_id.as_ref();
        if let Some(group) = self.consumer_groups.get(group_id) {
            let is_static = instance_id.is_some_and(|id| group.static_members.contains_key(id));
            return is_static || group.member(&join.member_id).is_some();
        }
        let group = self.groups.get(group_id);
        let is_static = instance_id
            .is_some_and(|id| group.is_some_and(|group| group.static_members.contains_key(id)));
        is_static || !join.member_id.is_empty()
    }

    /// Whether a member of the consumer protocol may come; one that is there has a place.
    pub(crate) fn has_room_for_heartbeat(&self, group_id: &Str, beat: &ConsumerHeartbeat) -> bool {
        if beat.member_epoch != JOIN_EPOCH || self.roll.members() < self.bounds.members_max {
            return true;
        }
        let instance_id = beat.instance_id.as_ref();
        let is_static = |members: &std::collections::HashMap<Str, Str>| {
            instance_id.is_some_and(|id| members.contains_key(id))
        };
        match (self.consumer_groups.get(group_id), self.groups.get(group_id)) {
            (Some(group), _) => {
                group.member(&beat.member_id).is_some() || is_static(&group.static_members)
            }
            (None, Some(group)) => is_static(&group.static_members),
            (None, None) => false,
        }
    }

    /// Ends the groups that nobody has used for longest, but for one.
    fn end_idle_groups(&self, but: &Str, actions: &mut Actions) -> Ended {
        let mut idle: Vec<(Timestamp, &Str)> =
            self.idle_groups().filter(|(_, group_id)| *group_id != but).collect();
        if idle.len() > LEAVING_AT_ONCE {
            idle.select_nth_unstable(LEAVING_AT_ONCE);
            idle.truncate(LEAVING_AT_ONCE);
        }
        let mut ended = Ended { groups: idle.len(), offsets: 0 };
        let mut parts = Vec::new();
        for (_, group_id) in idle {
            let offsets = self.offsets.tombstones(group_id);
            ended.offsets += offsets.len();
            parts.extend(offsets.into_iter().map(|record| vec![record]));
            let tombstone = || vec![Record::GroupTombstone { group_id: group_id.clone() }];
            parts.push(self.end_consumer_group(group_id).unwrap_or_else(tombstone));
        }
        actions.write_apart(parts);
        if ended.groups > 0 {
            tracing::warn!(
                groups = ended.groups,
                offsets = ended.offsets,
                "groups that nobody uses were ended with their offsets to make room for others (klamm.groups.max, klamm.group.offsets.max)"
            );
        }
        ended
    }

    /// Groups without members and open transactions, with their last use.
    fn idle_groups(&self) -> impl Iterator<Item = (Timestamp, &Str)> {
        let used = |group_id, since: Timestamp| {
            let committed = self.offsets.last_commit(group_id);
            (committed.map_or(since, |at| at.max(since)), group_id)
        };
        let classic = self
            .groups
            .values()
            .filter(|group| group.state() == State::Empty && group.pending_members.is_empty());
        let consumers = self.consumer_groups.values().filter(|group| group.members.is_empty());
        let classic = classic.map(move |group| used(&group.group_id, group.state_since()));
        let consumers = consumers.map(move |group| used(&group.group_id, group.target_at));
        classic.chain(consumers).filter(|(_, group_id)| !self.offsets.has_open(group_id))
    }
}

/// What made room.
struct Ended {
    groups: usize,
    offsets: usize,
}
