//! Who writes the checkpoints of a directory, and when it is too late to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of a directory's checkpoints are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checkpoints {
    All,
    /// What a restart need not read.
    Marks,
}

/// Who writes the checkpoints of a directory: one at a time, and never what somebody else has
/// gathered later already.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    given: AtomicU64,
    written: Mutex<u64>,
}

impl Turns {
    /// To be asked for before the checkpoints are gathered.
    pub(crate) fn next(&self) -> u64 {
        self.given.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Writes, unless all checkpoints were written with what was gathered later. Nobody on the
    /// data path waits for it.
    pub(crate) fn take<T>(
        &self,
        (turn, which): (u64, Checkpoints),
        write: impl FnOnce() -> T,
    ) -> Option<T> {
        let mut written = self.written.lock().expect("no holder of this lock can panic");
        let is_news = turn > *written;
        if is_news && which == Checkpoints::All {
            *written = turn;
        }
        is_news.then(write)
    }
}
