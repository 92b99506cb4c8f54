//! The shard's part of consumer groups: from requests to decisions, from records to groups.

use std::sync::Arc;

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, Timestamp};
use klamm_stdx::Str;

use super::assign::Assignor;
use super::decide::{Situation, Topics, decide};
use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
use super::leave;
use super::member::JOIN_EPOCH;
use super::record::{Change, ConsumerRecord};
use crate::actions::{Actions, Then};
use crate::classic::{Leaver, LeftMember, State};
use crate::record::Record;
use crate::request::Response;
use crate::{GroupShard, Ticket, Time};

/// Patterns of a group are matched with all topics this often at most.
const PATTERNS_INTERVAL_MS: i64 = 1_000;

impl GroupShard {
    /// The cluster's metadata is new.
    pub fn on_metadata(&mut self, image: &Arc<MetadataImage>) {
        let is_same = Arc::ptr_eq(&image.topics, &self.image.topics)
            && Arc::ptr_eq(&image.cluster, &self.image.cluster);
        if !is_same {
            self.metadata_version += 1;
        }
        self.image = Arc::clone(image);
    }

    pub(crate) fn on_consumer_heartbeat(
        &mut self,
        time: Time,
        (group_id, beat): (&Str, &ConsumerHeartbeat),
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        let decided = beat
            .check(group_id)
            .and_then(|()| self.check_assignor(beat))
            .and_then(|()| self.decide_heartbeat(time, group_id, beat));
        let (records, answer) = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                return actions.read(ticket, Response::ConsumerHeartbeat(Err(refusal)));
            }
        };
        if !beat.leaves() {
            self.keep_alive(time, group_id, &answer.member_id);
        }
        let answer = Response::ConsumerHeartbeat(Ok(Box::new(answer)));
        if records.is_empty() {
            return actions.read(ticket, answer);
        }
        let failed = Refusal::new(ErrorCode::CoordinatorNotAvailable, "");
        let failed = Box::new(Response::ConsumerHeartbeat(Err(failed)));
        actions.write(records, Then::Reply { ticket, committed: Box::new(answer), failed });
    }

    fn check_assignor(&self, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let known = &self.consumer_limits.assignors;
        let Some(name) = &beat.assignor else { return Ok(()) };
        if Assignor::from_name(name).is_some_and(|assignor| known.contains(&assignor)) {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|assignor| assignor.name()).collect();
        let message = format!(
            "ServerAssignor {name} is not supported. Supported assignors: {}.",
            names.join(", ")
        );
        Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
    }

    fn decide_heartbeat(
        &mut self,
        time: Time,
        group_id: &Str,
        beat: &ConsumerHeartbeat,
    ) -> Result<(Vec<Record>, HeartbeatAnswer), Refusal> {
        let mut records = Vec::new();
        let fresh;
        let group = match self.consumer_groups.get(group_id) {
            Some(group) => group,
            None => {
                records.extend(self.make_room(group_id, beat)?);
                fresh = ConsumerGroup::new(group_id.detached());
                &fresh
            }
        };
        let own = group.group_id.clone();
        let (changes, answer) = if beat.leaves() {
            leave::leave(group, &self.image, beat)?
        } else {
            let at = self.situation(time, group);
            let decision = decide(group, at, beat)?;
            if at.topics == Topics::ToCheck {
                self.checked(time, group_id);
            }
            (decision.changes, decision.answer)
        };
        records.extend(changes.into_iter().map(|change| record(&own, change)));
        Ok((records, answer))
    }

    /// A group that is not there can be joined, and so can an empty one of the classic protocol.
    fn make_room(
        &self,
        group_id: &Str,
        beat: &ConsumerHeartbeat,
    ) -> Result<Option<Record>, Refusal> {
        let refuse = |what: &str| {
            let message = format!("Group {group_id} {what}.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        };
        let Some(classic) = self.groups.get(group_id) else {
            return if beat.member_epoch == JOIN_EPOCH { Ok(None) } else { refuse("not found") };
        };
        let is_empty = classic.state() == State::Empty && classic.pending_members.is_empty();
        if beat.member_epoch == JOIN_EPOCH && is_empty {
            return Ok(Some(Record::GroupTombstone { group_id: group_id.detached() }));
        }
        refuse("is not a consumer group")
    }

    fn situation(&self, time: Time, group: &ConsumerGroup) -> Situation<'_> {
        let age_ms = time.wall.0.saturating_sub(group.patterns_at.0);
        let is_soon = !group.regexes.is_empty() && (0..PATTERNS_INTERVAL_MS).contains(&age_ms);
        let is_blind = !group.regexes.is_empty() && is_seeded(CoordinatorBug::DeletedTopicAssigned);
        let is_known = group.checked_version == self.metadata_version || is_soon || is_blind;
        Situation {
            image: &self.image,
            topics: if is_known { Topics::Known } else { Topics::ToCheck },
            limits: &self.consumer_limits,
            config: self.consumer_limits.config_of(&group.group_id, &self.image),
            time,
        }
    }

    fn checked(&mut self, time: Time, group_id: &Str) {
        if let Some(group) = self.consumer_groups.get_mut(group_id) {
            group.checked_version = self.metadata_version;
            group.patterns_at = time.wall;
        }
    }

    /// A member that has been written already lives for another session.
    fn keep_alive(&mut self, time: Time, group_id: &Str, member_id: &Str) {
        let config = self.consumer_limits.config_of(group_id, &self.image);
        if let Some(group) = self.consumer_groups.get_mut(group_id) {
            let session_ms = u64::try_from(config.consumer_session_timeout_ms).unwrap_or(0);
            group.keep_alive(member_id, time.now.plus_ms(session_ms));
        }
    }

    /// A record is in the log.
    pub(crate) fn apply_consumer(&mut self, record: &ConsumerRecord) {
        let group_id = &record.group_id;
        let is_over = matches!(record.change, Change::Group(None));
        if is_over {
            self.consumer_groups.remove(group_id);
        } else if let Some(group) = self.consumer_groups.get_mut(group_id) {
            group.apply(&record.change);
        } else if record.change.makes_a_group() {
            self.groups.remove(group_id);
            let mut group = ConsumerGroup::new(group_id.clone());
            group.apply(&record.change);
            self.consumer_groups.insert(group_id.clone(), group);
        }
    }

    /// A record was just written: clocks start.
    pub(crate) fn start_consumer_timers(&mut self, time: Time, record: &ConsumerRecord) {
        match &record.change {
            Change::Member(member_id, Some(_)) => {
                self.keep_alive(time, &record.group_id, member_id);
            }
            Change::Current(member_id, Some(_)) => {
                if let Some(group) = self.consumer_groups.get_mut(&record.group_id) {
                    group.await_revocation(member_id, time);
                }
            }
            _ => {}
        }
    }

    /// The log is replayed: members get a whole session to report.
    pub(crate) fn start_consumer_sessions(&mut self, time: Time) {
        let (limits, image) = (&self.consumer_limits, &self.image);
        for group in self.consumer_groups.values_mut() {
            let config = limits.config_of(&group.group_id, image);
            let session_ms = u64::try_from(config.consumer_session_timeout_ms).unwrap_or(0);
            let ids: Vec<Str> = group.members.keys().cloned().collect();
            for member_id in &ids {
                group.keep_alive(member_id, time.now.plus_ms(session_ms));
                group.await_revocation(member_id, time);
            }
        }
    }

    /// Members that were silent, or took too long to give something up, are removed.
    pub(crate) fn remove_overdue(&mut self, time: Time, actions: &mut Actions) {
        let image = &self.image;
        for group in self.consumer_groups.values_mut() {
            if group.next_timeout().is_none_or(|at| at > time.now) {
                continue;
            }
            let overdue = group.take_overdue(time.now);
            if overdue.is_empty() {
                continue;
            }
            overdue.iter().for_each(|id| actions.member_failed(&group.group_id, id));
            let changes = leave::remove(group, image, &overdue).into_iter();
            let records = changes.map(|change| record(&group.group_id, change)).collect();
            actions.write(records, Then::Nothing);
        }
    }

    /// An administrator removes static members; those of the consumer protocol leave by heartbeat
    /// themselves (Kafka: `classicGroupLeaveToConsumerGroup`).
    pub(crate) fn on_leave_consumers(
        &mut self,
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
            let named = leaver.instance_id.as_ref().filter(|_| leaver.member_id.is_empty());
            let found = named.and_then(|instance_id| group.static_members.get(instance_id));
            let fresh = found.filter(|id| !removed.contains(id)).cloned();
            let error = if fresh.is_some() { ErrorCode::None } else { ErrorCode::UnknownMemberId };
            removed.extend(fresh);
            left.push(LeftMember { leaver, error });
        }
        let answer = Response::Leave(Ok(left));
        if removed.is_empty() {
            return actions.read(ticket, answer);
        }
        let changes = leave::remove(group, &self.image, &removed).into_iter();
        let records = changes.map(|change| record(group_id, change)).collect();
        let failed = Box::new(Response::Leave(Err(ErrorCode::NotCoordinator)));
        actions.write(records, Then::Reply { ticket, committed: Box::new(answer), failed });
    }

    /// Records that end a group, if it is an empty one of the consumer protocol.
    pub(crate) fn end_consumer_group(&self, group_id: &Str) -> Option<Vec<Record>> {
        let group = self.consumer_groups.get(group_id)?;
        let changes = leave::delete(group).into_iter();
        group.members.is_empty().then(|| changes.map(|c| record(group_id, c)).collect())
    }

    /// Offsets of topics that nobody reads any more expire by their own age.
    pub(crate) fn expired_of_consumers(&self, group_id: &Str, wall: Timestamp) -> Vec<Record> {
        let Some(group) = self.consumer_groups.get(group_id) else { return Vec::new() };
        let retention = (wall, self.offset_limits.retention_ms);
        let mut records = self.offsets.expired(group_id, retention, None);
        records.retain(|record| match record {
            Record::Offset { topic, .. } => !group.is_subscribed_to(topic),
            _ => true,
        });
        records
    }
}

fn record(group_id: &Str, change: Change) -> Record {
    Record::Consumer(ConsumerRecord { group_id: group_id.clone(), change })
}
