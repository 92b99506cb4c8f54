//! Everything that happens to a group, in the order of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_coordinator::{Loaded, PartitionLog, ShardState, Time};
use klamm_env::Moment;
use klamm_group_coordinator::{GroupShard, Record, Request, Response, State};
use klamm_model::{Offset, Timestamp};
use klamm_stdx::Str;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::GroupTally;
use super::member::{GROUP, Learned, Member};
use super::options::Options;
use crate::coordinators::ensure;
use crate::coordinators::luck::happens;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::queue::Queue;
use crate::coordinators::trace::Trace;
use crate::random::Seeded;

/// How long a seed lasts.
const END_MS: u64 = 4_000;
/// A member that hears nothing asks again.
const PATIENCE_MS: i64 = 80;
/// What is slow takes at most so long.
const SLOW_MS: i64 = 500;

/// A request on its way.
#[derive(Debug, Clone)]
struct Message {
    member: usize,
    number: u64,
    generation: i32,
    request: Request,
}

#[derive(Debug)]
enum Event {
    Send(usize, u64),
    Deliver(Message),
    /// With the group of the name that it came from, when there were several.
    Answer(usize, u64, (u32, Response)),
    Sync,
    Tick,
    Crash,
    Die(usize),
    End,
}

/// The whole world of a seed.
pub(super) struct World {
    random: Seeded,
    options: Options,
    ms: u64,
    queue: Queue<Event>,
    shard: ShardState<GroupShard>,
    log: SimPartition,
    members: Vec<Member>,
    tasks: Vec<(Message, Receiver<Response>)>,
    /// By the group of the name, its generation and the partition.
    owners: BTreeMap<(u32, i32, u8), Str>,
    incarnation: u32,
    /// How many ids the broker has made up for members.
    member_ids: usize,
    answered: BTreeSet<(u8, i64)>,
    /// How far the log has been looked at for tombstones.
    looked_at: Offset,
    tally: GroupTally,
}

fn load(options: &Options, log: &SimPartition, time: Time) -> ShardState<GroupShard> {
    let log = Arc::new(log.lead());
    let mut state = ShardState::new(options.shard(), log, Arc::new(|effect| match effect {}));
    while state.is_reading() {
        state.load_some(time).expect("memory can be read");
    }
    state
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Seeded::new(seed);
        let log = SimPartition::default();
        let (options, drawn) = Options::random(&mut random);
        let shard = load(&options, &log, Time { now: Moment(0), wall: Timestamp(0) });
        let mut queue = Queue::default();
        let new_member = |index: usize| {
            let is_static = happens(&mut random, options.fixed);
            let instance_id = is_static.then(|| Str::from(format!("i{index}")));
            Member::new(index, instance_id, options)
        };
        let members: Vec<Member> = (0..options.members).map(new_member).collect();
        for member in &members {
            queue.put(1 + random.below(50) as u64, Event::Send(member.index, 0));
        }
        queue.put(1, Event::Sync);
        queue.put(1, Event::Tick);
        queue.put(END_MS, Event::End);
        for _ in 0..options.crashes {
            queue.put(random.below(END_MS as usize) as u64, Event::Crash);
        }
        for _ in 0..options.replacements {
            let member = random.below(members.len());
            queue.put(random.below(END_MS as usize) as u64, Event::Die(member));
        }
        Self {
            random,
            options,
            ms: 0,
            queue,
            shard,
            log,
            members,
            tasks: Vec::new(),
            owners: BTreeMap::new(),
            incarnation: 0,
            member_ids: 0,
            answered: BTreeSet::new(),
            looked_at: Offset(0),
            tally: GroupTally { drawn, ..GroupTally::default() },
        }
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    fn delay(&mut self) -> u64 {
        let is_slow = happens(&mut self.random, self.options.slowness);
        let most = if is_slow { SLOW_MS } else { 8 };
        self.ms + self.random.between(0, most) as u64
    }

    pub(super) fn run(mut self, trace: &mut Trace) -> Result<GroupTally, String> {
        while let Some((ms, event)) = self.queue.take() {
            self.ms = ms;
            if !matches!(event, Event::Sync | Event::Tick) {
                trace.note(format_args!("{ms} {event:?}"));
            }
            match event {
                Event::End => return self.finish(),
                Event::Send(member, number) => self.send(member, number),
                Event::Deliver(message) => self.deliver(message),
                Event::Answer(member, number, answer) => {
                    self.on_answer((member, number), answer)?;
                }
                Event::Sync => self.sync(),
                Event::Tick => self.queue.put(ms + 5, Event::Tick),
                Event::Crash => self.crash(),
                Event::Die(member) => self.replace(member),
            }
            self.settle()?;
        }
        Err("the queue is empty before the end".to_owned())
    }

    /// A member sends its current request, perhaps twice, perhaps in vain.
    fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (generation, request) = (member.generation, member.request());
        let message = Message { member: index, number, generation, request };
        let is_lost = happens(&mut self.random, self.options.loss);
        let is_doubled = happens(&mut self.random, self.options.duplication);
        let copies = usize::from(!is_lost) + usize::from(is_doubled);
        for _ in 0..copies {
            let at = self.delay();
            self.queue.put(at, Event::Deliver(message.clone()));
        }
        let patience = self.random.between(PATIENCE_MS / 2, PATIENCE_MS * 2) as u64;
        self.queue.put(self.ms + patience, Event::Send(index, number));
    }

    /// Within a generation a member's requests arrive in order: see the module's doc.
    fn deliver(&mut self, message: Message) {
        let member = &self.members[message.member];
        if member.number != message.number && member.generation == message.generation {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let (time, mut request) = (self.time(), message.request.clone());
        if let Request::Join(_, join) = &mut request {
            self.member_ids += 1;
            join.new_member_id = Str::from(format!("m{}-{}", message.member, self.member_ids));
        }
        self.shard.on_request(time, request, reply);
        self.tasks.push((message, answer));
    }

    fn on_answer(
        &mut self,
        (index, number): (usize, u64),
        (incarnation, response): (u32, Response),
    ) -> Result<(), String> {
        let member = &mut self.members[index];
        if !member.is_alive || member.number != number {
            return Ok(());
        }
        match member.on_answer(response, &mut self.random)? {
            Learned::Nothing => {}
            Learned::Owns(generation, partitions) => {
                self.tally.assignments += 1;
                for partition in partitions {
                    let owner = self.owners.entry((incarnation, generation, partition));
                    let other = member.owner();
                    let owner = owner.or_insert_with(|| other.clone());
                    ensure(*owner == other, || {
                        format!("{owner} and {other} own {partition} in generation {generation}")
                    })?;
                }
            }
            Learned::Committed(offsets) => {
                self.tally.commits += 1;
                self.answered.extend(offsets);
            }
            Learned::Fenced => self.tally.fenced += 1,
        }
        // Some think for longer than their session lasts.
        let is_silent = happens(&mut self.random, self.options.silence);
        let beyond = self.options.session_ms + 250;
        let pause = if is_silent { beyond } else { self.random.below(30) as u64 };
        let number = self.members[index].number;
        self.queue.put(self.ms + pause, Event::Send(index, number));
        Ok(())
    }

    fn sync(&mut self) {
        match self.random.below(3) {
            0 => self.log.commit(),
            1 => self.log.commit_one(),
            _ => {}
        }
        let next = 1 + self.random.below(5) as u64;
        self.queue.put(self.ms + next, Event::Sync);
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.log.crash(self.random.below(self.log.uncommitted() + 1));
        self.looked_at = self.looked_at.min(self.log.log_end_offset());
        self.tasks.clear();
        // The connections are gone, and what was on its way with them.
        self.queue.retain(|event| !matches!(event, Event::Deliver(_)));
        self.shard = load(&self.options, &self.log, self.time());
    }

    /// Another comes in a member's stead, of the same name if it is static. The one before is dead,
    /// without a word, or goes on as a zombie.
    fn replace(&mut self, index: usize) {
        let goes_on = happens(&mut self.random, self.options.zombies);
        let instance_id = self.members[index].instance_id.clone();
        let new = Member::new(self.members.len(), instance_id.clone(), self.options);
        let is_one_of_its = |m: &&mut Member| match &instance_id {
            Some(_) => m.instance_id == instance_id,
            None => m.index == index,
        };
        for member in self.members.iter_mut().filter(is_one_of_its) {
            member.is_alive &= goes_on;
            member.is_replaced = true;
        }
        let at = self.ms + self.random.below(600) as u64;
        self.queue.put(at, Event::Send(new.index, 0));
        self.members.push(new);
    }

    /// Everything that follows from an event without another.
    fn settle(&mut self) -> Result<(), String> {
        let time = self.time();
        self.shard.on_high_watermark(time);
        self.shard.on_time(time);
        self.shard.on_high_watermark(time);
        for (message, mut answer) in std::mem::take(&mut self.tasks) {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => self.tasks.push((message, answer)),
                Err(TryRecvError::Closed) => {}
                Ok(response) => {
                    if !self.random.one_in(25) {
                        let at = self.delay();
                        let answer = (self.incarnation, response);
                        let event = Event::Answer(message.member, message.number, answer);
                        self.queue.put(at, event);
                    }
                }
            }
        }
        self.look_for_tombstones()
    }

    /// Offsets expire only while nobody is in the group.
    fn look_for_tombstones(&mut self) -> Result<(), String> {
        let new = self.log.read(self.looked_at).map_err(|e| e.to_string())?;
        self.looked_at = new.next_offset;
        if new.entries.iter().any(is_group_tombstone) {
            // A group with nothing left is deleted; one of its name begins again, with new members.
            self.incarnation += 1;
        }
        for (partition, offset) in offsets(new.entries) {
            if offset.is_none() {
                self.tally.expired += 1;
                let state =
                    self.shard.shard().group(GROUP).map(klamm_group_coordinator::Group::state);
                ensure(matches!(state, None | Some(State::Empty)), || {
                    format!("the offset of {partition} expired while the group was {state:?}")
                })?;
            }
        }
        Ok(())
    }

    /// What the log says in the end: offsets never went back, and every answered commit is there.
    fn finish(self) -> Result<GroupTally, String> {
        self.log.commit();
        let mut last = BTreeMap::<u8, i64>::new();
        let mut all = BTreeSet::new();
        for (partition, offset) in offsets(self.log.committed()) {
            let Some(offset) = offset else {
                last.remove(&partition);
                continue;
            };
            all.insert((partition, offset));
            let before = last.insert(partition, offset).unwrap_or(-1);
            ensure(offset >= before, || {
                format!("the committed offset of {partition} went back from {before} to {offset}")
            })?;
        }
        let lost = self.answered.difference(&all).next();
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        Ok(self.tally)
    }
}

fn is_group_tombstone(loaded: &Loaded) -> bool {
    let Loaded::Record((key, value)) = loaded else { return false };
    let record = Record::from_key_value(key.clone(), value.clone());
    matches!(record, Ok(Record::GroupTombstone { .. }))
}

/// The offsets in a log; `None` is a tombstone.
fn offsets(entries: Vec<Loaded>) -> Vec<(u8, Option<i64>)> {
    let line = |loaded: Loaded| {
        let Loaded::Record((key, value)) = loaded else { return None };
        match Record::from_key_value(key, value).expect("our own record") {
            Record::Offset { partition, offset, .. } => {
                let partition = u8::try_from(partition).expect("few partitions");
                Some((partition, offset.map(|offset| offset.offset.0)))
            }
            _ => None,
        }
    };
    entries.into_iter().filter_map(line).collect()
}
