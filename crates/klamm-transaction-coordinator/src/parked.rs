//! Requests that wait until the markers of their transactional id are written; each for a while
//! only.

use std::collections::HashMap;

use klamm_coordinator::{Ticket, Time};
use klamm_env::Moment;
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::request::{Request, Response};

/// Requests of one transactional id that may wait; more are sent away.
const PARKED_MAX: usize = 8;

/// One of them.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    pub(crate) ticket: Ticket,
    until: Moment,
}

impl Waiting {
    /// What it is answered if it goes away.
    pub(crate) fn refusal(&self, code: ErrorCode) -> Response {
        refusal(&self.request, code)
    }
}

/// The requests that wait, by transactional id, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    waiting: HashMap<Str, Vec<Waiting>>,
}

impl Parked {
    /// Lets a request wait, if there is room. Else it is to be answered with this.
    pub(crate) fn park(
        &mut self,
        id: &Str,
        (request, ticket): (Request, Ticket),
        (time, wait_ms): (Time, u64),
    ) -> Result<(), (Ticket, Response)> {
        let waiting = self.waiting.entry(id.clone()).or_default();
        if waiting.len() >= PARKED_MAX || wait_ms == 0 {
            return Err((ticket, refusal(&request, ErrorCode::ConcurrentTransactions)));
        }
        waiting.push(Waiting { request, ticket, until: time.now.plus_ms(wait_ms) });
        Ok(())
    }

    /// All that wait for the markers of an id.
    pub(crate) fn take(&mut self, id: &Str) -> Vec<Waiting> {
        self.waiting.remove(id).unwrap_or_default()
    }

    /// Some have to wait on, before those that came meanwhile.
    pub(crate) fn put_back(&mut self, id: &Str, waiting: impl Iterator<Item = Waiting>) {
        let mut waiting = waiting.peekable();
        if waiting.peek().is_some() {
            self.waiting.entry(id.clone()).or_default().splice(..0, waiting);
        }
    }

    /// Those that have waited for long enough.
    pub(crate) fn take_overdue(&mut self, now: Moment) -> Vec<Waiting> {
        let mut overdue = Vec::new();
        self.waiting.retain(|_, waiting| {
            overdue.extend(waiting.extract_if(.., |waiting| waiting.until <= now));
            !waiting.is_empty()
        });
        overdue
    }

    /// When the next has waited for long enough.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.waiting.values().flatten().map(|waiting| waiting.until).min()
    }
}

/// The refusal of a request that waits.
fn refusal(request: &Request, code: ErrorCode) -> Response {
    match request {
        Request::Init { .. } => Response::Init(Err(code)),
        Request::AddPartitions { .. } => Response::Added(code),
        _ => Response::Unavailable(code),
    }
}
