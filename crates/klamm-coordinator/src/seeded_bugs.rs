//! Mistakes of coordinators that the simulation must find: each is one line at its place, and off.
//!
//! Without the feature `seeded-bugs` [`is_seeded`] is a constant and nothing of it is compiled in.
//! With it a thread can switch one bug on for itself; no other thread sees it.

/// A mistake, by what it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CoordinatorBug {
    /// A producer is believed although its epoch is over.
    StaleEpochAccepted,
    /// A member may commit offsets in a generation that is over.
    OldGenerationCommits,
    /// What waits for a record is told before the record is committed.
    AnswerBeforeCommit,
    /// Markers are written once more after their transaction is complete.
    MarkersWrittenTwice,
    /// What a restart reads of a producer's epoch is one less.
    EpochReusedAfterRestart,
    /// Offsets of a group with members expire.
    LiveGroupExpires,
    /// Offsets of an aborted transaction count.
    AbortedOffsetsCount,
    /// A partition is given before its former owner has given it up.
    TwoOwners,
    /// What a pattern stood for stays assigned although the topic is gone.
    DeletedTopicAssigned,
    /// Offsets that could not be written count.
    RefusedOffsetsCount,
    /// Whoever waits for an assignment that could not be written goes on waiting.
    RefusedAssignmentHangs,
    /// What members of a classic group have is not known to the group that it becomes.
    UpgradeForgetsOwners,
    /// A group of classic members stays one of the consumer protocol.
    NeverDowngraded,
    /// That markers are written, but could not be written down, is forgotten.
    RefusedCompletionForgotten,
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    use super::CoordinatorBug;

    std::thread_local! {
        static ON: Cell<Option<CoordinatorBug>> = const { Cell::new(None) };
    }

    /// Switches a bug on for this thread while `run` runs.
    pub fn with_bug<T>(bug: CoordinatorBug, run: impl FnOnce() -> T) -> T {
        /// Switched off even if `run` panics.
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(None);
            }
        }
        ON.set(Some(bug));
        let _off = Off;
        run()
    }

    /// Whether this thread is to make the mistake.
    #[must_use]
    pub fn is_seeded(bug: CoordinatorBug) -> bool {
        ON.get() == Some(bug)
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{is_seeded, with_bug};

/// Never: the bugs are not compiled in.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn is_seeded(_bug: CoordinatorBug) -> bool {
    false
}
