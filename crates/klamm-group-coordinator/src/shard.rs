//! One shard: the groups whose names hash to one partition of `__consumer_offsets`.

use std::collections::HashMap;
use std::sync::Arc;

use klamm_coordinator::{CoordinatorBug, TransactionEnd, is_seeded};
use klamm_env::Moment;
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, ProducerId};
use klamm_stdx::Str;

use crate::actions::{Actions, Author, Then, Write};
use crate::bounds::Bounds;
use crate::classic::{
    Group, Heartbeat, JoinRequest, Joined, Leaver, Limits, State, SyncRequest, Synced,
};
use crate::consumer::{Change, ConsumerGroup, ConsumerLimits, Refusal};
use crate::offsets::{OffsetLimits, OffsetStore};
use crate::record::Record;
use crate::request::{Request, Response};
use crate::roll::{Entry, Roll};
use crate::{Ticket, Time};

/// The groups and offsets of one shard.
#[derive(Debug)]
pub struct GroupShard {
    /// Classic groups.
    pub(crate) groups: HashMap<Str, Group>,
    /// Groups of the consumer protocol; none of them is among the classic ones.
    pub(crate) consumer_groups: HashMap<Str, ConsumerGroup>,
    pub(crate) consumer_limits: ConsumerLimits,
    pub(crate) image: Arc<MetadataImage>,
    /// Grows when the topics may be others.
    pub(crate) metadata_version: u64,
    pub(crate) offsets: OffsetStore,
    pub(crate) limits: Limits,
    pub(crate) offset_limits: OffsetLimits,
    pub(crate) bounds: Bounds,
    pub(crate) roll: Roll,
    next_expiry: Option<Moment>,
}

impl GroupShard {
    /// An empty shard.
    #[must_use]
    pub fn new(limits: Limits, offset_limits: OffsetLimits) -> Self {
        Self {
            groups: HashMap::new(),
            consumer_groups: HashMap::new(),
            consumer_limits: ConsumerLimits::default(),
            image: Arc::default(),
            metadata_version: 1,
            offsets: OffsetStore::default(),
            limits,
            offset_limits,
            bounds: Bounds::default(),
            roll: Roll::default(),
            next_expiry: None,
        }
    }

    /// With other limits for consumer groups than Kafka's defaults.
    #[must_use]
    pub fn with_consumer_limits(self, consumer_limits: ConsumerLimits) -> Self {
        Self { consumer_limits, ..self }
    }

    /// A request arrived.
    pub fn on_request(
        &mut self,
        time: Time,
        request: Request,
        ticket: Ticket,
        actions: &mut Actions,
    ) {
        self.next_expiry.get_or_insert(time.now.plus_ms(self.offset_limits.check_interval_ms));
        let group_id = request.group_id().cloned();
        self.answer(time, request, ticket, actions);
        group_id.iter().for_each(|group_id| self.enroll(group_id));
    }

    /// A group may have changed: what is kept of it beside it follows.
    pub(crate) fn enroll(&mut self, group_id: &Str) {
        let entry = if let Some(group) = self.groups.get(group_id) {
            let members = group.members.len() + group.pending_members.len();
            Entry { due: group.next_timeout(), members }
        } else if let Some(group) = self.consumer_groups.get(group_id) {
            Entry { due: group.next_timeout(), members: group.members.len() }
        } else {
            Entry::default()
        };
        self.roll.set(group_id, entry);
    }

    fn answer(&mut self, time: Time, request: Request, ticket: Ticket, actions: &mut Actions) {
        match request {
            Request::Join(group_id, join) => self.on_join(time, &group_id, join, ticket, actions),
            Request::Sync(group_id, sync) => self.on_sync(time, &group_id, &sync, ticket, actions),
            Request::Heartbeat(group_id, heartbeat) => {
                self.on_heartbeat(time, (&group_id, &heartbeat), ticket, actions);
            }
            Request::ConsumerHeartbeat(group_id, beat) => {
                self.on_consumer_heartbeat(time, (&group_id, &beat), ticket, actions);
            }
            Request::Leave(group_id, leavers) => {
                self.on_leave(time, &group_id, leavers, ticket, actions);
            }
            Request::CommitOffsets(group_id, commit) => {
                self.on_commit(time, &group_id, commit, ticket, actions);
            }
            Request::CommitInTransaction(group_id, commit) => {
                self.on_transactional_commit(time, &group_id, commit, ticket, actions);
            }
            Request::FetchOffsets(group_id, fetch) => {
                actions.read(ticket, Response::FetchOffsets(self.fetch(&group_id, &fetch)));
            }
            Request::DeleteOffsets(group_id, asked) => {
                self.on_delete_offsets(&group_id, &asked, ticket, actions);
            }
            Request::EndTransaction(end) => on_end_transaction(end, ticket, actions),
            Request::Describe(group_id) => {
                actions.reply(ticket, Response::Describe(self.describe(&group_id).map(Box::new)));
            }
            Request::DescribeConsumers(group_id) => {
                let described = self.describe_consumers(&group_id);
                actions.read(ticket, Response::DescribeConsumers(described));
            }
            Request::List(filter) => actions.reply(ticket, Response::List(self.list(&filter))),
            Request::Delete(group_id) => self.on_delete(&group_id, ticket, actions),
            Request::TopicDeleted(topic) => {
                self.on_topic_deleted(&topic, actions);
                actions.reply(ticket, Response::Done);
            }
        }
    }

    fn on_join(
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

    fn on_sync(
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

    fn on_heartbeat(
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

    fn on_leave(
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

    fn on_delete(&mut self, group_id: &Str, ticket: Ticket, actions: &mut Actions) {
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

    fn on_topic_deleted(&mut self, topic: &Str, actions: &mut Actions) {
        let records = self.offsets.tombstones_of_topic(topic);
        actions.write_apart(records.into_iter().map(|record| vec![record]));
    }

    /// A write is in the log: later requests see it.
    pub fn on_appended(&mut self, time: Time, write: &Write, actions: &mut Actions) {
        match write.author {
            Author::Group => {}
            Author::Producer(producer, _) => {
                let records = write.records.iter();
                return records.for_each(|record| self.offsets.apply_open(producer.id, record));
            }
            Author::Coordinator(end) => return self.offsets.end(end.producer.id, end.is_commit),
        }
        for record in &write.records {
            match record {
                Record::Offset { .. } => self.offsets.apply(record),
                Record::GroupTombstone { group_id } => {
                    if let Some(mut group) = self.groups.remove(group_id) {
                        group.forget(time, actions);
                    }
                }
                Record::Consumer(record) => {
                    self.apply_consumer(record);
                    self.start_consumer_timers(time, record);
                }
                // The group is as the record says already.
                Record::Group(_) => {}
            }
        }
        if let Some(downgrade) = &write.becomes {
            let group = downgrade.begin(time, actions);
            self.groups.insert(group.group_id.clone(), group);
        }
        self.enroll_all(&write.records);
    }

    /// The groups of some records may have changed.
    fn enroll_all(&mut self, records: &[Record]) {
        let mut last: Option<&Str> = None;
        for group_id in records.iter().filter_map(Record::changed_group) {
            if last != Some(group_id) {
                self.enroll(group_id);
                last = Some(group_id);
            }
        }
    }

    /// A write is committed: who waits for it is answered.
    pub fn on_committed(&mut self, time: Time, mut write: Write, actions: &mut Actions) {
        let records = std::mem::take(&mut write.records);
        self.follow(time, write, actions);
        self.enroll_all(&records);
    }

    fn follow(&mut self, time: Time, write: Write, actions: &mut Actions) {
        match write.then {
            Then::Nothing | Then::Part { .. } => {}
            Then::Reply { ticket, committed, .. } => actions.reply(ticket, *committed),
            Then::Joined { ticket, group_id, joined } => {
                self.on_classic_joined(time, &group_id, &joined.member_id);
                actions.reply(ticket, Response::Join(*joined));
            }
            Then::Returned { ticket, joined, .. } => actions.reply(ticket, Response::Join(*joined)),
            Then::Offsets { ticket, results } => {
                actions.reply(ticket, Response::CommitOffsets(results));
            }
            Then::Assignment { group_id, generation_id, assignments } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.on_assignment_committed(time, generation_id, &assignments, actions);
                }
            }
        }
    }

    /// A write could not be made: nothing of it happened.
    pub fn on_failed(&mut self, time: Time, write: Write, error: ErrorCode, actions: &mut Actions) {
        let code = write.error_for_clients(error);
        if let Some(mut never) = write.becomes {
            never.group.refuse_waiting(code, actions);
        }
        for record in &write.records {
            if is_seeded(CoordinatorBug::RefusedOffsetsCount) {
                self.offsets.apply(record);
            }
            match record {
                Record::Consumer(record) if record.change == Change::Group(None) => {
                    self.never_began(&record.group_id, code, actions);
                }
                Record::Consumer(record) => self.look_again(record),
                Record::Offset { group_id, .. } => self.forget_unused(group_id),
                Record::Group(_) | Record::GroupTombstone { .. } => {}
            }
        }
        match write.then {
            Then::Nothing => {}
            Then::Reply { ticket, failed, .. } | Then::Part { ticket, failed } => {
                let failed = match *failed {
                    Response::EndTransaction(_) => Response::EndTransaction(error),
                    Response::ConsumerHeartbeat(_) => {
                        Response::ConsumerHeartbeat(Err(Refusal::new(code, code.name())))
                    }
                    failed => failed,
                };
                actions.reply(ticket, failed);
            }
            Then::Joined { ticket, joined, .. } => {
                actions.reply(ticket, Response::Join(Joined::refused(code, joined.member_id)));
            }
            Then::Returned { ticket, group_id, joined, before } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.undo_return(&joined.member_id, *before);
                }
                self.enroll(&group_id);
                actions.reply(ticket, Response::Join(Joined::refused(code, joined.member_id)));
            }
            Then::Offsets { ticket, mut results } => {
                results.iter_mut().filter(|r| r.error.is_none()).for_each(|r| r.error = code);
                actions.reply(ticket, Response::CommitOffsets(results));
            }
            Then::Assignment { group_id, generation_id, .. } => {
                if let Some(group) = self.groups.get_mut(&group_id) {
                    group.on_assignment_failed(time, generation_id, code, actions);
                }
                self.enroll(&group_id);
            }
        }
    }

    /// A consumer group goes on, since its end could not be written: the classic one that was begun
    /// in its place never was.
    fn never_began(&mut self, group_id: &Str, code: ErrorCode, actions: &mut Actions) {
        if self.consumer_groups.contains_key(group_id)
            && let Some(mut never) = self.groups.remove(group_id)
        {
            never.refuse_waiting(code, actions);
            self.enroll(group_id);
        }
    }

    /// A group that was begun for offsets which could not be written never was.
    fn forget_unused(&mut self, group_id: &Str) {
        let is_unused = |group: &Group| {
            group.state() == State::Empty
                && group.protocol_type().is_none()
                && group.pending_members.is_empty()
        };
        if self.groups.get(group_id).is_some_and(is_unused) && !self.offsets.contains(group_id) {
            self.groups.remove(group_id);
            self.enroll(group_id);
        }
    }

    /// A record of the log, while the shard is loaded.
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::Group(snapshot) => {
                let group = snapshot.into_group(self.limits);
                self.consumer_groups.remove(&group.group_id);
                self.groups.insert(group.group_id.clone(), group);
            }
            Record::Consumer(record) => self.apply_consumer(&record),
            Record::GroupTombstone { group_id } => {
                self.groups.remove(&group_id);
            }
            Record::Offset { .. } => self.offsets.apply(&record),
        }
    }

    /// A record of a producer's transaction, while the shard is loaded.
    pub fn replay_open(&mut self, producer: ProducerId, record: &Record) {
        self.offsets.apply_open(producer, record);
    }

    /// The end of a producer's transaction, while the shard is loaded.
    pub fn replay_end(&mut self, end: TransactionEnd) {
        self.offsets.end(end.producer.id, end.is_commit);
    }

    /// The log is replayed to its end: members get a whole session to report.
    pub fn on_loaded(&mut self, time: Time) {
        self.next_expiry = Some(time.now.plus_ms(self.offset_limits.check_interval_ms));
        for group_id in self.offsets.group_ids() {
            if !self.groups.contains_key(group_id) && !self.consumer_groups.contains_key(group_id) {
                let group = Group::new(group_id.clone(), self.limits, time.wall);
                self.groups.insert(group_id.clone(), group);
            }
        }
        for group in self.groups.values_mut() {
            let ids: Vec<Str> = group.members().map(|m| m.member_id.clone()).collect();
            ids.iter().for_each(|id| group.keep_alive(id, time.now));
            // It was to rebalance, and nobody has divided the work yet. Nobody waits for that.
            if group.state() == State::Stable && group.leader_id().is_none() {
                group.prepare_rebalance(time, &mut Actions::default());
            }
        }
        self.start_consumer_sessions(time);
        let ids: Vec<Str> =
            self.groups.keys().chain(self.consumer_groups.keys()).cloned().collect();
        ids.iter().for_each(|group_id| self.enroll(group_id));
    }

    /// The shard moves away: everybody who waits has to look for the new coordinator.
    pub fn on_unload(&mut self, actions: &mut Actions) {
        let error = ErrorCode::NotCoordinator;
        self.groups.values_mut().for_each(|group| group.refuse_waiting(error, actions));
    }

    /// When the shard wants [`GroupShard::on_timeout`]; `None` while nothing can happen by time.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        let is_empty = self.offsets.is_empty() && self.group_count() == 0;
        let expiry = if is_empty { None } else { self.next_expiry };
        self.roll.next().into_iter().chain(expiry).min()
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, time: Time, actions: &mut Actions) {
        for group_id in self.roll.due(time.now) {
            match self.groups.get_mut(&group_id) {
                Some(group) => group.on_timeout(time, actions),
                None => self.remove_overdue(time, &group_id, actions),
            }
            self.enroll(&group_id);
        }
        if self.next_expiry.is_some_and(|at| at <= time.now) {
            self.expire_offsets(time, actions);
            self.next_expiry = Some(time.now.plus_ms(self.offset_limits.check_interval_ms));
        }
    }

    /// How many groups there are, for the metrics.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len() + self.consumer_groups.len()
    }

    /// A consumer group, for tests.
    #[must_use]
    pub fn consumer_group(&self, group_id: &str) -> Option<&ConsumerGroup> {
        self.consumer_groups.get(group_id)
    }

    /// The groups, for tests and metrics.
    #[must_use]
    pub fn group(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id)
    }
}

/// The end of a transaction goes into the log; what it means follows from there.
fn on_end_transaction(end: TransactionEnd, ticket: Ticket, actions: &mut Actions) {
    let committed = Box::new(Response::EndTransaction(ErrorCode::None));
    let failed = Box::new(Response::EndTransaction(ErrorCode::UnknownServerError));
    let then = Then::Reply { ticket, committed, failed };
    actions.writes.push(Write {
        records: Vec::new(),
        author: Author::Coordinator(end),
        then,
        becomes: None,
    });
}
