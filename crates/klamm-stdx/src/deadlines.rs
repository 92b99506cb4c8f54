//! Many timers, one sleep: the set of deadlines of an owner, earliest first.

use std::collections::BTreeSet;

/// A handle to one deadline in a [`Deadlines`], for cancelling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline<T, K> {
    at: T,
    key: K,
}

/// Deadlines by time `T` for keys `K`. Setting and cancelling cost `O(log n)`; the owner asks
/// [`Deadlines::next`] how long it may sleep and then takes what is due with [`Deadlines::pop_due`].
#[derive(Debug)]
pub struct Deadlines<T, K> {
    due: BTreeSet<(T, K)>,
}

impl<T: Ord + Copy, K: Ord + Clone> Default for Deadlines<T, K> {
    fn default() -> Self {
        Self { due: BTreeSet::new() }
    }
}

impl<T: Ord + Copy, K: Ord + Clone> Deadlines<T, K> {
    /// Adds a deadline for `key` at time `at`. One key may have several at different times.
    pub fn set(&mut self, at: T, key: K) -> Deadline<T, K> {
        self.due.insert((at, key.clone()));
        Deadline { at, key }
    }

    /// Forgets a deadline; it does no harm if it was already taken.
    pub fn cancel(&mut self, deadline: Deadline<T, K>) {
        self.due.remove(&(deadline.at, deadline.key));
    }

    /// When the earliest deadline is.
    #[must_use]
    pub fn next(&self) -> Option<T> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline if it is not after `now`.
    pub fn pop_due(&mut self, now: T) -> Option<K> {
        (self.next()? <= now).then(|| self.due.pop_first().expect("next() saw one").1)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_earliest_first_and_what_was_cancelled_never() {
        let mut deadlines = Deadlines::default();
        deadlines.set(30, "c");
        let b = deadlines.set(20, "b");
        deadlines.set(10, "a");
        assert_eq!(deadlines.next(), Some(10));
        deadlines.cancel(b);
        assert_eq!(deadlines.pop_due(25), Some("a"));
        assert_eq!(deadlines.pop_due(25), None);
        assert_eq!(deadlines.pop_due(30), Some("c"));
        assert!(deadlines.is_empty());
    }
}
