//! What is going to happen, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by their time in milliseconds; those of one moment in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::BTreeMap<u64, E>,
    last: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: std::collections::BTreeMap::new(), last: 0 }
    }
}

impl<E> Queue<E> {
    /// Something happens at `ms`.
    pub(super) fn put(&mut self, ms: u64, event: E) {
        self.last += 1;
        self.heap.push(Reverse((ms, self.last)));
        self.events.insert(self.last, event);
    }

    /// What happens next, and when.
    pub(super) fn take(&mut self) -> Option<(u64, E)> {
        while let Some(Reverse((ms, order))) = self.heap.pop() {
            if let Some(event) = self.events.remove(&order) {
                return Some((ms, event));
            }
        }
        None
    }

    /// Forgets some of it.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }
}
