//! How many transactional ids are in each state, over all shards of a broker. Whoever wants to know
//! reads it without asking a shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::{STATES_COUNT, State};

/// The counts of a broker.
#[derive(Debug, Default)]
pub struct Figures {
    counts: [AtomicU64; STATES_COUNT],
}

impl Figures {
    /// How many transactional ids are in a state.
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        self.counts[state.index()].load(Ordering::Relaxed)
    }
}

/// The part of one shard, which it takes along when it goes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    figures: Arc<Figures>,
    own: [u64; STATES_COUNT],
}

impl Tally {
    pub(crate) fn of(figures: Arc<Figures>) -> Self {
        Self { figures, own: [0; STATES_COUNT] }
    }

    /// A transactional id is in this state from now on.
    pub(crate) fn enter(&mut self, state: State) {
        self.own[state.index()] += 1;
        self.figures.counts[state.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// A transactional id that entered this state leaves it.
    pub(crate) fn leave(&mut self, state: State) {
        self.own[state.index()] -= 1;
        self.figures.counts[state.index()].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        for (count, own) in self.figures.counts.iter().zip(self.own) {
            count.fetch_sub(own, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_its_part_along_and_leaves_that_of_others() {
        let figures = Arc::new(Figures::default());
        let mut one = Tally::of(Arc::clone(&figures));
        let mut other = Tally::of(Arc::clone(&figures));
        one.enter(State::Empty);
        one.enter(State::Ongoing);
        other.enter(State::Ongoing);
        one.leave(State::Empty);
        assert_eq!(figures.in_state(State::Empty), 0);
        assert_eq!(figures.in_state(State::Ongoing), 2);
        drop(one);
        assert_eq!(figures.in_state(State::Ongoing), 1);
    }
}
