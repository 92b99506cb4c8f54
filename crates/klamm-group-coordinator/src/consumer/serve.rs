//! The shard's part of consumer groups: from requests to decisions, from records to groups.

use std::sync::Arc;

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, Timestamp};
use klamm_stdx::Str;

use super::assign::Assignor;
use super::change::Change;
use super::decide::decide;
use super::deciding::{Situation, Topics};
use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
use super::leave;
use super::member::{JOIN_EPOCH, STATIC_LEAVE_EPOCH};
use super::record::ConsumerRecord;
use crate::actions::{Actions, Then};
use crate::classic::State;
use crate::migration::{after_removal, upgrade};
use crate::record::Record;
use crate::request::Response;
use crate::{GroupShard, Ticket, Time};

/// What follows from a heartbeat: records, or that its sender leaves for good.
#[derive(Debug)]
pub(crate) struct Decided {
    pub records: Vec<Record>,
    pub leaves: Option<Str>,
    pub answer: HeartbeatAnswer,
}

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
            .and_then(|()| self.check_room(group_id, beat, actions))
            .and_then(|()| self.decide_heartbeat(time, group_id, beat));
        let Decided { records, leaves, answer } = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                return actions.read(ticket, Response::ConsumerHeartbeat(Err(refusal)));
            }
        };
        if !beat.leaves() {
            self.keep_alive(time, group_id, &answer.member_id);
        }
        let committed = Response::ConsumerHeartbeat(Ok(Box::new(answer)));
        if records.is_empty() && leaves.is_none() {
            return actions.read(ticket, committed);
        }
        let failed = Refusal::new(ErrorCode::CoordinatorNotAvailable, "");
        let failed = Box::new(Response::ConsumerHeartbeat(Err(failed)));
        let then = Then::Reply { ticket, committed: Box::new(committed), failed };
        match leaves {
            Some(member_id) => self.remove_consumers(time, (group_id, &[member_id]), then, actions),
            None => actions.write(records, then),
        }
    }

    fn check_room(
        &mut self,
        group_id: &Str,
        beat: &ConsumerHeartbeat,
        actions: &mut Actions,
    ) -> Result<(), Refusal> {
        if !self.has_room_for_heartbeat(group_id, beat) {
            let message = "the coordinator has no room for more members (klamm.group.members.max)";
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        let is_known =
            self.consumer_groups.contains_key(group_id) || self.groups.contains_key(group_id);
        if is_known || beat.member_epoch != JOIN_EPOCH {
            return Ok(());
        }
        let full = |error| {
            Refusal::new(error, "the coordinator has no room for more groups (klamm.groups.max)")
        };
        self.make_room_for(group_id, actions).map_err(full)
    }

    fn check_assignor(&self, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let known = &self.consumer_limits.assignors;
        let Some(name) = &beat.assignor else { return Ok(()) };
        if Assignor::from_name(name).is_some_and(|assignor| known.contains(&assignor)) {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|assignor| assignor.name()).collect();
        let message = format!("there is no assignor {name}; there are: {}", names.join(", "));
        Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
    }

    pub(crate) fn decide_heartbeat(
        &mut self,
        time: Time,
        group_id: &Str,
        beat: &ConsumerHeartbeat,
    ) -> Result<Decided, Refusal> {
        let mut changes = Vec::new();
        let mut records = Vec::new();
        let fresh;
        let group = match self.consumer_groups.get(group_id) {
            Some(group) => group,
            None => {
                (records, fresh) = self.make_room(group_id, beat)?;
                &fresh
            }
        };
        let own = group.group_id.clone();
        if beat.leaves() {
            let member_id = leave::leaver(group, beat)?;
            let answer = leave::left(member_id.clone(), beat);
            if beat.member_epoch != STATIC_LEAVE_EPOCH {
                return Ok(Decided { records, leaves: Some(member_id), answer });
            }
            changes.push(leave::for_a_while(group, &member_id));
            records.extend(changes.into_iter().map(|change| record(&own, change)));
            return Ok(Decided { records, leaves: None, answer });
        }
        let at = self.situation(time, group);
        let decision = decide(group, at, beat)?;
        if at.topics == Topics::ToCheck {
            self.checked(time, group_id);
        }
        records.extend(decision.changes.into_iter().map(|change| record(&own, change)));
        Ok(Decided { records, leaves: None, answer: decision.answer })
    }

    /// A group that is not there can be joined, so can an empty one of the classic protocol, and
    /// so can one with members if it may change its protocol.
    fn make_room(
        &self,
        group_id: &Str,
        beat: &ConsumerHeartbeat,
    ) -> Result<(Vec<Record>, ConsumerGroup), Refusal> {
        let refuse = |what: &str| {
            let message = format!("Group {group_id} {what}.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        };
        let joins = beat.member_epoch == JOIN_EPOCH;
        let own = group_id.detached();
        let Some(classic) = self.groups.get(group_id) else {
            let fresh = ConsumerGroup::new(own);
            return if joins { Ok((Vec::new(), fresh)) } else { refuse("not found") };
        };
        if !joins {
            return refuse("is not a consumer group");
        }
        let mut records = vec![Record::GroupTombstone { group_id: own.clone() }];
        if classic.state() == State::Empty {
            return Ok((records, ConsumerGroup::new(own)));
        }
        let (changes, upgraded) = upgrade(classic, &self.consumer_limits, &self.image)?;
        records.extend(changes.into_iter().map(|change| record(&own, change)));
        Ok((records, upgraded))
    }

    /// Members are no more. What is left is a classic group if all of it speaks that protocol.
    pub(crate) fn remove_consumers(
        &self,
        time: Time,
        (group_id, removed): (&Str, &[Str]),
        then: Then,
        actions: &mut Actions,
    ) {
        let Some(group) = self.consumer_groups.get(group_id) else { return };
        if let Some((records, becomes)) = after_removal(group, removed, &self.onto(time)) {
            return actions.convert(records, then, becomes);
        }
        let changes = leave::remove(group, &self.image, removed).into_iter();
        actions.write(changes.map(|change| record(&group.group_id, change)).collect(), then);
    }

    /// Whether the next heartbeat or join computes a new target.
    pub(crate) fn is_target_due(&self, time: Time, group: &ConsumerGroup) -> bool {
        let config = self.consumer_limits.config_of(&group.group_id, &self.image);
        group.epoch > group.target_epoch && group.is_time_for_target(time, &config)
    }

    fn situation(&self, time: Time, group: &ConsumerGroup) -> Situation<'_> {
        let age_ms = time.wall.0.saturating_sub(group.patterns_at.0);
        let is_soon = !group.regexes.is_empty() && (0..PATTERNS_INTERVAL_MS).contains(&age_ms);
        let is_blind = !group.regexes.is_empty() && is_seeded(CoordinatorBug::DeletedTopicAssigned);
        let topics = if group.checked_version == self.metadata_version || is_blind {
            Topics::Known
        } else if is_soon {
            Topics::CanWait
        } else {
            Topics::ToCheck
        };
        Situation {
            image: &self.image,
            topics,
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

    /// What was decided on the topics could not be written: they are looked at again.
    pub(crate) fn look_again(&mut self, record: &ConsumerRecord) {
        if let Some(group) = self.consumer_groups.get_mut(&record.group_id) {
            group.checked_version = 0;
            group.patterns_at = Timestamp(0);
        }
    }

    /// A member that has been written already lives for another session.
    fn keep_alive(&mut self, time: Time, group_id: &Str, member_id: &Str) {
        let config = self.consumer_limits.config_of(group_id, &self.image);
        if let Some(group) = self.consumer_groups.get_mut(group_id) {
            group.keep_alive(member_id, (time.now, config.consumer_session_timeout_ms));
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
            let ids: Vec<Str> = group.members.keys().cloned().collect();
            for member_id in &ids {
                group.keep_alive(member_id, (time.now, config.consumer_session_timeout_ms));
                group.await_revocation(member_id, time);
            }
        }
    }

    /// Members that were silent, or took too long to give something up, are removed.
    pub(crate) fn remove_overdue(&mut self, time: Time, group_id: &Str, actions: &mut Actions) {
        let Some(group) = self.consumer_groups.get_mut(group_id) else { return };
        let overdue = group.take_overdue(time.now);
        overdue.iter().for_each(|id| actions.member_failed(group_id, id));
        if !overdue.is_empty() {
            self.remove_consumers(time, (group_id, &overdue), Then::Nothing, actions);
        }
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
        let read = group.topics_subscribed();
        records.retain(|record| match record {
            Record::Offset { topic, .. } => !read.contains(topic),
            _ => true,
        });
        records
    }
}

fn record(group_id: &Str, change: Change) -> Record {
    Record::Consumer(ConsumerRecord { group_id: group_id.clone(), change })
}
