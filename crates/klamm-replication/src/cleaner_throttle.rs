//! How long a cleaner waits so as not to take more of the disk than it may
//! (`log.cleaner.io.max.bytes.per.second`; Kafka: `Throttler`). Never waits itself.

use std::time::Duration;

use klamm_env::Moment;

/// What was not used of a second is not saved for the next.
const WINDOW: Duration = Duration::from_secs(1);

/// Bytes against time.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    bytes_per_second: f64,
    since: Moment,
    bytes: f64,
}

impl Throttle {
    /// A throttle that begins now.
    #[must_use]
    pub fn new(bytes_per_second: f64, now: Moment) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1.0), since: now, bytes: 0.0 }
    }

    /// So many bytes were moved; gives how long to wait before the next.
    pub fn spend(&mut self, bytes: u64, now: Moment) -> Duration {
        let elapsed = now.since(self.since);
        if elapsed >= WINDOW && self.bytes <= elapsed.as_secs_f64() * self.bytes_per_second {
            (self.since, self.bytes) = (now, 0.0);
        }
        self.bytes += bytes as f64;
        let due = Duration::try_from_secs_f64(self.bytes / self.bytes_per_second);
        due.unwrap_or(Duration::MAX).saturating_sub(now.since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(5_000_000_000);

    #[test]
    fn what_is_too_much_is_waited_for() {
        let mut throttle = Throttle::new(1000.0, START);
        assert_eq!(throttle.spend(500, START), Duration::from_millis(500));
        assert_eq!(throttle.spend(0, START.plus_ms(500)), Duration::ZERO);
        assert_eq!(throttle.spend(1500, START.plus_ms(600)), Duration::from_millis(1400));
    }

    #[test]
    fn an_idle_time_is_not_saved_up() {
        let mut throttle = Throttle::new(1000.0, START);
        assert_eq!(throttle.spend(1000, START.plus_ms(60_000)), Duration::from_secs(1));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut throttle = Throttle::new(f64::MAX, START);
        assert_eq!(throttle.spend(u64::MAX, START), Duration::ZERO);
        let mut slowest = Throttle::new(0.0, START);
        assert_eq!(slowest.spend(3, START), Duration::from_secs(3));
    }
}
