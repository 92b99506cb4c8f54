//! When a shard has to look at its transactions without being asked.

use klamm_coordinator::Time;
use klamm_env::Moment;
use klamm_model::Timestamp;

use crate::limits::Limits;

/// The two times.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// For transactions that are overdue, and for ends that could not be written down.
    look_at: Option<Moment>,
    /// For ids that nobody uses.
    remove_at: Option<Moment>,
}

/// What there is to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    /// When the next transaction is overdue.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) has_unfinished: bool,
    pub(crate) has_ids: bool,
}

impl Timers {
    /// The next of both.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.look_at.into_iter().chain(self.remove_at).min()
    }

    /// Set for when the next transaction is overdue, and no later than Kafka would look.
    pub(crate) fn arm(&mut self, time: Time, due: Due, limits: &Limits) {
        let interval_ms = limits.abort_interval_ms;
        let later = time.now.plus_ms(interval_ms);
        self.look_at = match due.deadline {
            // It is overdue: looked at when that was planned, or the last attempt failed.
            Some(at) if at <= time.wall => Some(self.look_at.unwrap_or(later)),
            Some(at) => {
                let ms = u64::try_from(at.0.saturating_sub(time.wall.0)).unwrap_or(interval_ms);
                Some(time.now.plus_ms(ms.min(interval_ms)))
            }
            None if due.has_unfinished => Some(later),
            None => None,
        };
        if due.has_ids {
            self.remove_at.get_or_insert(time.now.plus_ms(limits.remove_interval_ms));
        } else {
            self.remove_at = None;
        }
    }

    /// Whether transactions are to be looked at now; then the next look is an interval away.
    pub(crate) fn take_look(&mut self, now: Moment, limits: &Limits) -> bool {
        let is_due = self.look_at.is_some_and(|at| at <= now);
        if is_due {
            self.look_at = Some(now.plus_ms(limits.abort_interval_ms));
        }
        is_due
    }

    /// Whether ids are to be removed now; then the next time is an interval away.
    pub(crate) fn take_removal(&mut self, now: Moment, limits: &Limits) -> bool {
        let is_due = self.remove_at.is_some_and(|at| at <= now);
        if is_due {
            self.remove_at = Some(now.plus_ms(limits.remove_interval_ms));
        }
        is_due
    }
}
