//! Files that are no part of a log any more: renamed at once, so that readers can finish, and removed
//! after `file.delete.delay.ms` (Kafka: `LocalLog.deleteSegmentFiles`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::Timestamp;

use crate::error::{LogError, is_full};
use crate::log::Log;
use crate::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX, segment_file,
};
use crate::segment::Segment;
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

    fn add(&mut self, files: Vec<PathBuf>, due: Timestamp) {
        if !files.is_empty() {
            self.pending.push(Pending { files, due });
        }
    }

    fn take_due(&mut self, wall: Timestamp) -> Vec<PathBuf> {
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

impl Log {
    /// Renames the files of segments; they are removed after `file.delete.delay.ms`.
    pub(crate) fn doom<'a>(
        &mut self,
        segments: impl Iterator<Item = &'a Arc<Segment>>,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        let mut files = Vec::new();
        for segment in segments {
            self.unsynced.forget_segment(segment.base_offset);
            for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX] {
                self.doom_file(&segment.path(suffix), &mut files)?;
            }
            // Names change on the disk in any order. Without this a crash could leave a gap, or a
            // segment whose batches say less of producers than the snapshot at its start did.
            self.sync_names()?;
            let snapshot = self.dir.join(segment_file(segment.base_offset, SNAPSHOT_SUFFIX));
            self.doom_file(&snapshot, &mut files)?;
        }
        self.remove_later(files, wall);
        Ok(())
    }

    /// Renames a file, if it is there, and adds it to `files`.
    pub(crate) fn doom_file(&self, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), LogError> {
        let mut doomed = path.as_os_str().to_owned();
        doomed.push(DELETED_SUFFIX);
        let doomed = PathBuf::from(doomed);
        match self.disk.rename(path, &doomed) {
            Ok(()) => files.push(doomed),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            // Not even for a longer name: readers have to do without their delay.
            Err(e) if is_full(&e) => self.disk.remove_file(path).map_err(LogError::io(path))?,
            Err(e) => return Err(LogError::io(path)(e)),
        }
        Ok(())
    }

    /// Files that were renamed are removed after `file.delete.delay.ms`.
    pub(crate) fn remove_later(&mut self, files: Vec<PathBuf>, wall: Timestamp) {
        let delay = i64::try_from(self.config.file_delete_delay_ms).unwrap_or(i64::MAX);
        self.deletions.add(files, Timestamp(wall.0.saturating_add(delay)));
    }

    pub(crate) fn sync_names(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).map_err(LogError::io(&self.dir))
    }

    /// When the next renamed files may be removed.
    #[must_use]
    pub fn next_deletion(&self) -> Option<Timestamp> {
        self.deletions.pending.iter().map(|pending| pending.due).min()
    }

    /// The renamed files whose time has come, for [`DoomedFiles::remove`]: nobody else knows of
    /// them any more.
    pub fn take_doomed(&mut self, wall: Timestamp) -> DoomedFiles {
        DoomedFiles { disk: Arc::clone(&self.disk), files: self.deletions.take_due(wall) }
    }

    /// Removes the renamed files whose time has come.
    ///
    /// # Errors
    /// The disk failed.
    pub fn remove_doomed(&mut self, wall: Timestamp) -> Result<(), LogError> {
        let removed = self.take_doomed(wall).remove();
        self.closing_on_failure(removed)
    }
}
