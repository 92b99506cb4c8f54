//! The loop of a coordinator's thread.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

use klamm_env::{Clock, Moment, task};
use klamm_model::{ErrorCode, PartitionIndex};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::agenda::Agenda;
use crate::shard::{Effects, Factory, PartitionLog, Shard, Time};
use crate::state::ShardState;

/// Commands taken from the queue before the loop looks at commits and timers again.
const COMMANDS_PER_TURN: usize = 256;

/// What the thread is told.
pub(crate) enum Command<S: Shard> {
    Request {
        partition: PartitionIndex,
        request: S::Request,
        reply: oneshot::Sender<S::Response>,
    },
    RequestAll {
        request: Box<dyn Fn() -> S::Request + Send>,
        reply: oneshot::Sender<Vec<oneshot::Receiver<S::Response>>>,
    },
    Load {
        partition: PartitionIndex,
        log: Arc<dyn PartitionLog>,
    },
    Unload {
        partition: PartitionIndex,
    },
    News(S::News),
    Stop,
}

/// Orders come from the metadata publisher: they must not be lost and it must not wait. There are
/// never more of them than partitions and changes of metadata, so nothing else bounds them.
pub(crate) struct Orders<S: Shard> {
    queue: Mutex<VecDeque<Command<S>>>,
    arrived: Notify,
}

impl<S: Shard> Default for Orders<S> {
    fn default() -> Self {
        Self { queue: Mutex::default(), arrived: Notify::new() }
    }
}

impl<S: Shard> std::fmt::Debug for Orders<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}

impl<S: Shard> Orders<S> {
    pub(crate) fn put(&self, command: Command<S>) {
        self.queue.lock().expect("no holder of this lock can panic").push_back(command);
        self.arrived.notify_one();
    }

    fn take(&self) -> VecDeque<Command<S>> {
        std::mem::take(&mut self.queue.lock().expect("no holder of this lock can panic"))
    }
}

struct Loop<S: Shard> {
    clock: Arc<dyn Clock>,
    factory: Factory<S>,
    effects: Effects<S::Effect>,
    shards: BTreeMap<PartitionIndex, ShardState<S>>,
    loading: HashSet<PartitionIndex>,
    agenda: Agenda,
    /// For shards that come later.
    news: Option<S::News>,
    advanced: Arc<Notify>,
    stopped: bool,
}

/// Runs until told to stop or until the last handle is gone.
pub(crate) async fn run<S: Shard>(
    (clock, factory, effects): (Arc<dyn Clock>, Factory<S>, Effects<S::Effect>),
    mut queue: mpsc::Receiver<Command<S>>,
    orders: Arc<Orders<S>>,
) {
    let mut this = Loop {
        clock,
        factory,
        effects,
        shards: BTreeMap::new(),
        loading: HashSet::new(),
        agenda: Agenda::default(),
        news: None,
        advanced: Arc::default(),
        stopped: false,
    };
    while !this.stopped {
        this.wait(&mut queue, &orders).await;
        for order in orders.take() {
            this.on_command(order);
        }
        for _ in 0..COMMANDS_PER_TURN {
            match queue.try_recv() {
                Ok(command) => this.on_command(command),
                Err(_) => break,
            }
        }
        this.skip_own_advance().await;
        this.turn();
    }
    std::mem::take(&mut this.shards).into_values().for_each(ShardState::unload);
}

impl<S: Shard> Loop<S> {
    fn time(&self) -> Time {
        Time { now: self.clock.now(), wall: self.clock.wall() }
    }

    /// Waits for a command, a commit or a timer; not at all while a shard is loading.
    async fn wait(&mut self, queue: &mut mpsc::Receiver<Command<S>>, orders: &Orders<S>) {
        if !self.loading.is_empty() {
            return;
        }
        let timer = sleep_until(self.clock.as_ref(), self.agenda.next_timeout());
        tokio::select! {
            biased;
            command = queue.recv() => match command {
                Some(command) => self.on_command(command),
                None => self.stopped = true,
            },
            () = orders.arrived.notified() => {}
            () = self.advanced.notified() => {}
            () = timer => {}
        }
    }

    /// What this thread has appended may be committed at once, and then it has woken itself: the
    /// turn that comes next sees all that moved until now.
    async fn skip_own_advance(&self) {
        tokio::select! {
            biased;
            () = self.advanced.notified() => {}
            () = ready(()) => {}
        }
    }

    fn on_command(&mut self, command: Command<S>) {
        let time = self.time();
        match command {
            Command::Request { partition, request, reply } => match self.shards.get_mut(&partition)
            {
                Some(shard) => {
                    shard.on_request(time, request, reply);
                    self.agenda.note(partition, shard);
                }
                None => drop(reply.send(S::unavailable(ErrorCode::NotCoordinator))),
            },
            Command::RequestAll { request, reply } => {
                let mut answers = Vec::with_capacity(self.shards.len());
                for (partition, shard) in &mut self.shards {
                    let (sender, answer) = oneshot::channel();
                    shard.on_request(time, request(), sender);
                    self.agenda.note(*partition, shard);
                    answers.push(answer);
                }
                // Who only tells does not listen.
                drop(reply.send(answers));
            }
            Command::Load { partition, log } => {
                log.watch(Arc::clone(&self.advanced));
                let mut shard =
                    ShardState::new((self.factory)(partition), log, Arc::clone(&self.effects));
                if let Some(news) = &self.news {
                    shard.on_news(news);
                }
                if let Some(old) = self.shards.insert(partition, shard) {
                    old.unload();
                }
                self.agenda.forget(partition);
                self.loading.insert(partition);
            }
            Command::Unload { partition } => {
                if let Some(shard) = self.shards.remove(&partition) {
                    shard.unload();
                }
                self.agenda.forget(partition);
                self.loading.remove(&partition);
            }
            Command::News(news) => {
                for (partition, shard) in &mut self.shards {
                    shard.on_news(&news);
                    self.agenda.note(*partition, shard);
                }
                self.news = Some(news);
            }
            Command::Stop => self.stopped = true,
        }
    }

    /// Commits, timers and one step of each loading shard.
    fn turn(&mut self) {
        let time = self.time();
        for partition in self.agenda.due(time.now) {
            let Some(shard) = self.shards.get_mut(&partition) else { continue };
            shard.on_high_watermark(time);
            shard.on_time(time);
            shard.on_high_watermark(time);
            self.agenda.note(partition, shard);
        }
        let loading: Vec<PartitionIndex> = self.loading.iter().copied().collect();
        for partition in loading {
            let Some(shard) = self.shards.get_mut(&partition) else { continue };
            match shard.load_some(time) {
                Ok(()) if shard.is_reading() => continue,
                Ok(()) => self.agenda.note(partition, shard),
                Err(error) => {
                    tracing::error!(partition, %error, "a coordinator's log cannot be read: its groups are not served");
                    self.shards.remove(&partition);
                    self.agenda.forget(partition);
                }
            }
            self.loading.remove(&partition);
        }
    }
}

async fn sleep_until(clock: &dyn Clock, at: Option<Moment>) {
    match at {
        Some(at) => task::sleep(at.since(clock.now())).await,
        None => pending().await,
    }
}
