//! A group whose members change their protocol, and what they promise.

use std::collections::BTreeSet;

use klamm_group_coordinator::{GroupShard, Response};
use klamm_model::{Offset, TopicId};
use klamm_stdx::Str;

use super::client::{Client, Member, Protocol};
use super::exchange::Message;
use super::journal::{Became, Journal};
use super::options::Options;
use super::{MigrationTally, settled};
use crate::coordinators::consumers::cluster::{Cluster, Partition, Wants};
use crate::coordinators::consumers::journal::records;
use crate::coordinators::consumers::member as consumer;
use crate::coordinators::coordinator::{Coordinator, Waiting, no_effects};
use crate::coordinators::course::{Course, Plan, SLOW_MS};
use crate::coordinators::ensure;
use crate::coordinators::groups::member::{self as classic, PARTITIONS, TOPIC};
use crate::coordinators::groups::options::Options as ClassicOptions;
use crate::coordinators::luck::happens;
use crate::coordinators::owners::Owners;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::world::{Commits, World};
use crate::random::Seeded;

/// How long things go wrong.
const CHAOS_MS: u64 = 3_000;
/// The first clients come within; nobody changes the protocol before they are in the group.
const COME_MS: u64 = 200;
const SWITCH_FROM_MS: usize = 300;
/// Another comes in a member's place within.
const GAP_MS: u64 = 400;
/// The group settles within so many sessions and rebalances, and a moment for messages and for a
/// removal that could not be written.
const ROUNDS: u64 = 4;
const MOMENT_MS: u64 = 2_500;

#[derive(Debug)]
pub(in crate::coordinators) enum Event {
    Send(usize, u64),
    /// A client that has heard nothing since this request.
    Impatience(usize, u64),
    Deliver(Message),
    /// With the life of the member's id when it was given.
    Answer(usize, u64, (Response, u64)),
    /// The client at a place is followed by one that speaks the next protocol.
    Switch(usize),
    /// It dies, and is followed by one that speaks the same.
    Die(usize),
    Come(usize, Protocol, Option<Str>),
}

/// The whole world of a seed.
pub struct Migration {
    pub(super) course: Course<Event>,
    pub(super) options: Options,
    pub(super) cluster: Cluster,
    pub(super) topic_id: TopicId,
    pub(super) coordinator: Coordinator<GroupShard>,
    pub(super) log: SimPartition,
    pub(super) clients: Vec<Client>,
    /// One more than the number of each client's request that arrived last.
    pub(super) arrived: Vec<u64>,
    /// What the client at each place speaks, or the one that is about to come.
    pub(super) places: Vec<Protocol>,
    /// How many ids the broker has made up for members.
    pub(super) member_ids: usize,
    pub(super) waiting: Waiting<(usize, u64), Response>,
    /// Of clients that hold what they have by the log.
    pub(super) owners: Owners,
    pub(super) journal: Journal,
    pub(super) answered: BTreeSet<(Partition, i64)>,
    pub(super) committed_to: Offset,
    pub(super) tally: MigrationTally,
}

impl World for Migration {
    const NAME: &'static str = "migration";
    const COMMITS: Commits = Commits::OneByOne;
    type Event = Event;

    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = Options::random(&mut random);
        let options = if plan == Plan::Chaos { options } else { options.calm() };
        let cluster = Cluster::of(TOPIC, i32::from(PARTITIONS));
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
            topic_id: cluster.image.topics.id(TOPIC).expect("it was just made"),
            cluster,
            log,
            clients: Vec::new(),
            arrived: Vec::new(),
            places: Vec::new(),
            member_ids: 0,
            waiting: Waiting::default(),
            owners: Owners::default(),
            journal: Journal::default(),
            answered: BTreeSet::new(),
            committed_to: Offset(0),
            tally: MigrationTally::default(),
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
            Event::Send(client, number) => self.send(client, number),
            Event::Impatience(client, number) => self.retry(client, number),
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(client, number, answer) => self.on_answer((client, number), answer)?,
            Event::Switch(place) => {
                let next = self.options.direction.next(self.places[place]);
                self.follow(place, next);
            }
            Event::Die(place) => self.follow(place, self.places[place]),
            Event::Come(place, protocol, instance_id) => self.come(place, protocol, instance_id),
        }
        Ok(())
    }

    fn restart(&mut self) {
        // The connections are gone, and what was on its way with them.
        self.waiting.clear();
        self.course.forget(|event| matches!(event, Event::Deliver(_)));
        let read = (&self.log, Some(&self.cluster.image));
        let (shard, time) = (self.options.shard(), self.course.time());
        self.coordinator = Coordinator::load(shard, read, no_effects(), time);
    }

    /// Whoever is about to come still does.
    fn calm_down(&mut self) {
        let live = self.clients.iter().filter(|client| client.is_alive());
        for client in live.filter(|client| client.protocol() == Protocol::Consumer) {
            self.course.put(1, Event::Impatience(client.index, client.number()));
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        self.coordinator.turn(self.course.time());
        self.look_at_committed()?;
        let (shard, group) = (self.coordinator.shard(), classic::GROUP);
        ensure(shard.group(group).is_none() || shard.consumer_group(group).is_none(), || {
            "there is a group of either protocol".to_owned()
        })?;
        for ((client, number), response) in self.waiting.answered() {
            let life = match &response {
                Response::ConsumerHeartbeat(Ok(a)) => self.journal.life(&a.member_id),
                _ => self.journal.life(self.clients[client].member_id()),
            };
            self.course.answers(Event::Answer(client, number, (response, life)));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<MigrationTally, String> {
        let lost = self.answered.iter().find(|((_, p), at)| !self.journal.has(&(*p, *at)));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        settled::check(self.coordinator.shard(), &self.clients, self.topic_id)?;
        self.tally.removed = self.journal.removed;
        Ok(self.tally)
    }
}

impl Migration {
    fn plan(&mut self) {
        let options = self.options;
        self.course.notes.push(format!("{options:?}"));
        for place in 0..options.places {
            let random = &mut self.course.random;
            let protocol = options.direction.first(random);
            let is_fixed = happens(random, options.fixed);
            let instance_id = is_fixed.then(|| Str::from(format!("i{place}")));
            self.places.push(protocol);
            for _ in 0..options.switches {
                let from = SWITCH_FROM_MS;
                let at = from + self.course.random.below(CHAOS_MS as usize - from);
                self.course.put(at as u64, Event::Switch(place));
            }
            self.course.put_within(COME_MS, Event::Come(place, protocol, instance_id));
        }
        let any = |random: &mut Seeded| Event::Die(random.below(options.places));
        self.course.scatter((options.deaths, CHAOS_MS), any);
        let rounds_ms = ROUNDS * (options.times.session_ms + options.rebalance_ms);
        let rest_ms = SLOW_MS + MOMENT_MS + 2 * options.times.assignment_interval_ms;
        self.course.begin(CHAOS_MS, rounds_ms + rest_ms);
    }

    fn come(&mut self, place: usize, protocol: Protocol, instance_id: Option<Str>) {
        let index = self.clients.len();
        let options = self.options;
        let member = match protocol {
            Protocol::Classic => {
                let timeouts = (options.times.session_ms, options.rebalance_ms);
                let options = ClassicOptions::of_member(timeouts, options.commits);
                Member::Classic(Box::new(classic::Member::new(index, instance_id, options)))
            }
            Protocol::Consumer => {
                let identity = consumer::Identity {
                    index,
                    instance_id,
                    brings_id: !happens(&mut self.course.random, options.nameless),
                    rebalance_ms: options.rebalance_ms as i32,
                };
                let wants = Wants::Names(vec![Str::from(TOPIC)]);
                Member::Consumer(Box::new(consumer::Member::new(identity, wants)))
            }
        };
        self.clients.push(Client::new((index, place), member));
        self.arrived.push(0);
        self.course.put(0, Event::Send(index, 0));
    }

    /// Whoever is at a place goes, with or without a word, and another comes.
    fn follow(&mut self, place: usize, next: Protocol) {
        let is_there =
            |client: &&Client| client.place == place && client.is_alive() && !client.is_leaving;
        let Some(index) = self.clients.iter().find(is_there).map(|client| client.index) else {
            return;
        };
        self.tally.switches += usize::from(self.places[place] != next);
        self.places[place] = next;
        let is_rude = self.course.happens(self.options.rudeness);
        let client = &mut self.clients[index];
        let instance_id = client.instance_id().cloned();
        if is_rude {
            client.die();
        } else {
            client.leave();
            self.course.put(0, Event::Send(index, client.number()));
        }
        self.owners.give_up(index, &BTreeSet::new());
        self.course.put_within(GAP_MS, Event::Come(place, next, instance_id));
    }

    /// What is committed, batch by batch: who is out of the group has nothing more.
    fn look_at_committed(&mut self) -> Result<(), String> {
        while let Some(batch) = self.log.committed_batch(self.committed_to) {
            self.committed_to = batch.next_offset;
            let became = self.journal.on_batch(records(batch.entries).collect())?;
            self.tally.upgrades += usize::from(became == Became::Upgraded);
            self.tally.downgrades += usize::from(became == Became::Downgraded);
            let (journal, clients) = (&self.journal, &self.clients);
            self.owners.retain(|owner| clients[owner].holds(journal));
        }
        Ok(())
    }
}
