//! A bound on the memory of requests that are being read or handled, over all connections.
//!
//! A frame takes a permit for its size before its body is read; when there is none, the
//! connection is not read until another request ends. A frame larger than the whole bound is
//! let through when it is alone, so that a small bound slows down but never blocks for good.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The bound; cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryPermits(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bytes_max: usize,
    bytes_used: usize,
    waiting: VecDeque<Waker>,
}

/// Room for one frame, given back when dropped.
#[derive(Debug)]
pub struct MemoryPermit {
    permits: MemoryPermits,
    bytes: usize,
}

impl MemoryPermits {
    /// At most `bytes_max` bytes at once.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(State { bytes_max, bytes_used: 0, waiting: VecDeque::new() })))
    }

    /// Room for `bytes`, or a promise to wake the task when there may be.
    pub fn poll_acquire(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<MemoryPermit> {
        let mut state = self.lock();
        if state.bytes_used > 0 && state.bytes_used.saturating_add(bytes) > state.bytes_max {
            state.waiting.push_back(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes_used += bytes;
        Poll::Ready(MemoryPermit { permits: self.clone(), bytes })
    }

    /// Bytes taken now.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.lock().bytes_used
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        state.bytes_used -= self.bytes;
        // All are woken: who fits goes on, the others queue again. Waiting is rare and a fair
        // queue of sizes would starve small frames behind a large one.
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(permits: &MemoryPermits, bytes: usize) -> Option<MemoryPermit> {
        match permits.poll_acquire(&mut Context::from_waker(Waker::noop()), bytes) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_frame_waits_until_there_is_room() {
        let permits = MemoryPermits::new(100);
        let first = acquire(&permits, 60).unwrap();
        assert!(acquire(&permits, 41).is_none());
        drop(first);
        assert!(acquire(&permits, 41).is_some());
        assert_eq!(permits.bytes_used(), 0);
    }

    #[test]
    fn a_frame_larger_than_the_bound_goes_through_alone() {
        let permits = MemoryPermits::new(100);
        let large = acquire(&permits, 1_000).unwrap();
        assert!(acquire(&permits, 1).is_none());
        drop(large);
        assert!(acquire(&permits, 1).is_some());
    }
}
