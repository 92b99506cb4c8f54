//! The operating system's clock, disk and random source.

mod disk;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use klamm_model::Timestamp;

use crate::{Clock, Env, Moment, Random};

pub use disk::RealDisk;

/// The real effects.
#[must_use]
pub fn env() -> Env {
    Env {
        clock: Arc::new(RealClock::default()),
        disk: Arc::new(RealDisk),
        random: Arc::new(RealRandom),
    }
}

/// The system's clocks; moments count from when this was made.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl RealClock {
    /// The standard library's form of a moment, for the runtime's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + std::time::Duration::from_nanos(moment.0)
    }
}

impl Clock for RealClock {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Timestamp {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

/// `getrandom(2)`.
#[derive(Debug)]
pub struct RealRandom;

impl Random for RealRandom {
    fn bits(&self) -> u64 {
        getrandom::u64().expect("getrandom(2) fails only on systems without a random source")
    }
}
