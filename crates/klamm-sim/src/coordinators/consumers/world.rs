//! A consumer group, its members, and what they promise.

use std::collections::BTreeSet;

use klamm_coordinator::PartitionLog;
use klamm_group_coordinator::consumer::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use klamm_group_coordinator::{GroupShard, Record, Request, Response};
use klamm_model::Offset;
use klamm_stdx::Str;

use super::cluster::{Cluster, Partition, Wants};
use super::exchange::Message;
use super::journal::{Journal, records};
use super::legal::{self, Given};
use super::member::{GROUP, Identity, Member};
use super::options::Options;
use super::{ConsumerGroupTally, settled};
use crate::coordinators::coordinator::{Coordinator, Waiting, no_effects};
use crate::coordinators::course::{Course, Plan, SLOW_MS};
use crate::coordinators::ensure;
use crate::coordinators::luck::happens;
use crate::coordinators::owners::Owners;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::world::{Commits, World};
use crate::random::Seeded;

/// How long there is chaos.
const CHAOS_MS: u64 = 3_000;
/// Members come within, and after one that is gone.
const COME_MS: u64 = 200;
const GAP_MS: u64 = 600;
/// Patterns are matched again this often at most (see klamm-group-coordinator: serve).
const PATTERNS_MS: u64 = 1_000;
/// A removal that could not be written is tried again after (see klamm-group-coordinator: group).
const REMOVAL_RETRY_MS: u64 = 1_000;
/// Heartbeats, with their way there and back, that a group needs at most to settle.
const SETTLED_WITHIN: u64 = 12;
const WAY_MS: u64 = 30;

#[derive(Debug)]
pub(in crate::coordinators) enum Event {
    Send(usize, u64),
    /// A member that has heard nothing since this request.
    Impatience(usize, u64),
    Deliver(Message),
    /// With the life of the member's id when it was given.
    Answer(usize, u64, (Response, u64)),
    /// Something becomes of a member.
    Fate(usize),
    /// Another member comes, with this instance id if it is static.
    Come(Option<Str>),
    Topics,
    Wants(usize),
}

/// The whole world of a seed.
pub struct ConsumerGroups {
    pub(super) course: Course<Event>,
    pub(super) options: Options,
    pub(super) cluster: Cluster,
    pub(super) coordinator: Coordinator<GroupShard>,
    pub(super) log: SimPartition,
    pub(super) members: Vec<Member>,
    /// One more than the number of each member's request that arrived last.
    pub(super) arrived: Vec<u64>,
    pub(super) waiting: Waiting<(usize, u64), Response>,
    /// Of members that are in the group.
    pub(super) owners: Owners,
    pub(super) journal: Journal,
    pub(super) answered: BTreeSet<(Partition, i64)>,
    pub(super) given: Given,
    pub(super) appended_to: Offset,
    pub(super) committed_to: Offset,
    /// Appends that were refused when the group was compared with its log last.
    pub(super) refused: usize,
    pub(super) tally: ConsumerGroupTally,
}

impl World for ConsumerGroups {
    const NAME: &'static str = "consumer-groups";
    const COMMITS: Commits = Commits::OneByOne;
    type Event = Event;

    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = Options::random(&mut random);
        let options = if plan == Plan::Chaos { options } else { options.calm() };
        let cluster = Cluster::new(&mut random);
        let log = SimPartition::default();
        let course = Course::new(random, plan, (options.chaos, drawn));
        let mut this = Self {
            coordinator: Coordinator::load(
                options.shard(),
                (&log, Some(&cluster.image)),
                no_effects(),
                course.time(),
            ),
            course,
            options,
            cluster,
            log,
            members: Vec::new(),
            arrived: Vec::new(),
            waiting: Waiting::default(),
            owners: Owners::default(),
            journal: Journal::default(),
            answered: BTreeSet::new(),
            given: Given::default(),
            appended_to: Offset(0),
            committed_to: Offset(0),
            refused: 0,
            tally: ConsumerGroupTally::default(),
        };
        this.plan();
        this
    }

    fn course(&mut self) -> &mut Course<Event> {
        &mut self.course
    }

    fn logs(&self) -> Vec<SimPartition> {
        vec![self.log.clone()]
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(member, number) => self.send(member, number),
            Event::Impatience(member, number) => self.retry(member, number),
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(member, number, answer) => self.on_answer((member, number), answer)?,
            Event::Fate(member) => self.befall(member),
            Event::Come(instance_id) => self.come(instance_id),
            Event::Topics if self.course.is_calm() => {}
            Event::Topics => self.change_topics(),
            Event::Wants(member) => {
                let wants = self.wants();
                if let Some(asks) = self.members.get_mut(member) {
                    asks.change_wants(wants);
                    let number = asks.number;
                    self.send(member, number);
                }
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.appended_to = self.appended_to.min(self.log.log_end_offset());
        // The connections are gone, and what was on its way with them.
        self.waiting.clear();
        self.course.forget(|event| matches!(event, Event::Deliver(_)));
        let read = (&self.log, Some(&self.cluster.image));
        let (shard, time) = (self.options.shard(), self.course.time());
        self.coordinator = Coordinator::load(shard, read, no_effects(), time);
        self.given = Given::of(self.coordinator.shard().consumer_group(GROUP));
    }

    fn calm_down(&mut self) {
        for member in self.members.iter().filter(|member| member.is_alive) {
            self.course.put(1, Event::Impatience(member.identity.index, member.number));
        }
        if self.members.iter().all(|member| !member.is_alive) {
            self.course.put(1, Event::Come(None));
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        self.coordinator.turn(self.course.time());
        self.look_at_appended()?;
        self.look_at_committed()?;
        if self.refused != self.log.refused() {
            self.refused = self.log.refused();
            self.given.check(self.coordinator.shard().consumer_group(GROUP))?;
        }
        for ((member, number), response) in self.waiting.answered() {
            let life = match &response {
                Response::ConsumerHeartbeat(Ok(a)) => self.journal.life(&a.member_id),
                _ => 0,
            };
            self.course.answers(Event::Answer(member, number, (response, life)));
        }
        Ok(())
    }

    fn finish(self) -> Result<ConsumerGroupTally, String> {
        let lost = self.answered.iter().find(|committed| !self.journal.has(committed));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        let group = self.coordinator.shard().consumer_group(GROUP).ok_or("there is no group")?;
        settled::check(group, &self.members, &self.cluster)?;
        Ok(self.tally)
    }
}

impl ConsumerGroups {
    fn plan(&mut self) {
        let options = self.options;
        self.course.notes.push(format!("{options:?}"));
        for member in 0..options.members {
            let is_fixed = happens(&mut self.course.random, options.fixed);
            let instance_id = is_fixed.then(|| Str::from(format!("i{member}")));
            self.course.put_within(COME_MS, Event::Come(instance_id));
        }
        let any = |random: &mut Seeded| random.below(options.members);
        self.course.scatter((options.deaths, CHAOS_MS), |random| Event::Fate(any(random)));
        self.course.scatter((options.topic_changes, CHAOS_MS), |_| Event::Topics);
        let changes = (options.subscription_changes, CHAOS_MS);
        self.course.scatter(changes, |random| Event::Wants(any(random)));
        let settles_ms = SETTLED_WITHIN * (options.times.interval_ms + WAY_MS);
        let timeouts_ms = options.times.session_ms + options.rebalance_ms + SLOW_MS;
        let delays_ms = PATTERNS_MS + REMOVAL_RETRY_MS + options.times.assignment_interval_ms;
        self.course.begin(CHAOS_MS, timeouts_ms + delays_ms + settles_ms);
    }

    fn wants(&mut self) -> Wants {
        let random = &mut self.course.random;
        match happens(random, self.options.patterns) {
            true => Wants::pattern(random),
            false => Wants::names(random),
        }
    }

    fn come(&mut self, instance_id: Option<Str>) {
        let identity = Identity {
            index: self.members.len(),
            instance_id,
            brings_id: !happens(&mut self.course.random, self.options.nameless),
            rebalance_ms: self.options.rebalance_ms as i32,
        };
        let wants = self.wants();
        self.course.put(0, Event::Send(identity.index, 0));
        self.members.push(Member::new(identity, wants));
        self.arrived.push(0);
    }

    /// A member dies without a word, or leaves; another comes in its place.
    fn befall(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.is_alive) else {
            return;
        };
        let instance_id = member.identity.instance_id.clone();
        match self.course.random.below(3) {
            0 => member.is_alive = false,
            1 if instance_id.is_some() => self.leave(index, STATIC_LEAVE_EPOCH),
            _ => return self.leave(index, LEAVE_EPOCH),
        }
        self.course.put_within(GAP_MS, Event::Come(instance_id));
    }

    fn leave(&mut self, index: usize, epoch: i32) {
        let member = &mut self.members[index];
        member.leave(epoch);
        self.owners.give_up(index, &member.has);
        self.course.put(0, Event::Send(index, member.number));
    }

    fn change_topics(&mut self) {
        let gone = self.cluster.change(&mut self.course.random);
        self.coordinator.on_news(&self.cluster.image);
        if let Some(name) = gone {
            self.tally.deleted_topics += 1;
            // Nobody waits for what it says.
            drop(self.coordinator.ask(self.course.time(), Request::TopicDeleted(name)));
        }
    }

    /// What is written is legal at the moment it is written.
    fn look_at_appended(&mut self) -> Result<(), String> {
        let new = self.log.read(self.appended_to).map_err(|error| error.to_string())?;
        self.appended_to = new.next_offset;
        let mut changes = Vec::new();
        for record in records(new.entries) {
            match record {
                Record::Consumer(record) => changes.push(record.change),
                Record::Offset { topic, offset: None, .. } => {
                    self.tally.expired += 1;
                    let group = self.coordinator.shard().consumer_group(GROUP);
                    let is_read = group.is_some_and(|group| group.is_subscribed_to(&topic));
                    let is_there = self.cluster.image.topics.by_name(&topic).is_some();
                    ensure(!is_read || !is_there, || {
                        format!("an offset of {topic} expired, which the group reads")
                    })?;
                }
                _ => {}
            }
        }
        self.given.on_changes(&changes, &self.cluster)?;
        match self.coordinator.shard().consumer_group(GROUP) {
            Some(group) if !changes.is_empty() => legal::check(group, &self.cluster),
            Some(_) | None => Ok(()),
        }
    }

    fn look_at_committed(&mut self) -> Result<(), String> {
        let new = self.log.committed_from(self.committed_to);
        self.committed_to = new.next_offset;
        for record in records(new.entries) {
            let Some(gone) = self.journal.replay(record)? else { continue };
            self.tally.removed += 1;
            let members = &self.members;
            self.owners.retain(|owner| members[owner].member_id != gone);
        }
        Ok(())
    }
}
