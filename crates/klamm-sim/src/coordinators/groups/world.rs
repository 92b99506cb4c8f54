//! A classic group, its members, and what they promise.

use std::collections::{BTreeMap, BTreeSet};

use klamm_coordinator::PartitionLog;
use klamm_group_coordinator::{GroupShard, Response};
use klamm_model::Offset;
use klamm_stdx::Str;

use super::exchange::{Asked, Message};
use super::journal::{Committed, Journal};
use super::member::{GROUP, Member};
use super::options::Options;
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
pub(super) const MOMENT_MS: u64 = 1_000;

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

/// The whole world of a seed.
pub struct Groups {
    pub(super) course: Course<Event>,
    pub(super) options: Options,
    pub(super) coordinator: Coordinator<GroupShard>,
    pub(super) log: SimPartition,
    pub(super) members: Vec<Member>,
    pub(super) waiting: Waiting<Asked, Response>,
    pub(super) transactions: Transactions,
    /// By the group of the name, its generation and the partition.
    pub(super) owners: BTreeMap<(u32, i32, u8), Str>,
    pub(super) incarnation: u32,
    /// How many ids the broker has made up for members.
    pub(super) member_ids: usize,
    pub(super) answered: BTreeSet<Committed>,
    pub(super) journal: Journal,
    /// How far the log has been looked at.
    pub(super) appended_to: Offset,
    pub(super) committed_to: Offset,
    pub(super) tally: GroupTally,
}

impl World for Groups {
    const NAME: &'static str = "groups";
    const COMMITS: Commits = Commits::Together;
    type Event = Event;

    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = match plan {
            Plan::Chaos => Options::random(&mut random),
            Plan::CrashAt(..) => (Options::workload(), Drawn::default()),
        };
        let log = SimPartition::default();
        let course = Course::new(random, plan, (options.chaos, drawn));
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
            tally: GroupTally::default(),
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
        self.tally.transactions = self.transactions.committed;
        Ok(self.tally)
    }
}

impl Groups {
    fn plan(&mut self) {
        let options = self.options;
        self.course.notes.push(format!("{options:?}"));
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
}
