//! The node's log directories with a flusher each, and what happens when one fails.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use klamm_env::Disk;
use klamm_log::{DirError, Flusher, FoundPartition, LogDir, LogDirs, LogError};
use klamm_model::DirectoryId;

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

/// A directory with its flusher.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) dir: Arc<LogDir>,
    pub(crate) flusher: Arc<Flusher>,
}

/// The directories of a node.
#[derive(Debug)]
pub struct Directories {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directories: Vec<Directory>,
    cluster_id: String,
    offline: Arc<Mutex<Vec<DirectoryId>>>,
}

impl Directories {
    /// Starts a flusher for each directory.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(disk: Arc<dyn Disk>, dirs: &LogDirs) -> Result<Self, OpenError> {
        let offline: Arc<Mutex<Vec<DirectoryId>>> = Arc::default();
        let mut directories = Vec::new();
        for dir in dirs.dirs() {
            let (id, path, list) =
                (dir.directory_id(), dir.path().to_owned(), Arc::clone(&offline));
            let on_failure = move |error: &io::Error| {
                tracing::error!(dir = %path.display(), %error, "log directory is offline: a sync failed");
                list.lock().expect("no holder of this lock can panic").push(id);
            };
            let flusher = Flusher::start(Arc::clone(&disk), dir.path(), on_failure)
                .map_err(OpenError::Thread)?;
            directories.push(Directory { dir: Arc::clone(dir), flusher: Arc::new(flusher) });
        }
        Ok(Self { disk, directories, cluster_id: dirs.cluster_id().to_owned(), offline })
    }

    /// The cluster that they belong to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Every directory.
    pub fn dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.directories.iter().map(|directory| &directory.dir)
    }

    /// Whether a sync in the directory has failed.
    #[must_use]
    pub fn is_offline(&self, id: DirectoryId) -> bool {
        self.offline.lock().expect("no holder of this lock can panic").contains(&id)
    }

    /// The partitions that are on the disk, each with the number of its directory.
    pub(crate) fn found(&self) -> Result<Vec<(usize, FoundPartition)>, OpenError> {
        let mut all = Vec::new();
        for (i, directory) in self.directories.iter().enumerate() {
            all.extend(directory.dir.partitions()?.into_iter().map(|found| (i, found)));
        }
        Ok(all)
    }

    pub(crate) fn stop_flushers(&self) {
        self.directories.iter().for_each(|directory| directory.flusher.stop());
    }
}
