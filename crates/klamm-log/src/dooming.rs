//! Files leave a log: renamed at once, removed later, and never back under their old names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_model::Timestamp;

use crate::deletions::DoomedFiles;
use crate::error::{LogError, is_full};
use crate::log::Log;
use crate::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX, segment_file,
};
use crate::segment::Segment;

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
        self.deletions.next_due()
    }

    /// The renamed files whose time has come, for [`DoomedFiles::remove`]: nobody else knows of
    /// them any more.
    pub fn take_doomed(&mut self, wall: Timestamp) -> DoomedFiles {
        DoomedFiles::new(&self.disk, self.deletions.take_due(wall))
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
