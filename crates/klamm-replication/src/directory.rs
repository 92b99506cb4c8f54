//! A log directory with its flusher, and what happens when it fails.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use klamm_env::Disk;
use klamm_log::{Flusher, LogDir, OpenFiles, Room, Syncable, Urgency};
use tokio::sync::Notify;

use crate::checkpoint_turns::Turns;

/// What all directories of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) marks_changed: Arc<Notify>,
    pub(crate) news: Arc<Notify>,
    pub(crate) open_files: Arc<OpenFiles>,
}

/// A directory in use: what is in it, who syncs it, and how it is.
///
/// ```text
/// online ──fail: a write or sync failed──> offline, until the node is restarted
/// ```
///
/// Offline is for good: what is on the disk is unknown, so nothing is written or synced again.
/// What was synced before can still be read.
#[derive(Debug)]
pub struct Directory {
    pub(crate) dir: Arc<LogDir>,
    flusher: Flusher,
    health: Arc<Health>,
    room: Room,
    /// A log in it can vouch for more than the recovery checkpoint does.
    has_new_marks: AtomicBool,
    marks_changed: Arc<Notify>,
    is_cordoned: AtomicBool,
    partition_count: AtomicUsize,
    open_files: Arc<OpenFiles>,
    checkpoint_turns: Turns,
}

/// Whether a directory gets new partitions (KIP-1066).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cordon {
    Open,
    Closed,
}

#[derive(Debug)]
struct Health {
    is_offline: AtomicBool,
    news: Arc<Notify>,
}

impl Health {
    fn fail(&self, dir: &Path, error: &dyn fmt::Display) {
        if !self.is_offline.swap(true, Ordering::AcqRel) {
            tracing::error!(dir = %dir.display(), %error, "log directory is offline: nothing more is written to it; restart the node when the disk is sound");
            self.news.notify_one();
        }
    }
}

impl Directory {
    pub(crate) fn start(
        disk: &Arc<dyn Disk>,
        dir: &Arc<LogDir>,
        min_free_bytes: Option<u64>,
        shared: &Shared,
    ) -> io::Result<Self> {
        let (is_offline, news) = (AtomicBool::new(false), Arc::clone(&shared.news));
        let health = Arc::new(Health { is_offline, news });
        let (path, for_flusher) = (dir.path().to_owned(), Arc::clone(&health));
        let on_failure = move |error: &io::Error| for_flusher.fail(&path, error);
        Ok(Self {
            dir: Arc::clone(dir),
            flusher: Flusher::start(Arc::clone(disk), dir.path(), on_failure)?,
            health,
            room: Room::new(Arc::clone(disk), dir.path(), min_free_bytes),
            has_new_marks: AtomicBool::new(false),
            marks_changed: Arc::clone(&shared.marks_changed),
            is_cordoned: AtomicBool::new(false),
            partition_count: AtomicUsize::new(0),
            open_files: Arc::clone(&shared.open_files),
            checkpoint_turns: Turns::default(),
        })
    }

    /// The directory itself.
    #[must_use]
    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// Whether a write or a sync in it has failed.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.health.is_offline.load(Ordering::Acquire)
    }

    /// A write failed.
    pub(crate) fn fail(&self, error: &dyn fmt::Display) {
        self.health.fail(self.dir.path(), error);
    }

    /// How much room there is.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn checkpoint_turns(&self) -> &Turns {
        &self.checkpoint_turns
    }

    pub(crate) fn open_files(&self) -> &Arc<OpenFiles> {
        &self.open_files
    }

    /// Whether it gets no new partitions (KIP-1066).
    #[must_use]
    pub fn is_cordoned(&self) -> bool {
        self.is_cordoned.load(Ordering::Relaxed)
    }

    /// Says whether it gets new partitions.
    pub(crate) fn set_cordon(&self, cordon: Cordon) {
        self.is_cordoned.store(cordon == Cordon::Closed, Ordering::Relaxed);
    }

    pub(crate) fn stop_flusher(&self) {
        self.flusher.stop();
    }

    /// How many partitions are in it, those included that are just being deleted.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count.load(Ordering::Relaxed)
    }

    pub(crate) fn on_partition_made(&self) {
        self.partition_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn on_partition_dropped(&self) {
        self.partition_count.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn note_mark(&self) {
        self.has_new_marks.store(true, Ordering::Release);
        self.marks_changed.notify_one();
    }

    pub(crate) fn take_new_marks(&self) -> bool {
        self.has_new_marks.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn request_sync(&self, log: Arc<dyn Syncable>, urgency: Urgency) {
        self.flusher.request(log, urgency);
    }
}
