//! The node's log directories, with what they share.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{DirError, FoundPartition, LogDir, LogDirs, LogError, OpenFiles};
use klamm_model::DirectoryId;
use tokio::sync::Notify;

use crate::directory::{Cordon, Directory, Shared};

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
            directory.set_cordon(if is_named { Cordon::Closed } else { Cordon::Open });
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
        self.directories.iter().for_each(|directory| directory.stop_flusher());
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        // Else a flusher that is about to end may hold a directory, and its lock, a little longer.
        self.stop_flushers();
    }
}
