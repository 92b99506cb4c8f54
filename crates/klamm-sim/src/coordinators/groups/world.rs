//! Everything that happens to a group, in the order of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_coordinator::{PartitionLog, ShardState, Time};
use klamm_env::Moment;
use klamm_group_coordinator::{
    FoundOffset, Group, GroupShard, OffsetsOfGroup, PartitionResult, Request, Response, State,
};
use klamm_model::{ErrorCode, Offset, Timestamp};
use klamm_stdx::Str;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::journal::{Appended, Committed, Journal};
use super::member::{GROUP, Learned, Member, Step};
use super::options::{Options, Patience};
use super::transactions::{TIMEOUT_MS, Transactions};
use super::{GroupTally, Plan, Tail, settled};
use crate::coordinators::ensure;
use crate::coordinators::luck::{Drawn, happens};
use crate::coordinators::partition::SimPartition;
use crate::coordinators::queue::Queue;
use crate::coordinators::refusals::Refusal;
use crate::coordinators::trace::Trace;
use crate::random::Seeded;

/// How long things go wrong.
const CHAOS_MS: u64 = 4_000;
/// In a workload nothing does, and it is shorter; everybody is gone from then on, and others come later.
const WORKLOAD_MS: u64 = 2_400;
const REST_MS: u64 = 1_300;
const BACK_MS: u64 = 1_900;
/// Another comes in a member's place within; in a workload before its session is over.
const GAP_MS: usize = 600;
const WORKLOAD_GAP_MS: usize = 100;
/// Then the group settles within so many sessions and rebalances, and a moment for messages.
const ROUNDS: u64 = 3;
const MOMENT_MS: u64 = 1_000;
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
    /// The log refuses an append, or some.
    Refuse,
    Die(usize),
    /// All die at once.
    Rest,
    Come,
    Calm,
    End,
}

/// A request that is not answered yet.
struct Task {
    message: Message,
    answer: Receiver<Response>,
    /// When it came.
    at_ms: u64,
    /// The offsets that were committed when it came.
    floor: BTreeMap<u8, i64>,
}

/// The whole world of a seed.
pub(super) struct World {
    random: Seeded,
    options: Options,
    plan: Plan,
    ms: u64,
    is_calm: bool,
    queue: Queue<Event>,
    shard: ShardState<GroupShard>,
    log: SimPartition,
    members: Vec<Member>,
    tasks: Vec<Task>,
    transactions: Transactions,
    /// By the group of the name, its generation and the partition.
    owners: BTreeMap<(u32, i32, u8), Str>,
    incarnation: u32,
    /// How many ids the broker has made up for members.
    member_ids: usize,
    answered: BTreeSet<Committed>,
    journal: Journal,
    /// How far the log has been looked at.
    appended_to: Offset,
    committed_to: Offset,
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
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let log = SimPartition::default();
        let (options, drawn) = Options::random(&mut random);
        let (options, drawn) = match plan {
            Plan::Chaos => (options, drawn),
            Plan::CrashAt(..) => (Options::workload(), Drawn::default()),
        };
        let shard = load(&options, &log, Time { now: Moment(0), wall: Timestamp(0) });
        let mut this = Self {
            random,
            options,
            plan,
            ms: 0,
            is_calm: false,
            queue: Queue::default(),
            shard,
            log,
            members: Vec::new(),
            tasks: Vec::new(),
            transactions: Transactions::default(),
            owners: BTreeMap::new(),
            incarnation: 0,
            member_ids: 0,
            answered: BTreeSet::new(),
            journal: Journal::default(),
            appended_to: Offset(0),
            committed_to: Offset(0),
            tally: GroupTally { drawn, ..GroupTally::default() },
        };
        this.plan();
        this
    }

    fn plan(&mut self) {
        let options = self.options;
        (0..options.members).for_each(|_| self.come(50));
        self.queue.put(1, Event::Sync);
        self.queue.put(1, Event::Tick);
        let (chaos_ms, busy_ms) = match self.plan {
            Plan::Chaos => (CHAOS_MS, CHAOS_MS),
            Plan::CrashAt(..) => (WORKLOAD_MS, REST_MS),
        };
        let mut at = |n: usize, event: fn(usize) -> Event| {
            for _ in 0..n {
                let member = self.random.below(options.members);
                let ms = self.random.below(busy_ms as usize) as u64;
                self.queue.put(ms, event(member));
            }
        };
        at(options.crashes, |_| Event::Crash);
        at(options.replacements, Event::Die);
        at(options.refusals, |_| Event::Refuse);
        if self.plan != Plan::Chaos {
            self.queue.put(REST_MS, Event::Rest);
            (0..options.members).for_each(|_| self.queue.put(BACK_MS, Event::Come));
        }
        self.queue.put(chaos_ms, Event::Calm);
        self.end_after(chaos_ms);
    }

    /// It ends when everything has had the time to settle since then.
    fn end_after(&mut self, ms: u64) {
        self.queue.retain(|event| !matches!(event, Event::End));
        let rounds_ms = ROUNDS * (self.options.session_ms + self.options.rebalance_ms);
        let rest_ms = SLOW_MS as u64 + TIMEOUT_MS + MOMENT_MS;
        self.queue.put(ms + rounds_ms + rest_ms, Event::End);
    }

    /// Another member comes within so many milliseconds.
    fn come(&mut self, within_ms: usize) {
        let index = self.members.len();
        let is_static = match self.plan {
            Plan::Chaos => happens(&mut self.random, self.options.fixed),
            Plan::CrashAt(..) => !index.is_multiple_of(3),
        };
        let instance_id = is_static.then(|| Str::from(format!("i{index}")));
        self.members.push(Member::new(index, instance_id, self.options));
        let at = self.ms + 1 + self.random.below(within_ms) as u64;
        self.queue.put(at, Event::Send(index, 0));
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    fn happens(&mut self, once_in: Option<usize>) -> bool {
        !self.is_calm && happens(&mut self.random, once_in)
    }

    fn delay(&mut self) -> u64 {
        let is_slow = self.happens(self.options.slowness);
        let most = if is_slow { SLOW_MS } else { 8 };
        self.ms + self.random.between(0, most) as u64
    }

    pub(super) fn run(mut self, trace: &mut Trace) -> Result<GroupTally, String> {
        while let Some((ms, event)) = self.queue.take() {
            self.ms = ms;
            if !matches!(event, Event::Sync | Event::Tick) {
                trace.note(format_args!("{ms} {event:?}"));
            }
            if matches!(event, Event::End) {
                return self.finish();
            }
            self.on_event(event).and_then(|()| self.settle())?;
            if let Plan::CrashAt(n, tail) = self.plan
                && self.tally.crashes == 0
                && self.log.len() >= n
            {
                trace.note(format_args!("{ms} crash"));
                self.log.crash(n.saturating_sub(self.log.len() - self.log.uncommitted()));
                match tail {
                    Tail::Committed => self.log.commit(),
                    Tail::Kept => {}
                    Tail::Lost => self.log.crash(0),
                }
                self.restart();
                self.end_after(ms.max(WORKLOAD_MS));
                self.settle()?;
            }
        }
        Err("the queue is empty before the end".to_owned())
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(member, number) => self.send(member, number),
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(member, number, answer) => {
                self.on_answer((member, number), answer)?;
            }
            Event::Sync => self.sync(),
            Event::Tick => self.queue.put(self.ms + 5, Event::Tick),
            Event::Crash => {
                self.log.crash(self.random.below(self.log.uncommitted() + 1));
                self.restart();
            }
            Event::Refuse => {
                let now = self.time().wall;
                self.log.refuse(Some(Refusal::random(&mut self.random, now)));
            }
            Event::Die(member) => self.replace(member),
            Event::Rest => self.members.iter_mut().for_each(|member| member.is_alive = false),
            Event::Come => self.come(50),
            Event::Calm => {
                self.is_calm = true;
                self.log.refuse(None);
                self.members.iter_mut().for_each(Member::calm_down);
                // Those that wait for what was lost ask again.
                for member in self.members.iter().filter(|member| member.is_alive) {
                    self.queue.put(self.ms + 1, Event::Send(member.index, member.number));
                }
            }
            Event::End => {}
        }
        Ok(())
    }

    /// A member sends its current request, perhaps twice, perhaps in vain.
    fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (generation, request) = (member.generation, member.request());
        let message = Message { member: index, number, generation, request };
        let is_lost = self.happens(self.options.loss);
        let is_doubled = self.happens(self.options.duplication);
        let copies = usize::from(!is_lost) + usize::from(is_doubled);
        for _ in 0..copies {
            let at = self.delay();
            self.queue.put(at, Event::Deliver(message.clone()));
        }
        let patience = self.patience(index);
        self.queue.put(self.ms + patience, Event::Send(index, number));
    }

    /// How long a member waits for an answer. A join waits for the others, and Kafka's clients wait
    /// for it as long as a rebalance may take: asking again makes another member of it.
    fn patience(&mut self, index: usize) -> u64 {
        let patience = self.random.between(PATIENCE_MS / 2, PATIENCE_MS * 2) as u64;
        match self.members[index].step {
            Step::Join | Step::Sync(_)
                if self.is_calm || self.options.patience == Patience::Long =>
            {
                patience + self.options.rebalance_ms + 2 * MOMENT_MS
            }
            _ => patience,
        }
    }

    /// Within a generation a member's requests arrive in order: see the module's doc.
    fn deliver(&mut self, message: Message) {
        let member = &self.members[message.member];
        if member.number != message.number && member.generation == message.generation {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let (time, mut request) = (self.time(), message.request.clone());
        let refusal = match &mut request {
            Request::Join(_, join) => {
                self.member_ids += 1;
                join.new_member_id = Str::from(format!("m{}-{}", message.member, self.member_ids));
                None
            }
            Request::CommitInTransaction(_, commit) => {
                match self.transactions.admit(commit.producer, self.ms, (&self.log, time)) {
                    Ok(proof) => {
                        commit.verification = proof;
                        None
                    }
                    Err(error) => Some(Response::CommitOffsets(vec![refused_line(error)])),
                }
            }
            Request::EndTransaction(end) => {
                Some(Response::EndTransaction(self.transactions.end(*end)))
            }
            _ => None,
        };
        match refusal {
            Some(answer) => drop(reply.send(answer)),
            None => self.shard.on_request(time, request, reply),
        }
        let floor = match message.request {
            Request::FetchOffsets(..) => self.journal.floor(),
            _ => BTreeMap::new(),
        };
        self.tasks.push(Task { message, answer, at_ms: self.ms, floor });
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
        let is_silent = self.happens(self.options.silence);
        let beyond = self.options.session_ms + 250;
        let most = if self.is_calm { 10 } else { 30 };
        let pause = if is_silent { beyond } else { self.random.below(most) as u64 };
        let number = self.members[index].number;
        self.queue.put(self.ms + pause, Event::Send(index, number));
        Ok(())
    }

    fn sync(&mut self) {
        match self.random.below(3) {
            0 => self.log.commit(),
            1 => self.log.commit_one(),
            _ if self.is_calm => self.log.commit(),
            _ => {}
        }
        let next = 1 + self.random.below(5) as u64;
        self.queue.put(self.ms + next, Event::Sync);
    }

    /// The broker is back, with what its log kept.
    fn restart(&mut self) {
        self.tally.crashes += 1;
        let end = self.log.log_end_offset();
        if end < self.appended_to {
            self.appended_to = end;
            self.journal.on_cut(self.log.all());
        }
        self.tasks.clear();
        // The connections are gone, and what was on its way with them.
        self.queue.retain(|event| !matches!(event, Event::Deliver(_)));
        self.shard = load(&self.options, &self.log, self.time());
    }

    /// Another comes in a member's stead, of the same name if it is static. The one before is dead,
    /// without a word, or goes on as a zombie.
    fn replace(&mut self, index: usize) {
        let goes_on = self.happens(self.options.zombies);
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
        let gap_ms = if self.plan == Plan::Chaos { GAP_MS } else { WORKLOAD_GAP_MS };
        let at = self.ms + self.random.below(gap_ms) as u64;
        self.queue.put(at, Event::Send(new.index, 0));
        self.members.push(new);
    }

    /// Everything that follows from an event without another.
    fn settle(&mut self) -> Result<(), String> {
        let time = self.time();
        self.shard.on_high_watermark(time);
        self.shard.on_time(time);
        self.transactions.turn(self.ms, (time, &mut self.shard));
        self.shard.on_high_watermark(time);
        self.look_at_appended()?;
        self.look_at_committed()?;
        if let Some(group) = self.shard.shard().group(GROUP) {
            self.journal.check_stable(group)?;
        }
        for mut task in std::mem::take(&mut self.tasks) {
            match task.answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    let waits_ms = self.ms - task.at_ms;
                    ensure(waits_ms <= self.options.rebalance_ms + MOMENT_MS, || {
                        format!("{:?} has waited for {waits_ms} ms", task.message)
                    })?;
                    self.tasks.push(task);
                }
                Err(TryRecvError::Closed) => {}
                Ok(response) => {
                    self.check_answer(&task, &response)?;
                    if !self.happens(self.options.loss) {
                        let at = self.delay();
                        let answer = (self.incarnation, response);
                        let message = task.message;
                        let event = Event::Answer(message.member, message.number, answer);
                        self.queue.put(at, event);
                    }
                }
            }
        }
        Ok(())
    }

    /// Offsets expire only while nobody is in the group.
    fn look_at_appended(&mut self) -> Result<(), String> {
        let new = self.log.read(self.appended_to).map_err(|e| e.to_string())?;
        let from = std::mem::replace(&mut self.appended_to, new.next_offset);
        for (at, loaded) in (from.0..).zip(new.entries) {
            match self.journal.on_appended(Offset(at), loaded) {
                Appended::Expired(partition) => {
                    self.tally.expired += 1;
                    let state = self.shard.shard().group(GROUP).map(Group::state);
                    ensure(matches!(state, None | Some(State::Empty)), || {
                        format!("the offset of {partition} expired while the group was {state:?}")
                    })?;
                }
                // A group of its name begins again, with new members.
                Appended::Deleted => {
                    self.tally.deleted += 1;
                    self.incarnation += 1;
                }
                Appended::StaticReturn => self.tally.static_returns += 1,
                Appended::Generation | Appended::Other => {}
            }
        }
        Ok(())
    }

    fn look_at_committed(&mut self) -> Result<(), String> {
        let new = self.log.committed_from(self.committed_to);
        let from = std::mem::replace(&mut self.committed_to, new.next_offset);
        let mut entries = (from.0..).zip(new.entries);
        entries.try_for_each(|(at, loaded)| self.journal.on_committed(Offset(at), loaded))
    }

    /// What is told is committed, and no less than what was when it was asked.
    fn check_answer(&self, task: &Task, response: &Response) -> Result<(), String> {
        match response {
            Response::Sync(synced) if synced.error.is_none() => {
                let (told, known) = (task.message.generation, self.journal.generation());
                ensure(told <= known, || {
                    format!("parts of generation {told} are told, and {known} is committed")
                })
            }
            Response::FetchOffsets(Ok(found)) => self.check_found(&task.floor, found),
            _ => Ok(()),
        }
    }

    fn check_found(&self, floor: &BTreeMap<u8, i64>, found: &OffsetsOfGroup) -> Result<(), String> {
        for (partition, line) in found.topics.iter().flat_map(|(_, lines)| lines) {
            let partition = u8::try_from(*partition).map_err(|error| error.to_string())?;
            let told = match line {
                FoundOffset::Committed(offset) => Some(offset.offset.0),
                FoundOffset::None => None,
                FoundOffset::Unstable => continue,
            };
            let least = floor.get(&partition).copied();
            ensure(told >= least, || format!("{partition} is told as {told:?} after {least:?}"))?;
            ensure(told.is_none_or(|offset| self.journal.has(&(partition, offset))), || {
                format!("{partition} is told as {told:?}, which is not committed")
            })?;
        }
        Ok(())
    }

    /// Every answered commit is in the log, and the group has settled.
    fn finish(mut self) -> Result<GroupTally, String> {
        let lost = self.answered.iter().find(|committed| !self.journal.has(committed));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        let hangs = self.transactions.open_since(self.ms - TIMEOUT_MS - MOMENT_MS);
        ensure(hangs.is_none(), || format!("the transaction of producer {hangs:?} hangs"))?;
        settled::check(self.shard.shard().group(GROUP), &self.members)?;
        self.tally.transactions = self.transactions.committed;
        self.tally.refused = self.log.refused();
        self.tally.batches = self.log.len();
        Ok(self.tally)
    }
}

fn refused_line(error: ErrorCode) -> PartitionResult {
    PartitionResult { topic: Str::new(), partition: 0, error }
}
