//! Old segments, records below the log start, and the end that is cut off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_model::{Offset, Timestamp};

use crate::error::LogError;
use crate::log::Log;
use crate::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX, segment_file,
};
use crate::recovery::rebuild_segment;
use crate::segment::{SaveIndexes, Segment};

/// Files that were renamed and wait to be removed, so that readers can finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeletion {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Not before then, by the wall clock.
    pub due: Timestamp,
}

impl Log {
    /// Deletes segments that are too old, too much or below the log start (Kafka:
    /// `UnifiedLog.deleteOldSegments`); gives how many went. Nothing at or above `high_watermark`
    /// goes.
    ///
    /// # Errors
    /// The disk failed.
    pub fn delete_old_segments(
        &mut self,
        wall: Timestamp,
        high_watermark: Offset,
    ) -> Result<usize, LogError> {
        let mut deleted = self.delete_while(wall, high_watermark, |log, segment, next| {
            let is_old = log.is_expired(segment, wall);
            let is_below = next.is_some_and(|base| base <= log.log_start_offset());
            (log.config.cleanup.delete && is_old) || is_below
        })?;
        if self.config.cleanup.delete
            && let Some(keep) = self.config.retention_bytes
        {
            let mut excess = self.view.size_bytes().saturating_sub(keep);
            deleted += self.delete_while(wall, high_watermark, |_, segment, _| {
                let fits = segment.size() <= excess && excess > 0;
                excess = excess.saturating_sub(segment.size());
                fits
            })?;
        }
        Ok(deleted)
    }

    fn is_expired(&self, segment: &Segment, wall: Timestamp) -> bool {
        let Some(retention_ms) = self.config.retention_ms else { return false };
        let (timestamp, _) = segment.max_timestamp();
        segment.size() > 0 && timestamp.0 >= 0 && wall.0.saturating_sub(timestamp.0) > retention_ms
    }

    /// Deletes from the oldest on while `is_doomed`.
    fn delete_while(
        &mut self,
        wall: Timestamp,
        high_watermark: Offset,
        mut is_doomed: impl FnMut(&Self, &Segment, Option<Offset>) -> bool,
    ) -> Result<usize, LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let mut n = 0;
        while let Some(segment) = segments.get(n) {
            let next = segments.get(n + 1).map(|next| next.base_offset);
            let end = next.unwrap_or(self.log_end_offset());
            let is_empty_active = next.is_none() && segment.size() == 0;
            if end > high_watermark || is_empty_active || !is_doomed(self, segment, next) {
                break;
            }
            n += 1;
        }
        if n == 0 {
            return Ok(0);
        }
        if n == segments.len() {
            // All is old: a new active segment takes over where the log ends.
            self.roll(wall)?;
        }
        self.drop_oldest(n, wall)?;
        Ok(n)
    }

    fn drop_oldest(&mut self, n: usize, wall: Timestamp) -> Result<(), LogError> {
        let mut segments = Vec::clone(&self.view.segments.load());
        let doomed: Vec<Arc<Segment>> = segments.drain(..n).collect();
        let start = segments.first().map_or(self.log_end_offset(), |segment| segment.base_offset);
        self.move_start(start.max(self.log_start_offset()));
        self.view.segments.store(Arc::new(segments));
        self.doom(&doomed, wall)
    }

    fn move_start(&mut self, start: Offset) {
        self.view.publish_start(start);
        self.epochs.truncate_from_start(start);
        self.view.epochs.store(self.epochs.clone().into());
        self.producers.truncate_from_start(start);
        self.aborted.retain(|t| t.last_offset >= start);
        self.view.aborted.store(Arc::new(self.aborted.clone()));
        self.view.publish_first_unstable(self.producers.first_unstable_offset());
    }

    /// Renames the files of segments; they are removed after `file.delete.delay.ms`.
    fn doom(&mut self, segments: &[Arc<Segment>], wall: Timestamp) -> Result<(), LogError> {
        let mut files = Vec::new();
        for segment in segments {
            self.unsynced.retain(|kept| !Arc::ptr_eq(kept, segment));
            for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX] {
                self.doom_file(&segment.path(suffix), &mut files)?;
            }
            let snapshot = self.dir.join(segment_file(segment.base_offset, SNAPSHOT_SUFFIX));
            self.doom_file(&snapshot, &mut files)?;
        }
        let delay = i64::try_from(self.config.file_delete_delay_ms).unwrap_or(i64::MAX);
        let due = Timestamp(wall.0.saturating_add(delay));
        self.pending_deletions.push(PendingDeletion { files, due });
        Ok(())
    }

    fn doom_file(&self, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), LogError> {
        let mut doomed = path.as_os_str().to_owned();
        doomed.push(DELETED_SUFFIX);
        let doomed = PathBuf::from(doomed);
        match self.disk.rename(path, &doomed) {
            Ok(()) => files.push(doomed),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(LogError::io(path)(e)),
        }
        Ok(())
    }

    /// When the next renamed files may be removed.
    #[must_use]
    pub fn next_deletion(&self) -> Option<Timestamp> {
        self.pending_deletions.iter().map(|pending| pending.due).min()
    }

    /// Removes the renamed files whose time has come.
    ///
    /// # Errors
    /// The disk failed.
    pub fn remove_doomed(&mut self, wall: Timestamp) -> Result<(), LogError> {
        let (due, later) =
            std::mem::take(&mut self.pending_deletions).into_iter().partition(|p| p.due <= wall);
        self.pending_deletions = later;
        let due: Vec<PendingDeletion> = due;
        for file in due.into_iter().flat_map(|pending| pending.files) {
            match self.disk.remove_file(&file) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(LogError::io(&file)(e)),
            }
        }
        Ok(())
    }

    /// Moves the log start up to `offset` (DeleteRecords); the segments below go with the next
    /// [`Log::delete_old_segments`].
    ///
    /// # Errors
    /// The offset is above the end of the log.
    pub fn delete_records(&mut self, offset: Offset) -> Result<(), LogError> {
        if offset > self.log_end_offset() {
            return Err(self.out_of_range(offset));
        }
        if offset > self.log_start_offset() {
            self.move_start(offset);
        }
        Ok(())
    }

    fn out_of_range(&self, offset: Offset) -> LogError {
        LogError::OutOfRange {
            offset,
            log_start_offset: self.log_start_offset(),
            log_end_offset: self.log_end_offset(),
        }
    }

    /// Cuts the log so that it ends at `offset` (Kafka: `UnifiedLog.truncateTo`). A batch that
    /// holds the offset goes as a whole.
    ///
    /// # Errors
    /// The offset is below the log start, or the disk failed.
    pub fn truncate_to(&mut self, offset: Offset, wall: Timestamp) -> Result<(), LogError> {
        self.check_usable()?;
        if offset >= self.log_end_offset() {
            return Ok(());
        }
        if offset < self.log_start_offset() {
            return Err(self.out_of_range(offset));
        }
        let mut segments = Vec::clone(&self.view.segments.load());
        let keep = segments.partition_point(|segment| segment.base_offset <= offset).max(1);
        let doomed: Vec<Arc<Segment>> = segments.drain(keep..).collect();
        let last = Arc::clone(&segments[keep - 1]);
        let (size, end) = match last.locate(offset)? {
            Some(found) => (found.position, found.header.base_offset),
            None => (last.size(), offset),
        };
        let path = last.path(LOG_SUFFIX);
        last.publish_size(size);
        last.file().and_then(|file| file.set_len(size)).map_err(LogError::io(&path))?;
        self.view.forget_recent();
        self.view.segments.store(Arc::new(segments));
        self.view.publish_end(end);
        self.view.publish_synced(self.view.synced_offset().min(end));
        self.doom(&doomed, wall)?;
        self.active = last;
        self.active_size = size;
        self.rebuild_after_cut(end)
    }

    /// Indexes, epochs and producers as of the new end.
    fn rebuild_after_cut(&mut self, end: Offset) -> Result<(), LogError> {
        self.epochs.truncate_from_end(end);
        self.view.epochs.store(self.epochs.clone().into());
        self.remove_snapshots_after(end)?;
        let active = Arc::clone(&self.active);
        let rebuilt = rebuild_segment(&active, self.config.index_interval_bytes)?;
        self.bytes_since_index = rebuilt.bytes_since_index;
        self.first_timestamp = rebuilt.first_timestamp;
        active.save_indexes(SaveIndexes::Whole)?;
        self.reload_producers()
    }
}
