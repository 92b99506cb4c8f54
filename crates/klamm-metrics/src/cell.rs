//! The cells that hot paths write: counters and histograms, split so that threads do not share
//! a cache line.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Cells of a counter. Threads beyond this share, which is slower and as correct.
const SHARDS: usize = 16;

/// One cell on a cache line of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Padded(AtomicU64);

/// Gives each thread its cell, in turn. This says nothing about any node: it only spreads writes.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = Cell::new(NEXT_SHARD.fetch_add(1, Relaxed) % SHARDS);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter([Padded; SHARDS]);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        SHARD.with(|shard| self.0[shard.get()].0.fetch_add(n, Relaxed));
    }

    /// What was added so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.iter().fold(0, |sum, cell| sum.wrapping_add(cell.0.load(Relaxed)))
    }
}

/// How often values fell into each of a few fixed ranges.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One counter for each bound and one for what is above all.
    counts: Vec<Counter>,
    sum_nanos: Counter,
}

/// The sum of a histogram is kept in whole billionths, so that it can be added atomically.
const NANOS: f64 = 1e9;

impl Histogram {
    /// An empty one with these upper bounds, in rising order.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, counts, sum_nanos: Counter::default() }
    }

    /// Counts a value, 0 or more, in the histogram's unit.
    pub fn record(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].increment();
        // A cast of a float saturates, and makes 0 of what is no number.
        self.sum_nanos.add((value * NANOS) as u64);
    }

    /// The bounds with how many values were at most that, and then all of them.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter()).scan(0, |total, (bound, count)| {
            *total += count.value();
            Some((bound, *total))
        })
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum_nanos.value() as f64 / NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_many_threads_add_is_all_there() {
        let counter = Arc::new(Counter::default());
        let add = |_| {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || (0..10_000).for_each(|_| counter.increment()))
        };
        let threads: Vec<_> = (0..20).map(add).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(counter.value(), 200_000);
    }

    #[test]
    fn a_value_counts_in_its_range_and_all_above() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.1, 0.5, 0.6, 7.0] {
            histogram.record(value);
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, n)| n).collect();
        assert_eq!(counts, [2, 3, 4]);
        assert!((histogram.sum() - 8.2).abs() < 1e-6);
    }

    #[test]
    fn odd_values_do_no_harm() {
        let histogram = Histogram::new(&[1.0]);
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            histogram.record(value);
        }
        assert_eq!(histogram.cumulative().last(), Some((None, 3)));
    }
}
