//! Everything that happens, in the order of a seed.

use std::collections::{BTreeMap, BTreeSet};

use klamm_coordinator::{Loaded, Time};
use klamm_env::Moment;
use klamm_group_coordinator::{Record, Response as GroupResponse};
use klamm_model::{Offset, ProducerId, Timestamp};
use klamm_transaction_coordinator::Protocol;
use tokio::sync::oneshot::Receiver;

use super::TransactionTally;
use super::broker::{ABORT_INTERVAL_MS, Broker, offset_in};
use super::client::{Answer, Client, Message, Then};
use super::ledger::Ledger;
use super::markers::Writer;
use super::options::Options;
use crate::coordinators::luck::{Drawn, happens};
use crate::coordinators::partition::SimPartition;
use crate::coordinators::queue::Queue;
use crate::coordinators::refusals::Refusal;
use crate::coordinators::trace::Trace;
use crate::random::Seeded;

/// How long there is chaos.
const CHAOS_MS: u64 = 1500;
/// Then everything ends that can, within two transaction timeouts and this.
const QUIET_MS: u64 = 10 * ABORT_INTERVAL_MS;
/// What is slow takes at most so long.
const SLOW_MS: i64 = 300;
/// Who was fenced comes back within.
const COMEBACK_MS: usize = 200;
/// A client that hears nothing asks again.
const PATIENCE_MS: i64 = 60;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything, at random.
    Chaos,
    /// The broker crashes when the coordinator's log has so many records, and nothing else does.
    CrashAt(usize),
}

#[derive(Debug)]
enum Event {
    Deliver(Message),
    Answer(usize, u64, Answer),
    /// A client asks again, unless it has since (see `Client::sent`).
    Impatience(usize, u64),
    Send(usize, u64),
    Sync,
    Marker(u64),
    Read,
    Crash,
    FailOver,
    Replace(usize),
    /// A log refuses an append, or some.
    Refuse,
    /// Another instance of a producer that was fenced, if there is none.
    ComeBack(usize),
    Calm,
    End,
}

/// The whole world of a seed.
pub(super) struct World {
    random: Seeded,
    plan: Plan,
    options: Options,
    ms: u64,
    is_calm: bool,
    queue: Queue<Event>,
    broker: Broker,
    clients: Vec<Client>,
    writers: BTreeMap<u64, Writer>,
    last_writer: u64,
    ledger: Ledger,
    positions: Vec<Offset>,
    fetches: Vec<(usize, Receiver<GroupResponse>)>,
    /// Appends that were refused when the coordinator was compared with its log last.
    refused: usize,
    tally: TransactionTally,
    /// For the story of a violation.
    notes: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = Options::random(&mut random);
        let (options, drawn) = match plan {
            Plan::Chaos => (options, drawn),
            Plan::CrashAt(_) => (options.calm(), Drawn::default()),
        };
        let time = Time { now: Moment(0), wall: Timestamp(0) };
        let broker = Broker::start(time, &options);
        let positions = vec![Offset(0); broker.partitions.len()];
        let mut this = Self {
            random,
            plan,
            options,
            ms: 0,
            is_calm: false,
            queue: Queue::default(),
            broker,
            clients: Vec::new(),
            writers: BTreeMap::new(),
            last_writer: 0,
            ledger: Ledger::default(),
            positions,
            fetches: Vec::new(),
            refused: 0,
            tally: TransactionTally { drawn, ..TransactionTally::default() },
            notes: Vec::new(),
        };
        for transactional in 0..options.transactional_ids {
            this.add_client(transactional);
        }
        for event in [Event::Sync, Event::Read] {
            this.queue.put(1, event);
        }
        this.queue.put(CHAOS_MS, Event::Calm);
        this.queue.put(CHAOS_MS + 2 * options.timeout_ms + QUIET_MS, Event::End);
        this.plan_chaos();
        this
    }

    fn plan_chaos(&mut self) {
        for _ in 0..self.options.crashes {
            let ms = self.within(CHAOS_MS);
            self.queue.put(ms, Event::Crash);
        }
        for _ in 0..self.options.fail_overs {
            let ms = self.within(CHAOS_MS);
            self.queue.put(ms, Event::FailOver);
        }
        for _ in 0..self.options.replacements {
            let (ms, id) =
                (self.within(CHAOS_MS), self.random.below(self.options.transactional_ids));
            self.queue.put(ms, Event::Replace(id));
        }
        for _ in 0..self.options.refusals {
            let ms = self.within(CHAOS_MS);
            self.queue.put(ms, Event::Refuse);
        }
    }

    fn within(&mut self, ms: u64) -> u64 {
        self.random.below(ms as usize) as u64
    }

    fn time(&self) -> Time {
        Time { now: Moment(0).plus_ms(self.ms), wall: Timestamp(self.ms as i64) }
    }

    fn add_client(&mut self, transactional: usize) {
        let protocol = self.options.protocols.pick(&mut self.random);
        let names = (self.clients.len(), transactional);
        let client = Client::new(names, protocol, self.options.partitions);
        self.queue.put(self.ms + 1, Event::Send(client.id, client.number));
        self.clients.push(client);
    }

    /// How long something takes on its way; sometimes for ever so long.
    fn delay(&mut self) -> u64 {
        let is_slow = happens(&mut self.random, self.options.slowness);
        let most = if is_slow { SLOW_MS } else { 6 };
        self.ms + self.random.between(0, most) as u64
    }

    fn is_unlucky(&mut self, once_in: Option<usize>) -> bool {
        !self.is_calm && happens(&mut self.random, once_in)
    }

    pub(super) fn run(mut self, trace: &mut Trace) -> Result<TransactionTally, String> {
        while let Some((ms, event)) = self.queue.take() {
            self.ms = ms;
            self.tally.events += 1;
            if !matches!(event, Event::Sync | Event::Read | Event::Marker(_)) {
                trace.note(format_args!("{ms} {event:?}"));
            }
            if matches!(event, Event::End) {
                return self.finish();
            }
            let happened = self.on_event(&event).and_then(|()| self.settle());
            self.notes.drain(..).for_each(|note| trace.note(format_args!("{note}")));
            happened?;
            if let Plan::CrashAt(n) = self.plan
                && self.tally.crashes == 0
                && self.broker.transaction_log.len() >= n
            {
                trace.note(format_args!("{ms} crash"));
                self.crash();
            }
        }
        Err("the queue is empty before the end".to_owned())
    }

    fn on_event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Send(client, number) => self.send(*client, *number),
            Event::Impatience(client, sent) if self.clients[*client].sent == *sent => {
                let number = self.clients[*client].number;
                self.send(*client, number);
            }
            Event::Impatience(..) => {}
            Event::Deliver(message) => self.deliver(*message),
            Event::Answer(client, number, answer) => {
                self.on_answer((*client, *number), *answer)?;
            }
            Event::Sync => self.sync(),
            Event::Marker(writer) => self.write_marker(*writer),
            Event::Read => self.read(),
            Event::Crash if self.is_calm => {}
            Event::Crash => self.crash(),
            Event::FailOver => {
                let time = self.time();
                self.broker.fail_over(time);
            }
            Event::Replace(transactional) => self.replace(*transactional),
            Event::Refuse => {
                let now = self.time().wall;
                let refusal = Refusal::random(&mut self.random, now);
                let logs: Vec<_> = self.broker.logs().collect();
                self.random.pick(&logs).refuse(Some(refusal));
            }
            Event::ComeBack(transactional) => self.come_back(*transactional),
            Event::Calm => self.calm_down(),
            Event::End => {}
        }
        Ok(())
    }

    /// A client sends its current request, perhaps twice, perhaps in vain.
    fn send(&mut self, client: usize, number: u64) {
        let sender = &mut self.clients[client];
        if !sender.is_alive || sender.number != number {
            return;
        }
        sender.sent += 1;
        let (message, sent) = (sender.message(), sender.sent);
        for copy in 0..2 {
            let is_sent = match copy {
                0 => !self.is_unlucky(self.options.loss),
                _ => self.is_unlucky(self.options.duplication),
            };
            if is_sent {
                let at = self.delay();
                self.queue.put(at, Event::Deliver(message));
            }
        }
        let patience = self.random.between(PATIENCE_MS / 2, PATIENCE_MS * 2) as u64;
        self.queue.put(self.ms + patience, Event::Impatience(client, sent));
    }

    /// A v1 client's request is lost once the client has gone on: see the module's doc.
    fn deliver(&mut self, message: Message) {
        let is_over = self.clients[message.client].number != message.number;
        if message.protocol == Protocol::V1 && is_over {
            return;
        }
        let time = self.time();
        self.broker.serve(time, message);
    }

    fn on_answer(&mut self, (id, number): (usize, u64), answer: Answer) -> Result<(), String> {
        let client = &mut self.clients[id];
        if !client.is_alive || client.number != number {
            return Ok(());
        }
        let then = client.on_answer(answer, (&mut self.ledger, &mut self.random))?;
        let (number, sent) = (client.number, client.sent);
        let (protocol, transactional) = (client.protocol, client.transactional);
        match then {
            Then::Stop => {
                let pause = self.random.below(COMEBACK_MS) as u64;
                self.queue.put(self.ms + pause, Event::ComeBack(transactional));
            }
            Then::Again => {
                let pause = 1 + self.random.below(20) as u64;
                // Once, however many copies of its request were answered.
                self.queue.put(self.ms + pause, Event::Impatience(id, sent));
            }
            Then::Send => {
                if protocol == Protocol::V1 {
                    self.broker.tasks.retain(|task| task.message.client != id);
                }
                // Now and then a client thinks for longer than its transaction may last.
                let is_silent = self.is_unlucky(self.options.silence);
                let pause = if is_silent { self.options.timeout_ms + 200 } else { 0 };
                self.queue.put(self.ms + pause, Event::Send(id, number));
            }
        }
        Ok(())
    }

    /// Some of what is appended is committed.
    fn sync(&mut self) {
        for log in self.broker.logs() {
            match self.random.below(3) {
                0 => log.commit(),
                1 => log.commit_one(),
                _ if self.is_calm => log.commit(),
                _ => {}
            }
        }
        let next = 1 + self.random.below(5) as u64;
        self.queue.put(self.ms + next, Event::Sync);
    }

    fn write_marker(&mut self, id: u64) {
        let (time, fails) = (self.time(), self.is_unlucky(self.options.failing_markers));
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let (is_over, note) = if fails {
            self.tally.failed_markers += 1;
            writer.fail(&mut self.random);
            (writer.is_fenced(&self.broker), None)
        } else {
            writer.step(time, (&mut self.broker, &mut self.random))
        };
        self.notes.extend(note.map(|note| format!("{} {note}", self.ms)));
        if is_over {
            self.writers.remove(&id);
            return;
        }
        let is_slow = self.is_unlucky(self.options.slow_markers);
        let pause = if is_slow { self.random.below(250) } else { 1 + self.random.below(4) };
        self.queue.put(self.ms + pause as u64, Event::Marker(id));
    }

    fn read(&mut self) {
        for (partition, position) in self.broker.partitions.iter().zip(&mut self.positions) {
            if self.is_calm || self.random.one_in(2) {
                let (values, next) = partition.read_committed(*position);
                self.ledger.saw(values);
                *position = next;
            }
        }
        let time = self.time();
        for transactional in 0..self.options.transactional_ids {
            if self.fetches.iter().all(|(of, _)| *of != transactional) {
                let fetch = self.broker.fetch_offset(time, transactional);
                self.fetches.push((transactional, fetch));
            }
        }
        let next = 5 + self.random.below(20) as u64;
        self.queue.put(self.ms + next, Event::Read);
    }

    /// The broker stops; what is not committed may be lost, but for a part at the front.
    fn crash(&mut self) {
        self.tally.crashes += 1;
        for log in self.broker.logs() {
            log.crash(self.random.below(log.uncommitted() + 1));
        }
        self.writers.clear();
        self.fetches.clear();
        self.queue.retain(|event| !matches!(event, Event::Marker(_)));
        let time = self.time();
        self.broker.restart(time);
    }

    /// Another instance of a producer; the ones before die, or go on as zombies.
    fn replace(&mut self, transactional: usize) {
        let goes_on = self.random.one_in(2);
        for client in self.clients.iter_mut().filter(|c| c.transactional == transactional) {
            if client.is_alive && !goes_on {
                client.stop(&mut self.ledger);
            }
        }
        self.add_client(transactional);
    }

    /// Who was fenced begins again, unless another already has.
    fn come_back(&mut self, transactional: usize) {
        let mut others = self.clients.iter().filter(|c| c.transactional == transactional);
        if !self.is_calm && !others.any(|client| client.is_alive) {
            self.tally.comebacks += 1;
            self.add_client(transactional);
        }
    }

    /// All clients die where they are; what they have sent still arrives.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.broker.logs().for_each(|log| log.refuse(None));
        self.clients.iter_mut().for_each(|client| client.stop(&mut self.ledger));
    }

    /// Everything that follows from an event without another.
    fn settle(&mut self) -> Result<(), String> {
        let time = self.time();
        self.broker.turn(time);
        let answers = self.broker.advance(time);
        self.broker.turn(time);
        let refused = self.broker.transaction_log.refused();
        if self.refused != refused {
            self.refused = refused;
            self.broker.is_as_written()?;
        }
        for (message, answer) in answers {
            if !self.is_unlucky(self.options.loss) {
                let at = self.delay();
                self.queue.put(at, Event::Answer(message.client, message.number, answer));
            }
        }
        for ended in self.broker.take_markers() {
            self.last_writer += 1;
            self.writers.insert(self.last_writer, Writer::new(ended));
            let at = self.delay();
            self.queue.put(at, Event::Marker(self.last_writer));
        }
        for (transactional, mut fetch) in std::mem::take(&mut self.fetches) {
            match fetch.try_recv() {
                Ok(response) => {
                    if let Some(n) = offset_in(&response) {
                        self.ledger.fetched(transactional, n)?;
                    }
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                    self.fetches.push((transactional, fetch));
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Closed) => {}
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<TransactionTally, String> {
        self.broker.is_quiet()?;
        self.fetches.clear();
        self.read();
        self.settle()?;
        self.ledger.check(&self.applied())?;
        self.tally.committed = self.ledger.committed_count();
        self.tally.refused = self.broker.logs().map(SimPartition::refused).sum();
        self.tally.records = self.broker.transaction_log.len();
        Ok(self.tally)
    }

    /// The offsets that transactions committed, by the group's log.
    fn applied(&self) -> BTreeSet<i64> {
        let mut open = BTreeMap::<ProducerId, Vec<i64>>::new();
        let mut applied = BTreeSet::new();
        for loaded in self.broker.group_log.committed() {
            match loaded {
                Loaded::Transactional(producer, (key, value)) => {
                    let record = Record::from_key_value(key, value).expect("our own record");
                    if let Record::Offset { offset: Some(offset), .. } = record {
                        open.entry(producer.id).or_default().push(offset.offset.0);
                    }
                }
                Loaded::End(end) => {
                    let offsets = open.remove(&end.producer.id).unwrap_or_default();
                    applied.extend(offsets.into_iter().filter(|_| end.is_commit));
                }
                Loaded::Record(_) => {}
            }
        }
        applied
    }
}
