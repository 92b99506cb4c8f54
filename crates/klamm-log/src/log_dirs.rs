//! The log directories of a node, as a set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{DirectoryId, NodeId};

use crate::log_dir::{DirError, LogDir};

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
    cluster_id: String,
}

impl LogDirs {
    /// Locks and opens every directory; all must belong to the same cluster.
    ///
    /// # Errors
    /// The first directory that cannot be used.
    pub fn open(disk: &Arc<dyn Disk>, options: &LogDirsOptions) -> Result<Self, DirError> {
        let mut dirs: Vec<Arc<LogDir>> = Vec::new();
        for path in &options.paths {
            let lock = LogDir::lock(disk.as_ref(), path)?;
            let cluster_id = dirs.first().map(|dir| dir.meta().cluster_id.clone());
            dirs.push(Arc::new(LogDir::open(
                disk,
                path,
                lock,
                options.node_id,
                cluster_id.as_deref(),
            )?));
        }
        let cluster_id = dirs.first().map(|dir| dir.meta().cluster_id.clone()).unwrap_or_default();
        Ok(Self { dirs, cluster_id })
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
