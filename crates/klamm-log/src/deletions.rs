//! Files that are no part of a log any more: renamed at once, so that readers can finish, and
//! removed after `file.delete.delay.ms` (Kafka: `LocalLog.deleteSegmentFiles`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::Timestamp;

use crate::error::LogError;
use crate::sync::renamed;

/// Files that were renamed together.
#[derive(Debug)]
struct Pending {
    files: Vec<PathBuf>,
    /// Not before then, by the wall clock.
    due: Timestamp,
}

/// Files that wait to be removed.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    pending: Vec<Pending>,
}

impl Deletions {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The log's directory has another name now.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        for file in self.pending.iter_mut().flat_map(|pending| &mut pending.files) {
            *file = renamed(file, from, to);
        }
    }

    pub(crate) fn add(&mut self, files: Vec<PathBuf>, due: Timestamp) {
        if !files.is_empty() {
            self.pending.push(Pending { files, due });
        }
    }

    /// When the next of them may be removed.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// Those whose time has come: nobody else knows of them any more.
    pub(crate) fn take_due(&mut self, wall: Timestamp) -> Vec<PathBuf> {
        let (due, later): (Vec<Pending>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|p| p.due <= wall);
        self.pending = later;
        due.into_iter().flat_map(|pending| pending.files).collect()
    }
}

/// Files whose time has come. To remove a large one takes a while, which nobody has to wait for.
#[derive(Debug)]
pub struct DoomedFiles {
    disk: Arc<dyn Disk>,
    files: Vec<PathBuf>,
}

impl DoomedFiles {
    pub(crate) fn new(disk: &Arc<dyn Disk>, files: Vec<PathBuf>) -> Self {
        Self { disk: Arc::clone(disk), files }
    }

    /// Removes them.
    ///
    /// # Errors
    /// The disk failed.
    pub fn remove(self) -> Result<(), LogError> {
        for file in self.files {
            match self.disk.remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::io(&file)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
