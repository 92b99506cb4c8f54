//! The coordinator's thread and its handle.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use klamm_env::{Clock, task};
use klamm_model::{ErrorCode, PartitionIndex};
use tokio::sync::{mpsc, oneshot};

use crate::shard::{Effects, Factory, PartitionLog, Shard};
use crate::task::{Command, Orders, run};

/// Requests and orders that may wait for a coordinator's thread; more are told to come back.
pub const QUEUE_MAX: usize = 16_384;

/// A coordinator's thread.
#[derive(Debug)]
pub struct Coordinator<S: Shard> {
    handle: CoordinatorHandle<S>,
    thread: JoinHandle<()>,
}

impl<S: Shard> Coordinator<S> {
    /// Starts the thread, without shards.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        name: &str,
        clock: Arc<dyn Clock>,
        factory: Factory<S>,
        effects: Effects<S::Effect>,
    ) -> io::Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let orders = Arc::<Orders<S>>::default();
        let for_thread = Arc::clone(&orders);
        let thread = task::spawn_thread(name, move || {
            if let Err(error) = task::run_worker(run((clock, factory, effects), queue, for_thread))
            {
                tracing::error!(%error, "a coordinator could not start");
            }
        })?;
        Ok(Self { handle: CoordinatorHandle { commands, orders }, thread })
    }

    /// A handle for those who have requests.
    #[must_use]
    pub fn handle(&self) -> CoordinatorHandle<S> {
        self.handle.clone()
    }

    /// Ends the thread; whoever waits is told to look elsewhere.
    pub fn stop(self) {
        self.handle.orders.put(Command::Stop);
        drop(self.handle);
        if self.thread.join().is_err() {
            tracing::error!("a coordinator panicked");
        }
    }
}

/// Sends requests to a coordinator.
#[derive(Debug)]
pub struct CoordinatorHandle<S: Shard> {
    commands: mpsc::Sender<Command<S>>,
    orders: Arc<Orders<S>>,
}

impl<S: Shard> Clone for CoordinatorHandle<S> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), orders: Arc::clone(&self.orders) }
    }
}

impl<S: Shard> CoordinatorHandle<S> {
    /// Asks the shard of `partition`. The request is on its way before the answer is waited for:
    /// who has several sends them all first, and what they write is committed together.
    pub fn request(
        &self,
        partition: PartitionIndex,
        request: S::Request,
    ) -> impl Future<Output = S::Response> + use<S> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.try_send(Command::Request { partition, request, reply });
        let is_sent = sent.is_ok();
        async move {
            match is_sent {
                true => answer.await.unwrap_or_else(|_| S::unavailable(ErrorCode::NotCoordinator)),
                false => S::unavailable(ErrorCode::CoordinatorLoadInProgress),
            }
        }
    }

    /// Asks every shard that is here.
    pub async fn request_all(
        &self,
        request: impl Fn() -> S::Request + Send + 'static,
    ) -> Vec<S::Response> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        if self.commands.try_send(Command::RequestAll { request, reply }).is_err() {
            return vec![S::unavailable(ErrorCode::CoordinatorLoadInProgress)];
        }
        let Ok(answers) = answer.await else {
            return vec![S::unavailable(ErrorCode::NotCoordinator)];
        };
        let mut responses = Vec::with_capacity(answers.len());
        for answer in answers {
            responses
                .push(answer.await.unwrap_or_else(|_| S::unavailable(ErrorCode::NotCoordinator)));
        }
        responses
    }

    /// This broker leads `partition` now.
    pub fn load(&self, partition: PartitionIndex, log: Arc<dyn PartitionLog>) {
        self.orders.put(Command::Load { partition, log });
    }

    /// This broker leads `partition` no more.
    pub fn unload(&self, partition: PartitionIndex) {
        self.orders.put(Command::Unload { partition });
    }

    /// Tells every shard what is new, now and when it comes.
    pub fn publish(&self, news: S::News) {
        self.orders.put(Command::News(news));
    }

    /// Tells every shard, without waiting for answers.
    pub fn tell_all(&self, request: impl Fn() -> S::Request + Send + 'static) {
        let (reply, _) = oneshot::channel();
        self.orders.put(Command::RequestAll { request: Box::new(request), reply });
    }
}
