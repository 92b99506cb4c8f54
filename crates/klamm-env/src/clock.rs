//! Time as two readings: one that only goes forward, and the wall's.

use std::fmt::Debug;
use std::ops::{Add, Sub};
use std::time::Duration;

use klamm_model::Timestamp;

/// A reading of the monotonic clock, in nanoseconds since some fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The time from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// The monotonic clock: for timeouts and latencies.
    fn now(&self) -> Moment;

    /// The wall clock: for timestamps that leave the process.
    fn wall(&self) -> Timestamp;
}
