//! The log directories of a node, as a set. One that the disk does not give takes itself out of
//! the set; one that belongs to somebody else stops the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{DirectoryId, NodeId};

use crate::directory::error::DirError;
use crate::directory::log_dir::LogDir;

/// Which directories, and whose.
#[derive(Debug, Clone)]
pub struct LogDirsOptions {
    /// `log.dirs`.
    pub paths: Vec<PathBuf>,
    /// `node.id`.
    pub node_id: NodeId,
}

/// The directories that this process holds.
#[derive(Debug)]
pub struct LogDirs {
    dirs: Vec<Arc<LogDir>>,
    failed: Vec<FailedDir>,
    cluster_id: String,
}

/// A configured directory that cannot be used in this life.
#[derive(Debug)]
pub struct FailedDir {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub error: DirError,
}

impl LogDirs {
    /// Locks and opens every directory; all must belong to the same cluster. Those that cannot be
    /// read or written are left out, as long as there are others (Kafka:
    /// `LogManager.createAndValidateLogDirs`).
    ///
    /// # Errors
    /// A directory is in use, not formatted or somebody else's, or none can be read and written.
    pub fn open(disk: &Arc<dyn Disk>, options: &LogDirsOptions) -> Result<Self, DirError> {
        let mut dirs: Vec<Arc<LogDir>> = Vec::new();
        let mut failed = Vec::new();
        for path in &options.paths {
            let cluster_id = dirs.first().map(|dir| dir.meta().cluster_id.clone());
            let opened = LogDir::lock(disk.as_ref(), path).and_then(|lock| {
                LogDir::open(disk, path, lock, options.node_id, cluster_id.as_deref())
            });
            match opened {
                Ok(dir) => dirs.push(Arc::new(dir)),
                Err(error @ (DirError::Io { .. } | DirError::Unreadable { .. })) => {
                    failed.push(FailedDir { path: path.clone(), error });
                }
                Err(error) => return Err(error),
            }
        }
        let Some(first) = dirs.first() else {
            let none = DirError::NotFormatted(PathBuf::new());
            return Err(failed.into_iter().next().map_or(none, |failed| failed.error));
        };
        let cluster_id = first.meta().cluster_id.clone();
        Ok(Self { dirs, failed, cluster_id })
    }

    /// Why the directory at `path` cannot be used; `None` if it can, or is none of these.
    pub fn take_failed(&mut self, path: &Path) -> Option<DirError> {
        let at = self.failed.iter().position(|failed| failed.path == path)?;
        Some(self.failed.remove(at).error)
    }

    /// Those that cannot be used.
    #[must_use]
    pub fn failed(&self) -> &[FailedDir] {
        &self.failed
    }

    /// The cluster that the directories belong to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The directories, in the order of the configuration.
    #[must_use]
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// The directory with an id.
    #[must_use]
    pub fn by_id(&self, id: DirectoryId) -> Option<&Arc<LogDir>> {
        self.dirs.iter().find(|dir| dir.directory_id() == id)
    }

    /// The directory at a path.
    #[must_use]
    pub fn by_path(&self, path: &Path) -> Option<&Arc<LogDir>> {
        self.dirs.iter().find(|dir| dir.path() == path)
    }
}
