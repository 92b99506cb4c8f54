//! Producers, the coordinators and partitions that they use, and what transactions promise.

use std::collections::BTreeMap;

use klamm_group_coordinator::Response as GroupResponse;
use klamm_model::Offset;
use klamm_transaction_coordinator::Protocol;

use super::TransactionTally;
use super::broker::{ABORT_INTERVAL_MS, Broker, offset_in};
use super::client::{Answer, Client, Message, Then};
use super::ledger::{Ledger, applied};
use super::markers::Writer;
use super::options::Options;
use crate::coordinators::coordinator::Waiting;
use crate::coordinators::course::{Course, Plan};
use crate::coordinators::luck::Drawn;
use crate::coordinators::partition::SimPartition;
use crate::coordinators::world::{Commits, World};
use crate::random::Seeded;

/// How long there is chaos.
const CHAOS_MS: u64 = 1500;
/// Then everything ends that can, within two transaction timeouts and this.
const QUIET_MS: u64 = 10 * ABORT_INTERVAL_MS;
/// Who was fenced comes back within.
const COMEBACK_MS: u64 = 200;
/// A marker's next step is that far away at most; of one that takes long, and of others.
const SLOW_MARKER_MS: u64 = 250;
const MARKER_MS: u64 = 5;

#[derive(Debug)]
pub(in crate::coordinators) enum Event {
    Deliver(Message),
    Answer(usize, u64, Answer),
    /// A client asks again, unless it has since (see `Client::sent`).
    Impatience(usize, u64),
    Send(usize, u64),
    Marker(u64),
    Read,
    FailOver,
    Replace(usize),
    /// Another instance of a producer that was fenced, if there is none.
    ComeBack(usize),
}

/// The whole world of a seed.
pub struct Transactions {
    course: Course<Event>,
    options: Options,
    broker: Broker,
    clients: Vec<Client>,
    writers: BTreeMap<u64, Writer>,
    last_writer: u64,
    ledger: Ledger,
    positions: Vec<Offset>,
    fetches: Waiting<usize, GroupResponse>,
    /// Appends that were refused when the coordinator was compared with its log last.
    refused: usize,
    tally: TransactionTally,
}

impl World for Transactions {
    const NAME: &'static str = "transactions";
    const COMMITS: Commits = Commits::Together;
    type Event = Event;

    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Seeded::new(seed);
        let (options, drawn) = Options::random(&mut random);
        let (options, drawn) = match plan {
            Plan::Chaos => (options, drawn),
            Plan::CrashAt(..) => (options.calm(), Drawn::default()),
        };
        let course = Course::new(random, plan, (options.chaos, drawn));
        let broker = Broker::start(course.time(), &options);
        let mut this = Self {
            course,
            options,
            positions: vec![Offset(0); broker.partitions.len()],
            broker,
            clients: Vec::new(),
            writers: BTreeMap::new(),
            last_writer: 0,
            ledger: Ledger::default(),
            fetches: Waiting::default(),
            refused: 0,
            tally: TransactionTally::default(),
        };
        this.plan();
        this
    }

    fn course(&mut self) -> &mut Course<Event> {
        &mut self.course
    }

    fn logs(&self) -> Vec<SimPartition> {
        self.broker.logs().cloned().collect()
    }

    fn is_told(event: &Event) -> bool {
        !matches!(event, Event::Read | Event::Marker(_))
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Send(client, number) => self.send(client, number),
            Event::Impatience(client, sent) if self.clients[client].sent == sent => {
                self.send(client, self.clients[client].number);
            }
            Event::Impatience(..) => {}
            Event::Deliver(message) => self.deliver(message),
            Event::Answer(client, number, answer) => self.on_answer((client, number), answer)?,
            Event::Marker(writer) => self.write_marker(writer),
            Event::Read => self.read(),
            Event::FailOver => self.broker.fail_over(self.course.time()),
            Event::Replace(transactional) => self.replace(transactional),
            Event::ComeBack(transactional) => self.come_back(transactional),
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.writers.clear();
        self.fetches.clear();
        self.course.forget(|event| matches!(event, Event::Marker(_)));
        self.broker.restart(self.course.time());
    }

    /// All clients die where they are; what they have sent still arrives.
    fn calm_down(&mut self) {
        self.clients.iter_mut().for_each(|client| client.stop(&mut self.ledger));
    }

    fn settle(&mut self) -> Result<(), String> {
        let time = self.course.time();
        self.broker.turn(time);
        let answers = self.broker.advance(time);
        self.broker.turn(time);
        let refused = self.broker.transaction_log.refused();
        if self.refused != refused {
            self.refused = refused;
            self.broker.is_as_written()?;
        }
        for (message, answer) in answers {
            self.course.answers(Event::Answer(message.client, message.number, answer));
        }
        for ended in self.broker.take_markers() {
            self.last_writer += 1;
            self.writers.insert(self.last_writer, Writer::new(ended));
            let delay = self.course.delay();
            self.course.put(delay, Event::Marker(self.last_writer));
        }
        for (transactional, response) in self.fetches.answered() {
            if let Some(n) = offset_in(&response) {
                self.ledger.fetched(transactional, n)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<TransactionTally, String> {
        self.broker.is_quiet()?;
        self.fetches.clear();
        self.read();
        self.settle()?;
        self.ledger.check(&applied(self.broker.group_log.committed()))?;
        self.tally.committed = self.ledger.committed_count();
        Ok(self.tally)
    }
}

impl Transactions {
    fn plan(&mut self) {
        let options = self.options;
        self.course.notes.push(format!("{options:?}"));
        (0..options.transactional_ids).for_each(|transactional| self.add_client(transactional));
        self.course.put(1, Event::Read);
        self.course.scatter((options.fail_overs, CHAOS_MS), |_| Event::FailOver);
        let any = |random: &mut Seeded| Event::Replace(random.below(options.transactional_ids));
        self.course.scatter((options.replacements, CHAOS_MS), any);
        self.course.begin(CHAOS_MS, 2 * options.timeout_ms + QUIET_MS);
    }

    fn add_client(&mut self, transactional: usize) {
        let protocol = self.options.protocols.pick(&mut self.course.random);
        let names = (self.clients.len(), transactional);
        let client = Client::new(names, protocol, self.options.partitions);
        self.course.put(1, Event::Send(client.id, client.number));
        self.clients.push(client);
    }

    /// A client sends its current request, and again if it hears nothing.
    fn send(&mut self, client: usize, number: u64) {
        let sender = &mut self.clients[client];
        if !sender.is_alive || sender.number != number {
            return;
        }
        sender.sent += 1;
        let (message, sent) = (sender.message(), sender.sent);
        self.course.sends(|| Event::Deliver(message));
        let patience = self.course.patience();
        self.course.put(patience, Event::Impatience(client, sent));
    }

    /// A v1 client's request is lost once the client has gone on: see the module's doc.
    fn deliver(&mut self, message: Message) {
        let is_over = self.clients[message.client].number != message.number;
        if message.protocol == Protocol::V1 && is_over {
            return;
        }
        self.broker.serve(self.course.time(), message);
    }

    fn on_answer(&mut self, (id, number): (usize, u64), answer: Answer) -> Result<(), String> {
        let client = &mut self.clients[id];
        if !client.is_alive || client.number != number {
            return Ok(());
        }
        match client.on_answer(answer, (&mut self.ledger, &mut self.course.random))? {
            Then::Stop => {
                self.course.put_within(COMEBACK_MS, Event::ComeBack(client.transactional));
            }
            Then::Again => {
                // Once, however many copies of its request were answered.
                self.course.put_within(20, Event::Impatience(id, client.sent));
            }
            Then::Send => {
                if client.protocol == Protocol::V1 {
                    self.broker.tasks.retain(|task| task.message.client != id);
                }
                // Now and then a client thinks for longer than its transaction may last.
                let is_silent = self.course.happens(self.options.silence);
                let pause = if is_silent { self.options.timeout_ms + 200 } else { 0 };
                self.course.put(pause, Event::Send(id, client.number));
            }
        }
        Ok(())
    }

    fn write_marker(&mut self, id: u64) {
        let (time, fails) = (self.course.time(), self.course.happens(self.options.failing_markers));
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let random = &mut self.course.random;
        let (is_over, note) = if fails {
            self.tally.failed_markers += 1;
            writer.fail(random);
            (writer.is_fenced(&self.broker), None)
        } else {
            writer.step(time, (&mut self.broker, random))
        };
        self.course.notes.extend(note);
        if is_over {
            self.writers.remove(&id);
            return;
        }
        let is_slow = self.course.happens(self.options.slow_markers);
        let most_ms = if is_slow { SLOW_MARKER_MS } else { MARKER_MS };
        self.course.put_within(most_ms, Event::Marker(id));
    }

    fn read(&mut self) {
        for (partition, position) in self.broker.partitions.iter().zip(&mut self.positions) {
            if self.course.is_calm() || self.course.random.one_in(2) {
                let (values, next) = partition.read_committed(*position);
                self.ledger.saw(values);
                *position = next;
            }
        }
        for transactional in 0..self.options.transactional_ids {
            if self.fetches.iter().all(|of| *of != transactional) {
                let fetch = self.broker.fetch_offset(self.course.time(), transactional);
                self.fetches.add(transactional, fetch);
            }
        }
        let pause = 5 + self.course.random.below(20) as u64;
        self.course.put(pause, Event::Read);
    }

    /// Another instance of a producer; the ones before die, or go on as zombies.
    fn replace(&mut self, transactional: usize) {
        let goes_on = self.course.random.one_in(2);
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
        if !self.course.is_calm() && !others.any(|client| client.is_alive) {
            self.tally.comebacks += 1;
            self.add_client(transactional);
        }
    }
}
