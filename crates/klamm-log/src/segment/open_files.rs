//! How many segment files are open at once. A segment's file is opened when somebody needs it;
//! when there are too many, one that was not used lately is closed again. One with bytes that are
//! not synced stays open: whoever syncs it must hear of a write that failed before.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use klamm_env::DiskFile;

/// How many files are looked at for each that is opened or becomes clean: the list of open files may then be
/// longer than the limit for a while, but no open waits for a long list.
const LOOKS_MAX: usize = 4;

/// The open segment files of a node.
#[derive(Debug)]
pub struct OpenFiles {
    limit: usize,
    /// In the order in which they were opened or last found to be in use.
    ring: Mutex<VecDeque<Weak<Slot>>>,
}

impl OpenFiles {
    /// About `limit` are open at once, besides those with unsynced bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, ring: Mutex::default() })
    }

    /// How many files are in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.ring).len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn on_open(&self, slot: &Arc<Slot>) {
        lock(&self.ring).push_back(Arc::downgrade(slot));
        self.close_some();
    }

    /// Where many files were dirty at once none could be closed when the next was opened: they are
    /// looked at again when they become clean.
    fn close_some(&self) {
        for _ in 0..LOOKS_MAX {
            let mut ring = lock(&self.ring);
            if ring.len() <= self.limit {
                return;
            }
            let Some(oldest) = ring.pop_front() else { return };
            drop(ring);
            if let Some(slot) = oldest.upgrade()
                && !slot.close_if_idle()
            {
                lock(&self.ring).push_back(oldest);
            }
        }
    }
}

/// A segment's place for its open file.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    /// Since it was looked at last.
    is_used: AtomicBool,
    pool: OnceLock<Arc<OpenFiles>>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<dyn DiskFile>>,
    is_dirty: bool,
}

/// What somebody is about to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

impl Slot {
    /// The file, if it is open.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        lock(&self.state).file.clone()
    }

    /// The file, opened if it is not.
    pub(crate) fn file(
        self: &Arc<Self>,
        what_for: Use,
        open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        self.is_used.store(true, Ordering::Relaxed);
        let mut state = lock(&self.state);
        let is_new = state.file.is_none();
        let file = match &state.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(state.file.insert(open()?)),
        };
        state.is_dirty |= what_for == Use::Write;
        drop(state);
        if let Some(pool) = self.pool.get().filter(|_| is_new) {
            pool.on_open(self);
        }
        Ok(file)
    }

    /// From now on it counts with the others of the node.
    pub(crate) fn join(self: &Arc<Self>, pool: &Arc<OpenFiles>) {
        let is_first = self.pool.set(Arc::clone(pool)).is_ok();
        if is_first && self.open_file().is_some() {
            pool.on_open(self);
        }
    }

    /// Takes a file whose name is not the segment's yet: it stays open until that is so.
    pub(crate) fn adopt(&self, file: Arc<dyn DiskFile>) {
        let mut state = lock(&self.state);
        assert!(state.file.is_none(), "a segment has one file");
        *state = State { file: Some(file), is_dirty: true };
    }

    /// All that was written is synced, or somebody else holds the file until it is.
    pub(crate) fn set_clean(&self) {
        let was_dirty = std::mem::take(&mut lock(&self.state).is_dirty);
        if let Some(pool) = self.pool.get().filter(|_| was_dirty) {
            pool.close_some();
        }
    }

    /// Whether it is closed now.
    fn close_if_idle(&self) -> bool {
        if self.is_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let mut state = lock(&self.state);
        if !state.is_dirty {
            // Readers that hold the file finish with it.
            state.file = None;
        }
        state.file.is_none()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}
