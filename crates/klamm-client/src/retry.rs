//! Trying again: how often, and how long to wait in between. Never decides whether it may help.

use std::time::Duration;

use klamm_env::task;

/// Attempts of what fails for a passing reason: with the pauses below about eight seconds.
const ATTEMPTS_MAX: u32 = 20;
/// Pause before the second attempt; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Attempts that are left.
#[derive(Debug)]
pub(crate) struct Retry {
    attempts_left: u32,
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(ATTEMPTS_MAX)
    }
}

impl Retry {
    /// So many attempts, the first included.
    pub(crate) fn new(attempts_max: u32) -> Self {
        Self { attempts_left: attempts_max.saturating_sub(1), pause: PAUSE_MIN }
    }

    /// Waits for the next attempt; `false` if there is none.
    pub(crate) async fn again(&mut self) -> bool {
        if self.attempts_left == 0 {
            return false;
        }
        self.attempts_left -= 1;
        task::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}
