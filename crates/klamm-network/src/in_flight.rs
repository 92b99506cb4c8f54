//! The requests of a connection that are not answered yet, in their order.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::permits::MemoryPermit;
use crate::reply::Reply;

/// How a request stands.
pub(crate) enum State {
    Waiting(Pin<Box<dyn Future<Output = Reply>>>),
    Done(Reply),
}

/// What is kept of a request until it is answered.
pub(crate) struct Kept {
    /// Whether others of its kind may start before.
    pub(crate) pipelined: bool,
    /// For its bytes.
    pub(crate) permit: MemoryPermit,
}

struct Request {
    state: State,
    pipelined: bool,
    _permit: MemoryPermit,
}

/// Oldest first.
#[derive(Default)]
pub(crate) struct InFlight {
    requests: VecDeque<Request>,
}

impl InFlight {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether others of their kind may start before they are answered.
    pub(crate) fn are_pipelined(&self) -> bool {
        self.requests.iter().all(|request| request.pipelined)
    }

    pub(crate) fn push(&mut self, state: State, Kept { pipelined, permit }: Kept) {
        self.requests.push_back(Request { state, pipelined, _permit: permit });
    }

    /// Asks every request that waits.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        for request in &mut self.requests {
            if let State::Waiting(future) = &mut request.state
                && let Poll::Ready(reply) = future.as_mut().poll(cx)
            {
                request.state = State::Done(reply);
            }
        }
    }

    /// The oldest, if it is done.
    pub(crate) fn pop_done(&mut self) -> Option<Reply> {
        let request =
            self.requests.pop_front_if(|request| matches!(request.state, State::Done(_)))?;
        match request.state {
            State::Done(reply) => Some(reply),
            State::Waiting(_) => unreachable!("it was just seen to be done"),
        }
    }
}
