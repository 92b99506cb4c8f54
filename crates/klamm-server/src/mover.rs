//! The threads that move replicas between log directories. A node with one directory has none.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_config::LogConfig;
use klamm_env::{Clock, Env, task};
use klamm_log::{Pace, Stopped};
use klamm_replication::{LogMover, MoveTurn, Partitions, Throttle};

/// An idle thread is woken by the next move; it looks around this often all the same.
const REST: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
struct Shared {
    mover: LogMover,
    partitions: Arc<Partitions>,
    clock: Arc<dyn Clock>,
    throttle: Mutex<(u64, Throttle)>,
}

/// The mover threads of a node.
#[derive(Debug)]
pub(crate) struct Movers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Movers {
    /// The mover, without a thread yet.
    pub(crate) fn new(env: &Env, partitions: &Arc<Partitions>, config: &LogConfig) -> Self {
        let bytes_per_second = config.alter_log_dirs_bytes_per_second;
        let throttle = Throttle::new(bytes_per_second as f64, env.clock.now());
        let shared = Arc::new(Shared {
            mover: LogMover::new(env.clone(), Arc::clone(partitions)),
            partitions: Arc::clone(partitions),
            clock: Arc::clone(&env.clock),
            throttle: Mutex::new((bytes_per_second, throttle)),
        });
        Self { shared, threads: Mutex::default() }
    }

    /// Starts the threads, once the partitions are open.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start(&self, config: &LogConfig) -> io::Result<()> {
        let directories = self.shared.partitions.directories().all().len();
        let count = match directories {
            0 | 1 => 0,
            several => config.alter_log_dirs_threads.unwrap_or(several).max(1),
        };
        for number in 0..count {
            let shared = Arc::clone(&self.shared);
            let thread = task::spawn_thread(&format!("mover-{number}"), move || shared.run())?;
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// The configuration changed.
    pub(crate) fn reconfigure(&self, config: &LogConfig) {
        let bytes_per_second = config.alter_log_dirs_bytes_per_second;
        let mut throttle = lock(&self.shared.throttle);
        if throttle.0 != bytes_per_second {
            let now = self.shared.clock.now();
            *throttle = (bytes_per_second, Throttle::new(bytes_per_second as f64, now));
            drop(throttle);
            self.shared.partitions.mover_rests().wake();
        }
    }

    /// Ends the threads; what is under way goes on after the next start.
    pub(crate) fn stop(&self) {
        self.shared.partitions.mover_rests().stop();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a mover thread panicked");
            }
        }
    }
}

impl Drop for Movers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let rests = self.partitions.mover_rests();
        while !rests.is_stopped() {
            let wakes = rests.wakes();
            match self.mover.turn(&mut Throttled { shared: self }) {
                MoveTurn::Done => {}
                MoveTurn::Idle => rests.rest(REST, wakes),
                MoveTurn::Stopped => return,
            }
        }
    }
}

/// Waits as the throttle says; ends when the node stops.
struct Throttled<'a> {
    shared: &'a Shared,
}

impl Pace for Throttled<'_> {
    fn spend(&mut self, bytes: u64) -> Result<(), Stopped> {
        let rests = self.shared.partitions.mover_rests();
        let now = self.shared.clock.now();
        let due = now + lock(&self.shared.throttle).1.spend(bytes, now);
        // Other moves that begin wake this one, too; another limit ends the wait.
        let limit = lock(&self.shared.throttle).0;
        loop {
            let wakes = rests.wakes();
            let left = due.since(self.shared.clock.now());
            if rests.is_stopped() {
                return Err(Stopped);
            }
            if left.is_zero() || lock(&self.shared.throttle).0 != limit {
                return Ok(());
            }
            rests.rest(left, wakes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}
