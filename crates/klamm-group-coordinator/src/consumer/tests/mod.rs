//! The sentences of consumer groups, through the shard's door.

mod life;
mod refusals;
mod topics;
mod transitions;

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_env::Moment;
use klamm_metadata::{MetadataDelta, MetadataImage};
use klamm_model::{ErrorCode, GenerationId, NodeId, Offset, Timestamp, TopicId, Uuid};
use klamm_persisted::metadata::{
    ConfigRecord, MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use klamm_stdx::Str;

use super::{ConsumerGroup, ConsumerHeartbeat, ConsumerLimits, HeartbeatAnswer, Refusal};
use crate::{
    Actions, FoundOffset, GroupShard, Limits, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetLimits, OffsetToCommit, Record, Request, Response, Stability, Ticket, Time, Write,
};

pub(crate) const GROUP: &str = "g";
pub(crate) const T: TopicId = Uuid(201);

/// A shard with topics, a clock and a log that commits at once.
pub(crate) struct World {
    pub(crate) shard: GroupShard,
    pub(crate) image: Arc<MetadataImage>,
    pub(crate) now_ms: u64,
    pub(crate) tickets: u64,
    pub(crate) replies: BTreeMap<Ticket, Response>,
    pub(crate) log: Vec<Record>,
    pub(crate) refuses_writes: bool,
}

/// A client of the protocol that does what it is told.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: Str,
    pub(crate) instance_id: Option<Str>,
    pub(crate) epoch: i32,
    pub(crate) owned: Vec<(TopicId, Vec<i32>)>,
}

impl Client {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.into(), instance_id: None, epoch: 0, owned: Vec::new() }
    }

    pub(crate) fn fixed(id: &str, instance_id: &str) -> Self {
        Self { instance_id: Some(instance_id.into()), ..Self::new(id) }
    }

    pub(crate) fn joins(&self, names: &[&str]) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            rebalance_timeout_ms: Some(10_000),
            names: Some(names.iter().map(|name| Str::from(*name)).collect()),
            owned: Some(Vec::new()),
            member_epoch: 0,
            ..self.beats()
        }
    }

    pub(crate) fn beats(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            brings_id: true,
            ..ConsumerHeartbeat::default()
        }
    }

    pub(crate) fn tells(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat { owned: Some(self.owned.clone()), ..self.beats() }
    }

    pub(crate) fn leaves(&self, epoch: i32) -> ConsumerHeartbeat {
        ConsumerHeartbeat { member_epoch: epoch, ..self.beats() }
    }

    pub(crate) fn take(&mut self, answer: &HeartbeatAnswer) {
        self.epoch = answer.member_epoch;
        if let Some(assignment) = &answer.assignment {
            self.owned.clone_from(assignment);
        }
    }

    pub(crate) fn has(&self, topic_id: TopicId) -> Vec<i32> {
        self.owned.iter().filter(|(id, _)| *id == topic_id).flat_map(|(_, p)| p.clone()).collect()
    }
}

impl World {
    /// A topic `t` with so many partitions.
    pub(crate) fn new(partitions: i32) -> Self {
        let limits = Limits { initial_rebalance_delay_ms: 0, ..Limits::default() };
        Self::with(partitions, limits, ConsumerLimits::default())
    }

    pub(crate) fn with(partitions: i32, limits: Limits, consumers: ConsumerLimits) -> Self {
        let shard = GroupShard::new(limits, OffsetLimits::default());
        let mut world = Self {
            shard: shard.with_consumer_limits(consumers),
            image: Arc::default(),
            now_ms: 1_000,
            tickets: 0,
            replies: BTreeMap::new(),
            log: Vec::new(),
            refuses_writes: false,
        };
        world.create("t", T, partitions);
        world
    }

    pub(crate) fn time(&self) -> Time {
        Time {
            now: Moment(self.now_ms * 1_000_000),
            wall: Timestamp(1_700_000_000_000 + self.now_ms as i64),
        }
    }

    pub(crate) fn metadata(&mut self, records: &[MetadataRecord]) {
        let mut delta = MetadataDelta::new(&self.image);
        records.iter().for_each(|record| delta.replay(record).unwrap());
        self.image = Arc::new(delta.apply().0);
        self.shard.on_metadata(&self.image);
    }

    pub(crate) fn create(&mut self, name: &str, topic_id: TopicId, partitions: i32) {
        let topic = TopicRecord { name: name.into(), topic_id };
        self.metadata(&[MetadataRecord::from(topic)]);
        self.expand(topic_id, 0..partitions);
    }

    pub(crate) fn expand(&mut self, topic_id: TopicId, partitions: std::ops::Range<i32>) {
        let record = |partition_id| {
            MetadataRecord::from(PartitionRecord {
                topic_id,
                partition_id,
                replicas: vec![NodeId(1).0],
                isr: vec![NodeId(1).0],
                directories: vec![Uuid(300)],
                leader: 1,
                ..PartitionRecord::default()
            })
        };
        self.metadata(&partitions.map(record).collect::<Vec<_>>());
    }

    pub(crate) fn delete(&mut self, topic_id: TopicId) {
        self.metadata(&[MetadataRecord::from(RemoveTopicRecord { topic_id })]);
    }

    pub(crate) fn configure(&mut self, name: &str, value: &str) {
        self.metadata(&[MetadataRecord::from(ConfigRecord {
            resource_type: klamm_metadata::CONFIG_GROUP,
            resource_name: GROUP.into(),
            name: name.into(),
            value: Some(value.into()),
        })]);
    }

    pub(crate) fn act(&mut self, actions: Actions) {
        let mut queue = vec![actions];
        while let Some(actions) = queue.pop() {
            self.replies.extend(actions.replies);
            for write in actions.writes {
                queue.push(self.write(write));
            }
            self.replies.extend(actions.reads);
        }
    }

    pub(crate) fn write(&mut self, write: Write) -> Actions {
        let mut actions = Actions::default();
        if self.refuses_writes {
            let error = ErrorCode::NotLeaderOrFollower;
            self.shard.on_failed(self.time(), write, error, &mut actions);
            return actions;
        }
        for record in &write.records {
            let (key, value) = record.to_key_value().unwrap();
            let read = Record::from_key_value(key, value).unwrap();
            assert_eq!(read, *record, "a record reads back as it was written");
        }
        self.log.extend(write.records.iter().cloned());
        self.shard.on_appended(self.time(), &write, &mut actions);
        self.shard.on_committed(self.time(), write, &mut actions);
        actions
    }

    /// Asks what may be answered later.
    pub(crate) fn begin(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut actions = Actions::default();
        self.shard.on_request(self.time(), request, ticket, &mut actions);
        self.act(actions);
        ticket
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        let ticket = self.begin(request);
        self.replies.remove(&ticket).expect("every request is answered at once")
    }

    pub(crate) fn send(&mut self, beat: ConsumerHeartbeat) -> Result<HeartbeatAnswer, Refusal> {
        match self.ask(Request::ConsumerHeartbeat(GROUP.into(), Box::new(beat))) {
            Response::ConsumerHeartbeat(answer) => answer.map(|answer| *answer),
            other => panic!("not the answer to a heartbeat: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, beat: ConsumerHeartbeat) -> ErrorCode {
        self.send(beat).unwrap_err().error
    }

    #[track_caller]
    pub(crate) fn join(&mut self, client: &mut Client, names: &[&str]) -> HeartbeatAnswer {
        let answer = self.send(client.joins(names)).unwrap();
        client.take(&answer);
        answer
    }

    /// A heartbeat with what the client has; it takes what it is told.
    #[track_caller]
    pub(crate) fn beat(&mut self, client: &mut Client) -> HeartbeatAnswer {
        let answer = self.send(client.tells()).unwrap();
        client.take(&answer);
        answer
    }

    /// Heartbeats of all until nobody is told anything new.
    #[track_caller]
    pub(crate) fn settle(&mut self, clients: &mut [&mut Client]) {
        for _ in 0..20 {
            self.pass(1_100);
            let written = self.log.len();
            for client in &mut *clients {
                self.beat(client);
            }
            self.check_owners(clients);
            if self.log.len() == written {
                return;
            }
        }
        panic!("the group does not settle");
    }

    /// No partition is with two clients.
    #[track_caller]
    pub(crate) fn check_owners(&self, clients: &[&mut Client]) {
        let mut all: Vec<(TopicId, i32)> = clients
            .iter()
            .flat_map(|client| {
                client.owned.iter().flat_map(|(id, ps)| ps.iter().map(|p| (*id, *p)))
            })
            .collect();
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n, "a partition has two owners: {clients:?}");
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.shard.next_timeout().filter(|at| at.0 <= end * 1_000_000) {
            self.now_ms = self.now_ms.max(at.0.div_ceil(1_000_000));
            let mut actions = Actions::default();
            self.shard.on_timeout(self.time(), &mut actions);
            self.act(actions);
        }
        self.now_ms = end;
    }

    /// The log in another shard.
    pub(crate) fn reload(&mut self) {
        let shard = GroupShard::new(self.shard.limits, OffsetLimits::default());
        self.shard = shard.with_consumer_limits(self.shard.consumer_limits.clone());
        self.shard.on_metadata(&self.image);
        self.log.iter().for_each(|record| self.shard.replay(record.clone()));
        self.shard.on_loaded(self.time());
    }

    #[track_caller]
    pub(crate) fn group(&self) -> &ConsumerGroup {
        self.shard.consumer_group(GROUP).expect("the group is there")
    }

    pub(crate) fn state(&self) -> &'static str {
        self.group().state().name()
    }

    pub(crate) fn commit(&mut self, client: &Client, epochs: MemberEpochs) -> ErrorCode {
        let commit = OffsetCommit {
            member_id: client.id.clone(),
            instance_id: client.instance_id.clone(),
            generation_id: GenerationId(client.epoch),
            epochs,
            retention_ms: None,
            offsets: vec![OffsetToCommit {
                topic: "t".into(),
                topic_id: Some(T),
                partition: 0,
                offset: Offset(7),
                leader_epoch: None,
                metadata: Str::new(),
            }],
        };
        match self.ask(Request::CommitOffsets(GROUP.into(), commit)) {
            Response::CommitOffsets(results) => results[0].error,
            other => panic!("not the answer to a commit: {other:?}"),
        }
    }

    pub(crate) fn fetch(&mut self, member: Option<(Str, i32)>) -> Result<FoundOffset, ErrorCode> {
        let asked = Some(vec![("t".into(), vec![0])]);
        let fetch = OffsetFetch { asked, stability: Stability::Any, member };
        match self.ask(Request::FetchOffsets(GROUP.into(), fetch)) {
            Response::FetchOffsets(found) => found.map(|found| found.topics[0].1[0].1.clone()),
            other => panic!("not the answer to a fetch: {other:?}"),
        }
    }
}
