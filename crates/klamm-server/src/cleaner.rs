//! The threads that compact logs. How many there are, how long they rest and what they may use
//! follows the dynamic configs; a thread that is too many ends after its turn.
//!
//! ```text
//! turn ──cleaned──▶ turn          rest ──log.cleaner.backoff.ms, wake──▶ turn
//!  └───nothing───▶ rest           stop, or fewer log.cleaner.threads ──▶ end
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_config::LogConfig;
use klamm_env::task::Rests;
use klamm_env::{Clock, Env, task};
use klamm_log::{CleanerOptions, Pace, Stopped};
use klamm_replication::{CleanerFigures, LogCleaner, Partitions, ScrubFigures, Throttle, Turn};

use crate::scrub::Scrubber;

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settings {
    threads: usize,
    backoff: Duration,
    options: CleanerOptions,
    bytes_per_second: f64,
}

impl Settings {
    fn new(config: &LogConfig) -> Self {
        let threads = if config.cleaner_enable { config.cleaner_threads } else { 0 };
        let share = threads.max(1) as u64;
        Self {
            threads,
            backoff: Duration::from_millis(config.cleaner_backoff_ms),
            options: CleanerOptions {
                keys_bytes: (config.cleaner_dedupe_buffer_bytes / share).min(i32::MAX as u64),
                load_factor: config.cleaner_io_buffer_load_factor,
                io_bytes: usize::try_from(config.cleaner_io_buffer_bytes / share)
                    .unwrap_or(usize::MAX),
            },
            bytes_per_second: config.cleaner_io_max_bytes_per_second,
        }
    }
}

/// Settings, and the threads that have not ended by themselves.
#[derive(Debug)]
struct State {
    settings: Settings,
    threads: BTreeMap<usize, JoinHandle<()>>,
    is_started: bool,
}

#[derive(Debug)]
struct Shared {
    cleaner: LogCleaner,
    clock: Arc<dyn Clock>,
    rests: Rests,
    state: Mutex<State>,
    throttle: Mutex<Throttle>,
}

/// The cleaner threads of a node.
#[derive(Debug)]
pub(crate) struct Cleaners {
    shared: Arc<Shared>,
    /// Who looks after what the cleaner leaves: it starts and stops with it.
    scrubber: Scrubber,
}

impl Cleaners {
    /// The cleaner, without a thread yet.
    pub(crate) fn new(env: &Env, partitions: &Arc<Partitions>, config: &LogConfig) -> Self {
        let settings = Settings::new(config);
        let throttle = Throttle::new(settings.bytes_per_second, env.clock.now());
        let shared = Arc::new(Shared {
            cleaner: LogCleaner::new(env.clone(), Arc::clone(partitions)),
            clock: Arc::clone(&env.clock),
            rests: Rests::default(),
            state: Mutex::new(State { settings, threads: BTreeMap::new(), is_started: false }),
            throttle: Mutex::new(throttle),
        });
        Self { shared, scrubber: Scrubber::new(env, partitions, config) }
    }

    /// Starts the threads that the configuration asks for: once the partitions are open.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.shared.state().is_started = true;
        self.scrubber.start()?;
        self.spawn_missing()
    }

    /// The configuration changed; it holds from each thread's next turn on.
    pub(crate) fn reconfigure(&self, config: &LogConfig) {
        let settings = Settings::new(config);
        if std::mem::replace(&mut self.shared.state().settings, settings) == settings {
            return;
        }
        *self.shared.throttle() = Throttle::new(settings.bytes_per_second, self.shared.clock.now());
        if let Err(error) = self.spawn_missing() {
            tracing::error!(%error, "a cleaner thread could not be started");
        }
        self.shared.rests.wake();
    }

    fn spawn_missing(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if !state.is_started {
            return Ok(());
        }
        for number in 0..state.settings.threads {
            if state.threads.contains_key(&number) {
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let thread =
                task::spawn_thread(&format!("cleaner-{number}"), move || shared.run(number))?;
            state.threads.insert(number, thread);
        }
        Ok(())
    }

    /// Ends the threads; what is under way is given up.
    pub(crate) fn stop(&self) {
        self.scrubber.stop();
        self.shared.rests.stop();
        let threads = std::mem::take(&mut self.shared.state().threads);
        for thread in threads.into_values() {
            if thread.join().is_err() {
                tracing::error!("a cleaner thread panicked");
            }
        }
    }

    /// Threads that ended though they should run: they panicked.
    pub(crate) fn dead_threads(&self) -> usize {
        let state = self.shared.state();
        state.threads.values().filter(|thread| thread.is_finished()).count()
    }

    /// Figures for metrics.
    pub(crate) fn figures(&self) -> CleanerFigures {
        self.shared.cleaner.figures()
    }

    /// What the look at sealed segments has come to, for metrics.
    pub(crate) fn scrub_figures(&self) -> ScrubFigures {
        self.scrubber.figures()
    }

    /// How many partitions in a log directory cannot be cleaned.
    pub(crate) fn uncleanable_count(&self, dir: &Path) -> usize {
        self.shared.cleaner.uncleanable_count(dir)
    }
}

impl Drop for Cleaners {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().expect("no holder of this lock can panic")
    }

    fn run(&self, number: usize) {
        loop {
            let wakes = self.rests.wakes();
            let Some(settings) = self.settings_for(number) else { return };
            let mut pace = Throttled { shared: self };
            match self.cleaner.turn(number, settings.options, &mut pace) {
                Turn::Cleaned => {}
                Turn::Idle => self.rests.rest(settings.backoff, wakes),
                Turn::Stopped => return,
            }
        }
    }

    /// `None` if the thread is to end; it is forgotten then, so that it can be started again.
    fn settings_for(&self, number: usize) -> Option<Settings> {
        if self.rests.is_stopped() {
            return None;
        }
        let mut state = self.state();
        if number >= state.settings.threads {
            state.threads.remove(&number);
            return None;
        }
        Some(state.settings)
    }
}

/// Waits as the throttle says; ends when the node stops.
struct Throttled<'a> {
    shared: &'a Shared,
}

impl Pace for Throttled<'_> {
    fn spend(&mut self, bytes: u64) -> Result<(), Stopped> {
        let wakes = self.shared.rests.wakes();
        let wait = self.shared.throttle().spend(bytes, self.shared.clock.now());
        if !wait.is_zero() {
            self.shared.rests.rest(wait, wakes);
        }
        if self.shared.rests.is_stopped() { Err(Stopped) } else { Ok(()) }
    }
}
