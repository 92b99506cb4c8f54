//! What is going to happen, in order of time.

use std::collections::BTreeMap;

/// Events by their time in milliseconds; those of one moment in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<E> {
    /// Boxed, since they are large and the tree moves them to and fro.
    events: BTreeMap<(u64, u64), Box<E>>,
    last: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), last: 0 }
    }
}

impl<E> Queue<E> {
    /// Something happens at `ms`.
    pub(super) fn put(&mut self, ms: u64, event: E) {
        self.last += 1;
        self.events.insert((ms, self.last), Box::new(event));
    }

    /// What happens next, and when.
    pub(super) fn take(&mut self) -> Option<(u64, E)> {
        self.events.pop_first().map(|((ms, _), event)| (ms, *event))
    }

    /// Forgets some of it.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }
}
