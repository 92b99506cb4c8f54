//! Mistakes that the simulation must find: each is one line at its place, and off.
//!
//! Without the feature `seeded-bugs` nothing of it is compiled in: [`is_seeded`] is a constant.
//! With it a thread can switch one bug on for itself; no other thread sees it.

/// A mistake, by what it breaks.
#[cfg_attr(
    not(feature = "seeded-bugs"),
    expect(unreachable_pub, reason = "it is exported with the feature alone")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeededBug {
    /// What a ticket covers counts as durable before it is honoured.
    AcknowledgedBeforeSync,
    /// Names that were made or changed are not synced.
    DirectoryNotSynced,
    /// An index entry names the offset before.
    IndexEntryOffByOne,
    /// A sync that failed is tried once more.
    FailedSyncRetried,
    /// One batch fewer of each producer is remembered.
    DuplicateWindowOffByOne,
    /// A snapshot of the producers is written and not synced.
    SnapshotNotSynced,
    /// Recovery believes a batch whose checksum differs.
    CrcSkipped,
    /// The recovery point says more than is durable.
    CheckpointAheadOfData,
    /// Producers stay as they were when the log is cut.
    TruncationKeepsProducers,
    /// An open transaction does not hold readers back.
    LastStableOffsetIgnoresOpenTransaction,
    /// Recovery cuts the last batch although it is whole.
    RecoveryCutsValidBatch,
    /// The cleaner drops a marker while data of its transaction stays.
    MarkerDropped,
    /// The cleaner drops a tombstone as soon as it meets it.
    TombstoneDroppedEarly,
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    use super::SeededBug;

    std::thread_local! {
        static ON: Cell<Option<SeededBug>> = const { Cell::new(None) };
    }

    /// Switches a bug on for this thread while `run` runs.
    pub fn with_bug<T>(bug: SeededBug, run: impl FnOnce() -> T) -> T {
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

    pub(crate) fn is_seeded(bug: SeededBug) -> bool {
        ON.get() == Some(bug)
    }
}

#[cfg(feature = "seeded-bugs")]
pub(crate) use switch::is_seeded;
#[cfg(feature = "seeded-bugs")]
pub use switch::with_bug;

/// Never: the bugs are not compiled in.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn is_seeded(_bug: SeededBug) -> bool {
    false
}
