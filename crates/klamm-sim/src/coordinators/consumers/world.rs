//! Everything that happens to a group, in the order of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_coordinator::{Loaded, PartitionLog, ShardState, Time};
use klamm_env::Moment;
use klamm_group_coordinator::consumer::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use klamm_group_coordinator::{GroupShard, PartitionResult, Record, Request, Response};
use klamm_model::{ErrorCode, Offset, Timestamp};
use klamm_stdx::Str;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::ConsumerGroupTally;
use super::cluster::{Cluster, Partition, Wants};
use super::journal::Journal;
use super::legal::{self, Given};
use super::member::{GROUP, Identity, Learned, Member, Sent, Step};
use super::options::Options;
use super::settled;
use crate::coordinators::ensure;
use crate::coordinators::luck::happens;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::queue::Queue;
use crate::coordinators::refusals::Refusal;
use crate::coordinators::trace::Trace;
use crate::random::Seeded;

/// How long there is chaos.
const CHAOS_MS: u64 = 3_000;
/// How long a message takes at most, when it takes long.
const SLOW_MS: i64 = 500;
/// A member that hears nothing asks again.
const PATIENCE_MS: i64 = 80;
/// Patterns are matched again this often at most (see klamm-group-coordinator: serve).
const PATTERNS_MS: u64 = 1_000;
/// A removal that could not be written is tried again after (see klamm-group-coordinator: group).
const REMOVAL_RETRY_MS: u64 = 1_000;
/// Heartbeats, with their way there and back, that a group needs at most to settle.
const SETTLED_WITHIN: u64 = 12;
const WAY_MS: u64 = 30;

/// A request on its way.
#[derive(Debug)]
struct Message {
    member: usize,
    sent: Sent,
    request: Request,
}

/// An answer on its way, with the life of the member's id when it was given.
type Answer = (Response, u64);

#[derive(Debug)]
enum Event {
    Send(usize, u64),
    /// A member that has heard nothing since this request.
    Impatience(usize, u64),
    Deliver(Message),
    Answer(usize, u64, Answer),
    Sync,
    Tick,
    Crash,
    /// Something becomes of a member.
    Fate(usize),
    /// Another member comes, with this instance id if it is static.
    Come(Option<Str>),
    Topics,
    Wants(usize),
    /// The log refuses an append, or some.
    Refuse,
    Calm,
    End,
}

/// The whole world of a seed.
pub(super) struct World {
    random: Seeded,
    options: Options,
    crash_at: Option<usize>,
    ms: u64,
    is_calm: bool,
    queue: Queue<Event>,
    cluster: Cluster,
    shard: ShardState<GroupShard>,
    log: SimPartition,
    members: Vec<Member>,
    /// The number of each member's request that arrived last.
    arrived: Vec<u64>,
    tasks: Vec<(usize, u64, Receiver<Response>)>,
    /// Who has a partition: a member that took it, did not give it up, and is in the group.
    owners: BTreeMap<Partition, usize>,
    journal: Journal,
    answered: BTreeSet<(Partition, i64)>,
    given: Given,
    appended_to: Offset,
    committed_to: Offset,
    /// Appends that were refused when the group was compared with its log last.
    refused: usize,
    tally: ConsumerGroupTally,
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

fn records(entries: Vec<Loaded>) -> impl Iterator<Item = Record> {
    entries.into_iter().filter_map(|loaded| {
        let Loaded::Record((key, value)) = loaded else { return None };
        Some(Record::from_key_value(key, value).expect("our own record"))
    })
}

impl World {
    pub(super) fn new(seed: u64, crash_at: Option<usize>) -> Self {
        let mut random = Seeded::new(seed);
        let options = Options::random(&mut random);
        let options = if crash_at.is_some() { options.calm() } else { options };
        let cluster = Cluster::new(&mut random);
        let log = SimPartition::default();
        let shard = load(&log, &options, &cluster, Time { now: Moment(0), wall: Timestamp(0) });
        let mut this = Self {
            random,
            options,
            crash_at,
            ms: 0,
            is_calm: false,
            queue: Queue::default(),
            cluster,
            shard,
            log,
            members: Vec::new(),
            arrived: Vec::new(),
            tasks: Vec::new(),
            owners: BTreeMap::new(),
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

    fn plan(&mut self) {
        let options = self.options;
        for member in 0..options.members {
            let is_fixed = happens(&mut self.random, options.fixed);
            let instance_id = is_fixed.then(|| Str::from(format!("i{member}")));
            let at = self.random.below(200) as u64;
            self.queue.put(at, Event::Come(instance_id));
        }
        let mut at = |n: usize, event: fn(usize) -> Event| {
            for _ in 0..n {
                let member = self.random.below(options.members);
                let ms = self.random.below(CHAOS_MS as usize) as u64;
                self.queue.put(ms, event(member));
            }
        };
        at(options.crashes, |_| Event::Crash);
        at(options.deaths, Event::Fate);
        at(options.topic_changes, |_| Event::Topics);
        at(options.subscription_changes, Event::Wants);
        at(options.refusals, |_| Event::Refuse);
        self.queue.put(1, Event::Sync);
        self.queue.put(1, Event::Tick);
        self.queue.put(CHAOS_MS, Event::Calm);
        let settles_ms = SETTLED_WITHIN * (options.interval_ms + WAY_MS);
        let timeouts_ms = options.session_ms + options.rebalance_ms + SLOW_MS as u64;
        let delays_ms = PATTERNS_MS + REMOVAL_RETRY_MS + options.assignment_interval_ms;
        self.queue.put(CHAOS_MS + timeouts_ms + delays_ms + settles_ms, Event::End);
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

    pub(super) fn run(mut self, trace: &mut Trace) -> Result<ConsumerGroupTally, String> {
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
            if self.crash_at.is_some_and(|n| self.tally.crashes == 0 && self.log.len() >= n) {
                trace.note(format_args!("{ms} crash"));
                self.crash();
                self.settle()?;
            }
        }
        Err("the queue is empty before the end".to_owned())
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(member, number) => self.send(member, number),
            Event::Impatience(member, number) => {
                let asks = &mut self.members[member];
                if asks.is_alive && asks.number == number {
                    asks.retry();
                    let number = asks.number;
                    self.send(member, number);
                }
            }
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(member, number, answer) => self.on_answer((member, number), answer)?,
            Event::Sync => self.sync()?,
            Event::Tick => self.queue.put(self.ms + 5, Event::Tick),
            Event::Crash => self.crash(),
            Event::Fate(member) => self.befall(member),
            Event::Come(instance_id) => self.come(instance_id),
            Event::Topics => self.change_topics(),
            Event::Wants(member) => {
                let wants = self.wants();
                if let Some(asks) = self.members.get_mut(member) {
                    asks.change_wants(wants);
                    let number = asks.number;
                    self.send(member, number);
                }
            }
            Event::Refuse => {
                let now = self.time().wall;
                self.log.refuse(Some(Refusal::random(&mut self.random, now)));
            }
            Event::Calm => self.calm_down(),
            Event::End => {}
        }
        Ok(())
    }

    fn wants(&mut self) -> Wants {
        match happens(&mut self.random, self.options.patterns) {
            true => Wants::pattern(&mut self.random),
            false => Wants::names(&mut self.random),
        }
    }

    fn come(&mut self, instance_id: Option<Str>) {
        let identity = Identity {
            index: self.members.len(),
            instance_id,
            brings_id: !happens(&mut self.random, self.options.nameless),
            rebalance_ms: self.options.rebalance_ms as i32,
        };
        let wants = self.wants();
        self.queue.put(self.ms, Event::Send(identity.index, 0));
        self.members.push(Member::new(identity, wants));
        self.arrived.push(0);
    }

    /// A member dies without a word, or leaves; another comes in its place.
    fn befall(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.is_alive) else {
            return;
        };
        let instance_id = member.identity.instance_id.clone();
        match self.random.below(3) {
            0 => member.is_alive = false,
            1 if instance_id.is_some() => self.leave(index, STATIC_LEAVE_EPOCH),
            _ => return self.leave(index, LEAVE_EPOCH),
        }
        let at = self.ms + self.random.below(600) as u64;
        self.queue.put(at, Event::Come(instance_id));
    }

    fn leave(&mut self, index: usize, epoch: i32) {
        let member = &mut self.members[index];
        member.leave(epoch);
        let number = member.number;
        self.owners.retain(|_, owner| *owner != index);
        self.queue.put(self.ms, Event::Send(index, number));
    }

    fn change_topics(&mut self) {
        let gone = self.cluster.change(&mut self.random);
        self.shard.on_news(&self.cluster.image);
        if let Some(name) = gone {
            self.tally.deleted_topics += 1;
            let (reply, _) = oneshot::channel();
            let time = self.time();
            self.shard.on_request(time, Request::TopicDeleted(name), reply);
        }
    }

    fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (sent, request) = (member.sends(), member.request(&self.cluster));
        let message = Message { member: index, sent, request };
        if !self.happens(self.options.loss) {
            let at = self.delay();
            self.queue.put(at, Event::Deliver(message));
        }
        let patience = self.random.between(PATIENCE_MS / 2, PATIENCE_MS * 2) as u64;
        self.queue.put(self.ms + patience, Event::Impatience(index, number));
    }

    fn deliver(&mut self, message: Message) {
        let arrived = &mut self.arrived[message.member];
        let (number, sent) = (message.sent.number, &message.sent);
        if number < *arrived && self.members[message.member].is_mistakable(sent) {
            return;
        }
        *arrived = number.max(*arrived);
        let (reply, answer) = oneshot::channel();
        if let Some(refusal) = self.refusal(&message.request) {
            drop(reply.send(refusal));
        } else {
            self.shard.on_request(self.time(), message.request, reply);
        }
        self.tasks.push((message.member, number, answer));
    }

    /// What klamm-apis refuses by itself: offsets of a topic that is gone.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let Request::CommitOffsets(_, commit) = request else { return None };
        let is_known = |id| self.cluster.name(id).is_some();
        if commit.offsets.iter().all(|line| line.topic_id.is_some_and(is_known)) {
            return None;
        }
        let error = ErrorCode::UnknownTopicId;
        let line = PartitionResult { topic: Str::new(), partition: 0, error };
        Some(Response::CommitOffsets(vec![line]))
    }

    fn on_answer(&mut self, (index, number): (usize, u64), answer: Answer) -> Result<(), String> {
        let member = &mut self.members[index];
        if !member.is_alive || member.number != number {
            return Ok(());
        }
        let learned = member.on_answer(answer, self.ms, &mut self.random)?;
        self.owners.retain(|partition, owner| *owner != index || member.has.contains(partition));
        match learned {
            Learned::Nothing => {}
            Learned::Has => self.take(index)?,
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
                self.members[index].take();
                self.take(index)?;
            }
            Learned::Ends => {
                member.is_alive = false;
                return Ok(());
            }
        }
        let (number, at) = (self.members[index].number, self.next_at(index));
        self.queue.put(at, Event::Send(index, number));
        Ok(())
    }

    /// When a member sends its next request. Some think for longer than their session lasts.
    fn next_at(&mut self, index: usize) -> u64 {
        if self.happens(self.options.silence) {
            return self.ms + self.random.below(2 * self.options.session_ms as usize) as u64;
        }
        let member = &self.members[index];
        let is_due = if member.step == Step::Beat { member.beat_at_ms } else { 0 };
        self.ms.max(is_due) + self.random.below(10) as u64
    }

    /// A member may have taken what it was told to; one that is out of the group has nothing.
    fn take(&mut self, index: usize) -> Result<(), String> {
        let member = &self.members[index];
        self.owners.retain(|partition, owner| *owner != index || member.has.contains(partition));
        if self.journal.life(&member.member_id) != member.life {
            return Ok(());
        }
        for partition in &member.has {
            let before = self.owners.insert(*partition, index);
            self.tally.taken += usize::from(before.is_none());
            let Some(other) = before.filter(|other| *other != index) else { continue };
            let (a, b) = (&self.members[other].member_id, &member.member_id);
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
        self.appended_to = self.appended_to.min(self.log.log_end_offset());
        self.tasks.clear();
        // The connections are gone, and what was on its way with them.
        self.queue.retain(|event| !matches!(event, Event::Deliver(_)));
        self.shard = load(&self.log, &self.options, &self.cluster, self.time());
        self.given = Given::of(self.shard.shard().consumer_group(GROUP));
    }

    /// From now on nothing goes wrong.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.log.refuse(None);
        self.queue.retain(|event| !matches!(event, Event::Crash | Event::Topics));
        for member in self.members.iter().filter(|member| member.is_alive) {
            let again = Event::Impatience(member.identity.index, member.number);
            self.queue.put(self.ms + 1, again);
        }
        if self.members.iter().all(|member| !member.is_alive) {
            self.queue.put(self.ms + 1, Event::Come(None));
        }
    }

    /// Everything that follows from an event without another.
    fn settle(&mut self) -> Result<(), String> {
        let time = self.time();
        self.shard.on_high_watermark(time);
        self.shard.on_time(time);
        self.look_at_appended()?;
        self.look_at_committed()?;
        if self.refused != self.log.refused() {
            self.refused = self.log.refused();
            self.given.check(self.shard.shard().consumer_group(GROUP))?;
        }
        for (member, number, mut answer) in std::mem::take(&mut self.tasks) {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => self.tasks.push((member, number, answer)),
                Err(TryRecvError::Closed) => {}
                Ok(response) => {
                    if !self.happens(self.options.loss) {
                        let at = self.delay();
                        let life = match &response {
                            Response::ConsumerHeartbeat(Ok(a)) => self.journal.life(&a.member_id),
                            _ => 0,
                        };
                        self.queue.put(at, Event::Answer(member, number, (response, life)));
                    }
                }
            }
        }
        Ok(())
    }

    /// What is written is legal at the moment it is written.
    fn look_at_appended(&mut self) -> Result<(), String> {
        if self.appended_to == self.log.log_end_offset() {
            return Ok(());
        }
        let new = self.log.read(self.appended_to).map_err(|error| error.to_string())?;
        self.appended_to = new.next_offset;
        let mut changes = Vec::new();
        for record in records(new.entries) {
            match record {
                Record::Consumer(record) => changes.push(record.change),
                Record::Offset { topic, offset: None, .. } => {
                    self.tally.expired += 1;
                    let group = self.shard.shard().consumer_group(GROUP);
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
        match self.shard.shard().consumer_group(GROUP) {
            Some(group) if !changes.is_empty() => legal::check(group, &self.cluster),
            Some(_) | None => Ok(()),
        }
    }

    fn look_at_committed(&mut self) -> Result<(), String> {
        if self.committed_to == self.log.high_watermark() {
            return Ok(());
        }
        let new = self.log.committed_from(self.committed_to);
        self.committed_to = new.next_offset;
        for record in records(new.entries) {
            let Some(gone) = self.journal.replay(record)? else { continue };
            self.tally.removed += 1;
            let members = &self.members;
            self.owners.retain(|_, owner| members[*owner].member_id != gone);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ConsumerGroupTally, String> {
        let lost = self.answered.iter().find(|committed| !self.journal.has(committed));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        let group = self.shard.shard().consumer_group(GROUP).ok_or("there is no group")?;
        settled::check(group, &self.members, &self.cluster)?;
        self.tally.refused = self.refused;
        Ok(self.tally)
    }
}
