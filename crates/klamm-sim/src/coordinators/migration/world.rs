//! Everything that happens to a group whose members change their protocol, in the order of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_coordinator::{Loaded, ShardState, Time};
use klamm_env::Moment;
use klamm_group_coordinator::{GroupShard, Record, Request, Response};
use klamm_model::{Offset, Timestamp, TopicId};
use klamm_stdx::Str;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::client::{Client, Learned, Member, Protocol, Sent};
use super::journal::{Became, Journal};
use super::options::Options;
use super::{MigrationTally, settled};
use crate::coordinators::consumers::cluster::{Cluster, Partition, Wants};
use crate::coordinators::consumers::member as consumer;
use crate::coordinators::ensure;
use crate::coordinators::groups::member::{self as classic, PARTITIONS, TOPIC};
use crate::coordinators::groups::options::Options as ClassicOptions;
use crate::coordinators::luck::happens;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::queue::Queue;
use crate::coordinators::refusals::Refusal;
use crate::coordinators::trace::Trace;
use crate::random::Seeded;

/// How long things go wrong.
const CHAOS_MS: u64 = 3_000;
/// What is slow takes at most so long.
const SLOW_MS: i64 = 500;
/// A member that hears nothing asks again.
const PATIENCE_MS: i64 = 80;
/// Another comes in a member's place within.
const GAP_MS: usize = 400;
/// The group settles within so many sessions and rebalances, and a moment for messages and for a
/// removal that could not be written.
const ROUNDS: u64 = 4;
const MOMENT_MS: u64 = 2_500;

/// A request on its way.
#[derive(Debug)]
struct Message {
    client: usize,
    sent: Sent,
    request: Request,
}

/// An answer on its way, with the life of the member's id when it was given.
type Answer = (Response, u64);

#[derive(Debug)]
enum Event {
    Send(usize, u64),
    /// A client that has heard nothing since this request.
    Impatience(usize, u64),
    Deliver(Message),
    Answer(usize, u64, Answer),
    Sync,
    Tick,
    Crash,
    /// The log refuses an append, or some.
    Refuse,
    /// The client at a place is followed by one that speaks the next protocol.
    Switch(usize),
    /// It dies, and is followed by one that speaks the same.
    Die(usize),
    Come(usize, Protocol, Option<Str>),
    Calm,
    End,
}

/// The whole world of a seed.
pub(super) struct World {
    random: Seeded,
    options: Options,
    ms: u64,
    is_calm: bool,
    queue: Queue<Event>,
    cluster: Cluster,
    topic_id: TopicId,
    shard: ShardState<GroupShard>,
    log: SimPartition,
    clients: Vec<Client>,
    /// One more than the number of each client's request that arrived last.
    arrived: Vec<u64>,
    /// What the client at each place speaks, or the one that is about to come.
    places: Vec<Protocol>,
    /// How many ids the broker has made up for members.
    member_ids: usize,
    tasks: Vec<(usize, u64, Receiver<Response>)>,
    /// Who has a partition: a client that took it, did not give it up, and holds it by the log.
    owners: BTreeMap<Partition, usize>,
    journal: Journal,
    answered: BTreeSet<(Partition, i64)>,
    committed_to: Offset,
    tally: MigrationTally,
}

fn load(
    log: &SimPartition,
    options: &Options,
    cluster: &Cluster,
    time: Time,
) -> ShardState<GroupShard> {
    let none = Arc::new(|effect: std::convert::Infallible| match effect {});
    let mut state = ShardState::new(options.shard(), Arc::new(log.lead()), none);
    state.on_news(&cluster.image);
    while state.is_reading() {
        state.load_some(time).expect("memory can be read");
    }
    state
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = Options::random(&mut random);
        let cluster = Cluster::of(TOPIC, i32::from(PARTITIONS));
        let topic_id = cluster.image.topics.id(TOPIC).expect("it was just made");
        let log = SimPartition::default();
        let shard = load(&log, &options, &cluster, Time { now: Moment(0), wall: Timestamp(0) });
        let mut this = Self {
            random,
            options,
            ms: 0,
            is_calm: false,
            queue: Queue::default(),
            cluster,
            topic_id,
            shard,
            log,
            clients: Vec::new(),
            arrived: Vec::new(),
            places: Vec::new(),
            member_ids: 0,
            tasks: Vec::new(),
            owners: BTreeMap::new(),
            journal: Journal::default(),
            answered: BTreeSet::new(),
            committed_to: Offset(0),
            tally: MigrationTally { drawn, ..MigrationTally::default() },
        };
        this.plan();
        this
    }

    fn plan(&mut self) {
        let options = self.options;
        for place in 0..options.places {
            let protocol = options.direction.first(&mut self.random);
            let is_fixed = happens(&mut self.random, options.fixed);
            let instance_id = is_fixed.then(|| Str::from(format!("i{place}")));
            let at = self.random.below(200) as u64;
            self.places.push(protocol);
            self.queue.put(at, Event::Come(place, protocol, instance_id));
            for _ in 0..options.switches {
                let at = 300 + self.random.below(CHAOS_MS as usize - 300) as u64;
                self.queue.put(at, Event::Switch(place));
            }
        }
        let mut at = |n: usize, event: fn(usize) -> Event| {
            for _ in 0..n {
                let place = self.random.below(options.places);
                let ms = self.random.below(CHAOS_MS as usize) as u64;
                self.queue.put(ms, event(place));
            }
        };
        at(options.crashes, |_| Event::Crash);
        at(options.refusals, |_| Event::Refuse);
        at(options.deaths, Event::Die);
        self.queue.put(1, Event::Sync);
        self.queue.put(1, Event::Tick);
        self.queue.put(CHAOS_MS, Event::Calm);
        let rounds_ms = ROUNDS * (options.session_ms + options.rebalance_ms);
        let rest_ms = SLOW_MS as u64 + MOMENT_MS + 2 * options.assignment_interval_ms;
        self.queue.put(CHAOS_MS + rounds_ms + rest_ms, Event::End);
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    fn happens(&mut self, once_in: Option<usize>) -> bool {
        !self.is_calm && happens(&mut self.random, once_in)
    }

    fn delay(&mut self) -> u64 {
        let most = if self.happens(self.options.slowness) { SLOW_MS } else { 8 };
        self.ms + self.random.between(0, most) as u64
    }

    pub(super) fn run(mut self, trace: &mut Trace) -> Result<MigrationTally, String> {
        trace.note(format_args!("{:?}", self.options));
        while let Some((ms, event)) = self.queue.take() {
            self.ms = ms;
            if !matches!(event, Event::Sync | Event::Tick) {
                trace.note(format_args!("{ms} {event:?}"));
            }
            if matches!(event, Event::End) {
                return self.finish();
            }
            self.on_event(event).and_then(|()| self.settle())?;
        }
        Err("the queue is empty before the end".to_owned())
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(client, number) => self.send(client, number),
            Event::Impatience(client, number) => {
                let asks = &mut self.clients[client];
                if asks.is_alive() && asks.number() == number {
                    asks.retry();
                    let number = asks.number();
                    self.send(client, number);
                }
            }
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(client, number, answer) => self.on_answer((client, number), answer)?,
            Event::Sync => self.sync()?,
            Event::Tick => self.queue.put(self.ms + 5, Event::Tick),
            Event::Crash => self.crash(),
            Event::Refuse => {
                let now = self.time().wall;
                self.log.refuse(Some(Refusal::random(&mut self.random, now)));
            }
            Event::Switch(place) => {
                let next = self.options.direction.next(self.places[place]);
                self.follow(place, next);
            }
            Event::Die(place) => self.follow(place, self.places[place]),
            Event::Come(place, protocol, instance_id) => self.come(place, protocol, instance_id),
            Event::Calm => self.calm_down(),
            Event::End => {}
        }
        Ok(())
    }

    fn come(&mut self, place: usize, protocol: Protocol, instance_id: Option<Str>) {
        let index = self.clients.len();
        let options = self.options;
        let member = match protocol {
            Protocol::Classic => {
                let timeouts = (options.session_ms, options.rebalance_ms);
                let options = ClassicOptions::of_member(timeouts, options.commits);
                Member::Classic(Box::new(classic::Member::new(index, instance_id, options)))
            }
            Protocol::Consumer => {
                let identity = consumer::Identity {
                    index,
                    instance_id,
                    brings_id: !happens(&mut self.random, options.nameless),
                    rebalance_ms: options.rebalance_ms as i32,
                };
                let wants = Wants::Names(vec![Str::from(TOPIC)]);
                Member::Consumer(Box::new(consumer::Member::new(identity, wants)))
            }
        };
        self.clients.push(Client::new((index, place), member));
        self.arrived.push(0);
        self.queue.put(self.ms, Event::Send(index, 0));
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
        let instance_id = self.clients[index].instance_id().cloned();
        if self.happens(self.options.rudeness) {
            self.clients[index].die();
        } else {
            self.clients[index].leave();
            let number = self.clients[index].number();
            self.queue.put(self.ms, Event::Send(index, number));
        }
        self.owners.retain(|_, owner| *owner != index);
        let at = self.ms + self.random.below(GAP_MS) as u64;
        self.queue.put(at, Event::Come(place, next, instance_id));
    }

    /// A client sends its current request, perhaps twice, perhaps in vain.
    fn send(&mut self, index: usize, number: u64) {
        let client = &self.clients[index];
        if !client.is_alive() || client.number() != number {
            return;
        }
        let is_lost = self.happens(self.options.loss);
        let is_doubled = self.happens(self.options.duplication);
        for _ in 0..usize::from(!is_lost) + usize::from(is_doubled) {
            let (sent, request) = self.clients[index].sends(&self.cluster);
            let at = self.delay();
            self.queue.put(at, Event::Deliver(Message { client: index, sent, request }));
        }
        let mut patience = self.random.between(PATIENCE_MS / 2, PATIENCE_MS * 2) as u64;
        // A join waits for the others, and Kafka's clients wait for it as long as they may take.
        if self.is_calm && self.clients[index].waits() {
            patience += self.options.rebalance_ms;
        }
        self.queue.put(self.ms + patience, Event::Impatience(index, number));
    }

    fn deliver(&mut self, message: Message) {
        let Message { client: index, sent, mut request } = message;
        if self.clients[index].is_lost((&sent, &request), self.arrived[index]) {
            return;
        }
        let number = sent.number();
        self.arrived[index] = self.arrived[index].max(number + 1);
        if let Request::Join(_, join) = &mut request {
            self.member_ids += 1;
            join.new_member_id = Str::from(format!("c{index}-{}", self.member_ids));
        }
        let (reply, answer) = oneshot::channel();
        self.shard.on_request(self.time(), request, reply);
        self.tasks.push((index, number, answer));
    }

    fn on_answer(&mut self, (index, number): (usize, u64), answer: Answer) -> Result<(), String> {
        let client = &mut self.clients[index];
        if !client.is_alive() || client.number() != number {
            return Ok(());
        }
        let at = (self.ms, self.topic_id);
        let learned = client.on_answer(answer, at, &mut self.random)?;
        let has = client.has(self.topic_id);
        self.owners.retain(|partition, owner| *owner != index || has.contains(partition));
        match learned {
            Learned::Nothing => {}
            Learned::Has => self.take(index)?,
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
                self.clients[index].take();
                self.take(index)?;
            }
            Learned::Ends => {
                self.clients[index].die();
                self.owners.retain(|_, owner| *owner != index);
                return Ok(());
            }
        }
        let (number, at) = (self.clients[index].number(), self.next_at(index));
        self.queue.put(at, Event::Send(index, number));
        Ok(())
    }

    /// When a client sends its next request. Some think for longer than their session lasts.
    fn next_at(&mut self, index: usize) -> u64 {
        if self.happens(self.options.silence) {
            return self.ms + self.random.below(2 * self.options.session_ms as usize) as u64;
        }
        self.ms.max(self.clients[index].due_ms()) + self.random.below(10) as u64
    }

    fn holds(journal: &Journal, client: &Client) -> bool {
        journal.holds(client.member_id(), (client.life(), client.generation()))
    }

    /// A client may have taken what it was told to; one that is out of the group has nothing.
    fn take(&mut self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        let has = client.has(self.topic_id);
        self.owners.retain(|partition, owner| *owner != index || has.contains(partition));
        if !Self::holds(&self.journal, client) {
            return Ok(());
        }
        for partition in has {
            let before = self.owners.insert(partition, index);
            self.tally.taken += usize::from(before.is_none());
            let Some(other) = before.filter(|other| *other != index) else { continue };
            let (a, b) = (self.clients[other].member_id(), self.clients[index].member_id());
            return Err(format!("{partition:?} has two owners: {a} and {b}"));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        let n = match self.random.below(3) {
            0 => self.log.uncommitted(),
            1 => 1,
            _ => 0,
        };
        for _ in 0..n {
            self.log.commit_one();
            self.settle()?;
        }
        let next = 1 + self.random.below(5) as u64;
        self.queue.put(self.ms + next, Event::Sync);
        Ok(())
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.log.crash(self.random.below(self.log.uncommitted() + 1));
        self.tasks.clear();
        // The connections are gone, and what was on its way with them.
        self.queue.retain(|event| !matches!(event, Event::Deliver(_)));
        self.shard = load(&self.log, &self.options, &self.cluster, self.time());
    }

    /// From now on nothing goes wrong. Whoever is about to come still does.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.log.refuse(None);
        let live = self.clients.iter().filter(|client| client.is_alive());
        for client in live.filter(|client| client.protocol() == Protocol::Consumer) {
            self.queue.put(self.ms + 1, Event::Impatience(client.index, client.number()));
        }
    }

    /// Everything that follows from an event without another.
    fn settle(&mut self) -> Result<(), String> {
        let time = self.time();
        self.shard.on_high_watermark(time);
        self.shard.on_time(time);
        self.shard.on_high_watermark(time);
        self.look_at_committed()?;
        let shard = self.shard.shard();
        let group = classic::GROUP;
        ensure(shard.group(group).is_none() || shard.consumer_group(group).is_none(), || {
            "there is a group of either protocol".to_owned()
        })?;
        for (client, number, mut answer) in std::mem::take(&mut self.tasks) {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => self.tasks.push((client, number, answer)),
                Err(TryRecvError::Closed) => {}
                Ok(response) => {
                    if !self.happens(self.options.loss) {
                        let at = self.delay();
                        let life = match &response {
                            Response::ConsumerHeartbeat(Ok(a)) => self.journal.life(&a.member_id),
                            _ => self.journal.life(self.clients[client].member_id()),
                        };
                        self.queue.put(at, Event::Answer(client, number, (response, life)));
                    }
                }
            }
        }
        Ok(())
    }

    /// What is committed, batch by batch: who is out of the group has nothing more.
    fn look_at_committed(&mut self) -> Result<(), String> {
        while let Some(batch) = self.log.committed_batch(self.committed_to) {
            self.committed_to = batch.next_offset;
            let record = |loaded| {
                let Loaded::Record((key, value)) = loaded else { return None };
                Some(Record::from_key_value(key, value).expect("our own record"))
            };
            let became =
                self.journal.on_batch(batch.entries.into_iter().filter_map(record).collect())?;
            self.tally.upgrades += usize::from(became == Became::Upgraded);
            self.tally.downgrades += usize::from(became == Became::Downgraded);
            let (journal, clients) = (&self.journal, &self.clients);
            self.owners.retain(|_, owner| Self::holds(journal, &clients[*owner]));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<MigrationTally, String> {
        let lost = self.answered.iter().find(|((_, p), at)| !self.journal.has(&(*p, *at)));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        settled::check(self.shard.shard(), &self.clients, self.topic_id)?;
        self.tally.removed = self.journal.removed;
        self.tally.refused = self.log.refused();
        Ok(self.tally)
    }
}
