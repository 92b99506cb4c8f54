//! A classic group, its members, and what they promise.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;

use klamm_coordinator::PartitionLog;
use klamm_group_coordinator::{
    FoundOffset, Group, GroupShard, OffsetsOfGroup, PartitionResult, Request, Response, State,
};
use klamm_model::{ErrorCode, Offset};
use klamm_stdx::Str;

use super::journal::{Appended, Committed, Journal};
use super::member::{GROUP, Learned, Member, Step};
use super::options::{Options, Patience};
use super::transactions::{TIMEOUT_MS, Transactions};
use super::{GroupTally, settled};
use crate::coordinators::coordinator::{Coordinator, Waiting, no_effects};
use crate::coordinators::course::{Course, Plan, SLOW_MS};
use crate::coordinators::ensure;
use crate::coordinators::luck::{Drawn, happens};
use crate::coordinators::partition::SimPartition;
use crate::coordinators::world::{Commits, World};
use crate::random::Seeded;

/// How long things go wrong.
const CHAOS_MS: u64 = 4_000;
/// In a workload nothing does, and it is shorter; everybody is gone from then on, and others come later.
const WORKLOAD_MS: u64 = 2_400;
const REST_MS: u64 = 1_300;
const BACK_MS: u64 = 1_900;
/// Members come within.
const COME_MS: u64 = 50;
/// Another comes in a member's place within; in a workload before its session is over.
const GAP_MS: u64 = 600;
const WORKLOAD_GAP_MS: u64 = 100;
/// Then the group settles within so many sessions and rebalances, and a moment for messages.
const ROUNDS: u64 = 3;
const MOMENT_MS: u64 = 1_000;

/// A request on its way.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Message {
    member: usize,
    number: u64,
    generation: i32,
    request: Request,
}

#[derive(Debug)]
pub(in crate::coordinators) enum Event {
    Send(usize, u64),
    Deliver(Message),
    /// With the group of the name that it came from, when there were several.
    Answer(usize, u64, (u32, Response)),
    Die(usize),
    /// All die at once.
    Rest,
    Come,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Asked {
    message: Message,
    /// When it came.
    at_ms: u64,
    /// The offsets that were committed when it came.
    floor: BTreeMap<u8, i64>,
}

/// The whole world of a seed.
pub(in crate::coordinators) struct Groups {
    course: Course<Event>,
    options: Options,
    coordinator: Coordinator<GroupShard>,
    log: SimPartition,
    members: Vec<Member>,
    waiting: Waiting<Asked, Response>,
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

impl World for Groups {
    const NAME: &'static str = "groups";
    const COMMITS: Commits = Commits::Together;
    type Event = Event;
    type Tally = GroupTally;

    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = match plan {
            Plan::Chaos => Options::random(&mut random),
            Plan::CrashAt(..) => (Options::workload(), Drawn::default()),
        };
        let log = SimPartition::default();
        let course = Course::new(random, plan, options.chaos);
        let mut this = Self {
            coordinator: Coordinator::load(
                options.shard(),
                (&log, None),
                no_effects(),
                course.time(),
            ),
            course,
            options,
            log,
            members: Vec::new(),
            waiting: Waiting::default(),
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

    fn course(&mut self) -> &mut Course<Event> {
        &mut self.course
    }

    fn logs(&self) -> Vec<SimPartition> {
        vec![self.log.clone()]
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(member, number) => self.send(member, number),
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(member, number, answer) => self.on_answer((member, number), answer)?,
            Event::Die(member) => self.replace(member),
            Event::Rest => self.members.iter_mut().for_each(|member| member.is_alive = false),
            Event::Come => self.come(),
        }
        Ok(())
    }

    fn restart(&mut self) {
        let end = self.log.log_end_offset();
        if end < self.appended_to {
            self.appended_to = end;
            self.journal.on_cut(self.log.all());
        }
        // The connections are gone, and what was on its way with them.
        self.waiting.clear();
        self.course.forget(|event| matches!(event, Event::Deliver(_)));
        let (shard, time) = (self.options.shard(), self.course.time());
        self.coordinator = Coordinator::load(shard, (&self.log, None), no_effects(), time);
    }

    fn calm_down(&mut self) {
        self.members.iter_mut().for_each(Member::calm_down);
        // Those that wait for what was lost ask again.
        for member in self.members.iter().filter(|member| member.is_alive) {
            self.course.put(1, Event::Send(member.index, member.number));
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        let time = self.course.time();
        self.coordinator.turn(time);
        self.transactions.turn(self.course.ms(), (time, &mut self.coordinator));
        self.coordinator.turn(time);
        self.look_at_appended()?;
        self.look_at_committed()?;
        if let Some(group) = self.coordinator.shard().group(GROUP) {
            self.journal.check_stable(group)?;
        }
        for (asked, response) in self.waiting.answered() {
            self.check_answer(&asked, &response)?;
            let Message { member, number, .. } = asked.message;
            self.course.answers(Event::Answer(member, number, (self.incarnation, response)));
        }
        let most_ms = self.options.rebalance_ms + MOMENT_MS;
        let mut waiting = self.waiting.iter();
        let hangs = waiting.find(|asked| self.course.ms() - asked.at_ms > most_ms);
        ensure(hangs.is_none(), || format!("{hangs:?} waits for more than {most_ms} ms"))
    }

    /// Every answered commit is in the log, and the group has settled.
    fn finish(mut self) -> Result<GroupTally, String> {
        let lost = self.answered.iter().find(|committed| !self.journal.has(committed));
        ensure(lost.is_none(), || format!("commit {lost:?} was answered and is not in the log"))?;
        let hangs = self.transactions.open_since(self.course.ms() - TIMEOUT_MS - MOMENT_MS);
        ensure(hangs.is_none(), || format!("the transaction of producer {hangs:?} hangs"))?;
        settled::check(self.coordinator.shard().group(GROUP), &self.members)?;
        self.tally.crashes = self.course.crashes;
        self.tally.transactions = self.transactions.committed;
        self.tally.refused = self.log.refused();
        self.tally.batches = self.log.len();
        Ok(self.tally)
    }
}

impl Groups {
    fn plan(&mut self) {
        let options = self.options;
        (0..options.members).for_each(|_| self.come());
        let (chaos_ms, busy_ms) = match self.course.plan() {
            Plan::Chaos => (CHAOS_MS, CHAOS_MS),
            Plan::CrashAt(..) => (WORKLOAD_MS, REST_MS),
        };
        let any = |random: &mut Seeded| Event::Die(random.below(options.members));
        self.course.scatter((options.replacements, busy_ms), any);
        if self.course.plan() != Plan::Chaos {
            self.course.put(REST_MS, Event::Rest);
            (0..options.members).for_each(|_| self.course.put(BACK_MS, Event::Come));
        }
        let rounds_ms = ROUNDS * (options.session_ms + options.rebalance_ms);
        self.course.begin(chaos_ms, rounds_ms + SLOW_MS + TIMEOUT_MS + MOMENT_MS);
    }

    /// Another member comes.
    fn come(&mut self) {
        let index = self.members.len();
        let is_static = match self.course.plan() {
            Plan::Chaos => happens(&mut self.course.random, self.options.fixed),
            Plan::CrashAt(..) => !index.is_multiple_of(3),
        };
        let instance_id = is_static.then(|| Str::from(format!("i{index}")));
        self.members.push(Member::new(index, instance_id, self.options));
        self.course.put_within(COME_MS, Event::Send(index, 0));
    }

    /// A member sends its current request, and again if it hears nothing.
    fn send(&mut self, index: usize, number: u64) {
        let member = &self.members[index];
        if !member.is_alive || member.number != number {
            return;
        }
        let (generation, request) = (member.generation, member.request());
        let message = Message { member: index, number, generation, request };
        self.course.sends(|| Event::Deliver(message.clone()));
        let patience = self.patience(index);
        self.course.put(patience, Event::Send(index, number));
    }

    /// How long a member waits for an answer. A join waits for the others, and Kafka's clients wait
    /// for it as long as a rebalance may take: asking again makes another member of it.
    fn patience(&mut self, index: usize) -> u64 {
        let patience = self.course.patience();
        let is_long = self.course.is_calm() || self.options.patience == Patience::Long;
        match self.members[index].step {
            Step::Join | Step::Sync(_) if is_long => {
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
        let mut request = message.request.clone();
        if let Request::Join(_, join) = &mut request {
            self.member_ids += 1;
            join.new_member_id = Str::from(format!("m{}-{}", message.member, self.member_ids));
        }
        let floor = match request {
            Request::FetchOffsets(..) => self.journal.floor(),
            _ => BTreeMap::new(),
        };
        let asked = Asked { message, at_ms: self.course.ms(), floor };
        match self.transact(&mut request) {
            Some(refusal) => self.waiting.answer(asked, refusal),
            None => {
                let answer = self.coordinator.ask(self.course.time(), request);
                self.waiting.add(asked, answer);
            }
        }
    }

    /// What the transaction coordinator does with a request, and says to it if it goes no further.
    fn transact(&mut self, request: &mut Request) -> Option<Response> {
        match request {
            Request::CommitInTransaction(_, commit) => {
                let (ms, time) = (self.course.ms(), self.course.time());
                match self.transactions.admit(commit.producer, ms, (&self.log, time)) {
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
        }
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
        match member.on_answer(response, &mut self.course.random)? {
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
        let next = Event::Send(index, member.number);
        // Some think for longer than their session lasts.
        let most_ms = if self.course.is_calm() { 10 } else { 30 };
        if self.course.happens(self.options.silence) {
            self.course.put(self.options.session_ms + 250, next);
        } else {
            self.course.put_within(most_ms, next);
        }
        Ok(())
    }

    /// Another comes in a member's stead, of the same name if it is static. The one before is dead,
    /// without a word, or goes on as a zombie.
    fn replace(&mut self, index: usize) {
        let goes_on = self.course.happens(self.options.zombies);
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
        let gap_ms = if self.course.plan() == Plan::Chaos { GAP_MS } else { WORKLOAD_GAP_MS };
        self.course.put_within(gap_ms, Event::Send(new.index, 0));
        self.members.push(new);
    }

    /// Offsets expire only while nobody is in the group.
    fn look_at_appended(&mut self) -> Result<(), String> {
        let new = self.log.read(self.appended_to).map_err(|e| e.to_string())?;
        let from = replace(&mut self.appended_to, new.next_offset);
        for (at, loaded) in (from.0..).zip(new.entries) {
            match self.journal.on_appended(Offset(at), loaded) {
                Appended::Expired(partition) => {
                    self.tally.expired += 1;
                    let state = self.coordinator.shard().group(GROUP).map(Group::state);
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
        let from = replace(&mut self.committed_to, new.next_offset);
        let mut entries = (from.0..).zip(new.entries);
        entries.try_for_each(|(at, loaded)| self.journal.on_committed(Offset(at), loaded))
    }

    /// What is told is committed, and no less than what was when it was asked.
    fn check_answer(&self, asked: &Asked, response: &Response) -> Result<(), String> {
        match response {
            Response::Sync(synced) if synced.error.is_none() => {
                let (told, known) = (asked.message.generation, self.journal.generation());
                ensure(told <= known, || {
                    format!("parts of generation {told} are told, and {known} is committed")
                })
            }
            Response::FetchOffsets(Ok(found)) => self.check_found(&asked.floor, found),
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
}

fn refused_line(error: ErrorCode) -> PartitionResult {
    PartitionResult { topic: Str::new(), partition: 0, error }
}
