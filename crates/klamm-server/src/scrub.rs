//! The thread that looks at sealed segments now and then. It sleeps between passes.
//!
//! ```text
//! rest ──an hour after the start, then klamm.log.scrub.interval.ms after each start of a pass──▶
//! pass ──▶ rest           stop ──▶ end
//! ```

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_config::LogConfig;
use klamm_env::task::Rests;
use klamm_env::{Clock, Env, task};
use klamm_log::Stopped;
use klamm_log::verify::Progress;
use klamm_replication::{LogScrub, Partitions, ScrubFigures, Throttle};

/// The first pass does not come in the way of whoever has just started a node.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Shared {
    scrub: LogScrub,
    clock: Arc<dyn Clock>,
    rests: Rests,
    /// `None`: never.
    interval: Option<Duration>,
    bytes_per_second: f64,
}

/// The scrub of a node.
#[derive(Debug)]
pub(crate) struct Scrubber {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scrubber {
    /// The scrub, without a thread yet.
    pub(crate) fn new(env: &Env, partitions: &Arc<Partitions>, config: &LogConfig) -> Self {
        let interval = u64::try_from(config.scrub_interval_ms).ok().filter(|ms| *ms > 0);
        let shared = Arc::new(Shared {
            scrub: LogScrub::new(env.clone(), Arc::clone(partitions)),
            clock: Arc::clone(&env.clock),
            rests: Rests::default(),
            interval: interval.map(Duration::from_millis),
            bytes_per_second: config.scrub_bytes_per_second as f64,
        });
        Self { shared, thread: Mutex::default() }
    }

    /// Starts the thread, if the configuration asks for it.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn start(&self) -> io::Result<()> {
        let Some(interval) = self.shared.interval else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let thread = task::spawn_thread("scrub", move || shared.run(interval))?;
        *self.thread.lock().expect("no holder of this lock can panic") = Some(thread);
        Ok(())
    }

    /// Ends the thread; what is under way is given up.
    pub(crate) fn stop(&self) {
        self.shared.rests.stop();
        let thread = self.thread.lock().expect("no holder of this lock can panic").take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the scrub thread panicked");
        }
    }

    /// Figures for metrics.
    pub(crate) fn figures(&self) -> ScrubFigures {
        self.shared.scrub.figures()
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, interval: Duration) {
        let mut next = self.clock.now() + interval.min(FIRST_PASS_AFTER);
        loop {
            self.rests.rest(next.since(self.clock.now()), self.rests.wakes());
            if self.rests.is_stopped() {
                return;
            }
            let begun = self.clock.now();
            let throttle = Throttle::new(self.bytes_per_second, begun);
            if self.scrub.pass(&mut Throttled { shared: self, throttle }).is_err() {
                return;
            }
            let figures = self.scrub.figures();
            tracing::info!(?figures, "sealed segments were looked at");
            next = begun + interval;
        }
    }
}

/// Waits as the throttle says; ends when the node stops.
struct Throttled<'a> {
    shared: &'a Shared,
    throttle: Throttle,
}

impl Progress for Throttled<'_> {
    fn read(&mut self, bytes: u64) -> Result<(), Stopped> {
        let wait = self.throttle.spend(bytes, self.shared.clock.now());
        if !wait.is_zero() {
            self.shared.rests.rest(wait, self.shared.rests.wakes());
        }
        if self.shared.rests.is_stopped() { Err(Stopped) } else { Ok(()) }
    }
}
