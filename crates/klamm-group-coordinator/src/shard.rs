//! One shard: the groups whose names hash to one partition of `__consumer_offsets`.

use std::collections::HashMap;
use std::sync::Arc;

use klamm_coordinator::TransactionEnd;
use klamm_env::Moment;
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, ProducerId};
use klamm_stdx::Str;

use crate::actions::{Actions, Author, Then, Write};
use crate::bounds::Bounds;
use crate::classic::{Group, Limits, State};
use crate::consumer::{ConsumerGroup, ConsumerLimits};
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

    /// With other bounds than the defaults.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
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
