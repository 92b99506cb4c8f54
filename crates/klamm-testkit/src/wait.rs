//! Waiting for something to happen, bounded.

use std::time::{Duration, Instant};

/// Longest wait for anything a test expects: far above what a busy machine needs, so that only a
/// real hang reaches it.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks at a condition that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` gives a value.
///
/// # Panics
/// If it does not within `limit`; `what` says what was waited for.
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
