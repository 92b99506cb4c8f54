//! Threads, tasks and timers: a worker is one thread with one single-threaded runtime.

use std::future::Future;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// How many events a worker takes from the kernel at once; few, so that a worker that has one
/// busy connection among many stays fair.
const EVENTS_PER_TURN: usize = 256;

/// Threads of a worker for calls that wait for a device; more calls queue. A disk serves no more
/// at once, and each thread costs memory.
const BLOCKING_THREADS_MAX: usize = 4;

/// Runs `main` to its end on this thread, with the tasks that it spawns.
///
/// # Errors
/// The kernel refused the event queue.
pub fn run_worker<F: Future>(main: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_io_events_per_tick(EVENTS_PER_TURN)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()?;
    Ok(LocalSet::new().block_on(&runtime, main))
}

/// Starts a named thread.
///
/// # Errors
/// The kernel refused it.
pub fn spawn_thread<F>(name: &str, main: F) -> io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).stack_size(THREAD_STACK_BYTES).spawn(main)
}

/// Stack of our threads. Only touched pages cost memory; deep recursion exists nowhere.
pub const THREAD_STACK_BYTES: usize = 1024 * 1024;

/// Starts a task on this worker.
pub fn spawn_local<F: Future<Output = ()> + 'static>(task: F) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_local(task)
}

/// Waits; only tasks of a worker may.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Runs a call that may wait for a device, away from the worker.
///
/// # Errors
/// The call panicked.
pub async fn blocking<T, F>(call: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(call).await.map_err(io::Error::other)
}

/// Gives `future` at most `limit`; `None` if it took longer.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}

/// The rests of threads that work now and then: others can end them early, or for good.
#[derive(Debug, Default)]
pub struct Rests {
    state: Mutex<Calls>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    wakes: u64,
    is_stopped: bool,
}

impl Rests {
    fn state(&self) -> MutexGuard<'_, Calls> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// How often everybody was woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.state().wakes
    }

    /// Ends all rests, and those that begin with a count from before.
    pub fn wake(&self) {
        self.state().wakes += 1;
        self.called.notify_all();
    }

    /// Ends all rests now and for ever.
    pub fn stop(&self) {
        self.state().is_stopped = true;
        self.called.notify_all();
    }

    /// Whether rests are over for ever.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Rests until `limit` is over, everybody is woken once more than `wakes` times, or stopped.
    pub fn rest(&self, limit: Duration, wakes: u64) {
        let is_quiet = |calls: &mut Calls| calls.wakes == wakes && !calls.is_stopped;
        let waited = self.called.wait_timeout_while(self.state(), limit, is_quiet);
        drop(waited.expect("no holder of this lock can panic"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_by_a_call_from_before_it_by_its_limit_and_by_the_stop() {
        let (rests, long) = (Rests::default(), Duration::from_secs(3600));
        let wakes = rests.wakes();
        rests.wake();
        rests.rest(long, wakes);
        rests.rest(Duration::ZERO, rests.wakes());
        assert!(!rests.is_stopped());
        std::thread::scope(|scope| {
            scope.spawn(|| rests.rest(long, rests.wakes()));
            rests.stop();
        });
        rests.rest(long, rests.wakes());
        assert!(rests.is_stopped());
    }
}
