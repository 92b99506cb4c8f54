//! The node's log directories with a flusher each, and what happens when one fails.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use klamm_env::Disk;
use klamm_log::{
    DirError, Flusher, FoundPartition, LogDir, LogDirs, LogError, OpenFiles, Room, Syncable,
    Urgency,
};
use klamm_model::DirectoryId;
use tokio::sync::Notify;

/// Segment files that a node keeps open, besides those with unsynced bytes.
const OPEN_SEGMENT_FILES_MAX: usize = 384;

/// Why the directories cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// A directory.
    Dir(DirError),
    /// A log in it.
    Log(LogError),
    /// A thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(error) => fmt::Display::fmt(error, f),
            Self::Log(error) => fmt::Display::fmt(error, f),
            Self::Thread(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<DirError> for OpenError {
    fn from(error: DirError) -> Self {
        Self::Dir(error)
    }
}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// What all directories of a node share.
#[derive(Debug)]
struct Shared {
    marks_changed: Arc<Notify>,
    news: Arc<Notify>,
    open_files: Arc<OpenFiles>,
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
    fn start(
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

/// The directories of a node.
#[derive(Debug)]
pub struct Directories {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directories: Vec<Arc<Directory>>,
    /// Configured, but not usable since the start.
    failed: Vec<PathBuf>,
    cluster_id: String,
    shared: Shared,
}

impl Directories {
    /// Starts a flusher for each directory. Producers are refused while less than
    /// `min_free_bytes` is free.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(
        disk: Arc<dyn Disk>,
        dirs: &LogDirs,
        min_free_bytes: Option<u64>,
    ) -> Result<Self, OpenError> {
        let shared = Shared {
            marks_changed: Arc::default(),
            news: Arc::default(),
            open_files: OpenFiles::new(OPEN_SEGMENT_FILES_MAX),
        };
        let start = |dir| Directory::start(&disk, dir, min_free_bytes, &shared).map(Arc::new);
        let directories: io::Result<Vec<_>> = dirs.dirs().iter().map(start).collect();
        let directories = directories.map_err(OpenError::Thread)?;
        let cluster_id = dirs.cluster_id().to_owned();
        let failed = dirs.failed().iter().map(|failed| failed.path.clone()).collect();
        Ok(Self { disk, directories, failed, cluster_id, shared })
    }

    /// The cluster that they belong to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// From now on the directories that are named, `*` for all, get no new partitions, and the
    /// others do.
    pub fn cordon(&self, named: &[String]) {
        for directory in &self.directories {
            let path = directory.dir.path().as_os_str();
            let is_named = named.iter().any(|name| name == "*" || path == name.as_str());
            directory.is_cordoned.store(is_named, Ordering::Relaxed);
        }
    }

    /// Directories of the configuration that could not be used at the start.
    #[must_use]
    pub fn failed(&self) -> &[PathBuf] {
        &self.failed
    }

    /// Told when a recovery checkpoint, or all of them after a deletion, is worth writing before
    /// its time.
    #[must_use]
    pub fn marks_changed(&self) -> &Arc<Notify> {
        &self.shared.marks_changed
    }

    /// Told when the controller should hear of a directory that failed, or of a replica that is in
    /// another one than it knows.
    #[must_use]
    pub fn news(&self) -> &Arc<Notify> {
        &self.shared.news
    }

    /// The directories that failed since the start.
    #[must_use]
    pub fn offline_ids(&self) -> Vec<DirectoryId> {
        let offline = self.directories.iter().filter(|directory| directory.is_offline());
        offline.map(|directory| directory.dir.directory_id()).collect()
    }

    /// Every directory.
    pub fn dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.directories.iter().map(|directory| &directory.dir)
    }

    /// Every directory, with how it is.
    #[must_use]
    pub fn all(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// Whether a write or a sync in the directory has failed.
    #[must_use]
    pub fn is_offline(&self, id: DirectoryId) -> bool {
        let mut here = self.directories.iter().filter(|d| d.dir.directory_id() == id);
        here.any(|directory| directory.is_offline())
    }

    /// The partitions that are on the disk, each with the number of its directory.
    pub(crate) fn found(&self) -> Result<Vec<(usize, FoundPartition)>, OpenError> {
        let mut all = Vec::new();
        for (i, directory) in self.directories.iter().enumerate() {
            all.extend(directory.dir.partitions()?.into_iter().map(|found| (i, found)));
        }
        Ok(all)
    }

    /// The replicas that are on their way to another directory.
    pub(crate) fn found_futures(&self) -> Result<Vec<(usize, FoundPartition)>, OpenError> {
        let mut all = Vec::new();
        for (i, directory) in self.directories.iter().enumerate() {
            all.extend(directory.dir.futures()?.into_iter().map(|found| (i, found)));
        }
        Ok(all)
    }

    pub(crate) fn stop_flushers(&self) {
        self.directories.iter().for_each(|directory| directory.flusher.stop());
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        // Else a flusher that is about to end may hold a directory, and its lock, a little longer.
        self.stop_flushers();
    }
}
