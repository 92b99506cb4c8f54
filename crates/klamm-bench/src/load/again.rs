//! Requests that may come too early: for a coordinator that loads, or that is not done with what
//! was before.

use std::time::Duration;

use klamm_bench::LoadError;

/// What a client waits before it asks again: the first step of Kafka's own
/// `add.partitions.to.txn.retry.backoff.ms`, a fourth of it.
const BACKOFF: Duration = Duration::from_millis(5);
/// Answers after which a client asks again: COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE,
/// NOT_COORDINATOR, NOT_ENOUGH_REPLICAS, CONCURRENT_TRANSACTIONS.
const AGAIN: [i16; 5] = [14, 15, 16, 19, 51];

/// Asks until the answer is not that it is too early; each wait for an answer is bounded by the
/// connection.
pub(super) fn until_done(
    what: &'static str,
    mut ask: impl FnMut() -> Result<i16, LoadError>,
) -> Result<(), LoadError> {
    loop {
        match ask()? {
            0 => return Ok(()),
            code if AGAIN.contains(&code) => std::thread::sleep(BACKOFF),
            code => return Err(LoadError::Refused { what, code }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_early_is_asked_again_and_what_is_refused_is_not() {
        let mut answers = [14, 51, 0, 9].into_iter();
        let mut ask = || Ok(answers.next().unwrap());
        until_done("a step", &mut ask).unwrap();
        let error = until_done("a step", &mut ask).unwrap_err();
        assert_eq!(error.to_string(), "a step is refused with error code 9");
    }
}
