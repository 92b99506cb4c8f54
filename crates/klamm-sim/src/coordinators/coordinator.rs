//! A coordinator's shard over its log, and the requests that wait for its answers.

use std::convert::Infallible;
use std::sync::Arc;

use klamm_coordinator::{Effects, PartitionLog, Shard, ShardState, Time};
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::partition::SimPartition;

/// Of a coordinator that wants nothing done by others.
pub(super) fn no_effects() -> Effects<Infallible> {
    Arc::new(|effect| match effect {})
}

/// A shard that leads its log.
pub(super) struct Coordinator<S: Shard> {
    state: ShardState<S>,
}

impl<S: Shard> Coordinator<S> {
    /// It has read its log to the end.
    pub(super) fn load(
        shard: S,
        (log, news): (&SimPartition, Option<&S::News>),
        effects: Effects<S::Effect>,
        time: Time,
    ) -> Self {
        let log: Arc<dyn PartitionLog> = Arc::new(log.lead());
        let mut state = ShardState::new(shard, log, effects);
        if let Some(news) = news {
            state.on_news(news);
        }
        while state.is_reading() {
            state.load_some(time).expect("memory can be read");
        }
        Self { state }
    }

    pub(super) fn shard(&self) -> &S {
        self.state.shard()
    }

    pub(super) fn on_news(&mut self, news: &S::News) {
        self.state.on_news(news);
    }

    /// Commits and timers.
    pub(super) fn turn(&mut self, time: Time) {
        self.state.on_high_watermark(time);
        self.state.on_time(time);
        self.state.on_high_watermark(time);
    }

    pub(super) fn ask(&mut self, time: Time, request: S::Request) -> Receiver<S::Response> {
        let (reply, answer) = oneshot::channel();
        self.state.on_request(time, request, reply);
        answer
    }
}

/// Requests that are not answered yet, each with who asked.
#[derive(Debug)]
pub(super) struct Waiting<T, R>(Vec<(T, Receiver<R>)>);

impl<T, R> Default for Waiting<T, R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, R> Waiting<T, R> {
    pub(super) fn add(&mut self, asked: T, answer: Receiver<R>) {
        self.0.push((asked, answer));
    }

    /// One that is answered at once.
    pub(super) fn answer(&mut self, asked: T, response: R) {
        let (reply, answer) = oneshot::channel();
        drop(reply.send(response));
        self.add(asked, answer);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(asked, _)| asked)
    }

    /// The connections are gone.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that are answered, and with what; what will never be answered is forgotten.
    pub(super) fn answered(&mut self) -> Vec<(T, R)> {
        let (mut answered, mut at) = (Vec::new(), 0);
        while let Some((_, answer)) = self.0.get_mut(at) {
            match answer.try_recv() {
                Ok(response) => answered.push((self.0.remove(at).0, response)),
                Err(TryRecvError::Empty) => at += 1,
                Err(TryRecvError::Closed) => drop(self.0.remove(at)),
            }
        }
        answered
    }
}
