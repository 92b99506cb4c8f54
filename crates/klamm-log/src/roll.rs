//! Rolling: the active segment is sealed, and the next begins at the end of the log.

use std::sync::Arc;

use klamm_model::{Offset, Timestamp};
use klamm_records::BatchHeader;

use crate::error::LogError;
use crate::log::Log;
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX};
use crate::segment::active::ActiveSegment;
use crate::segment::indexes::Indexes;
use crate::segment::{SaveIndexes, Segment};

impl Log {
    /// Seals the active segment if the next batch must not go into it.
    pub(crate) fn roll_if_due(
        &mut self,
        next: &BatchHeader,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        if self.active.is_roll_due(next, &self.config, wall) {
            self.roll(wall)?;
        }
        if self.active.is_empty() && self.active.is_too_far(next) {
            // A follower of a compacted log skips ahead further than an index can say.
            self.begin_segment(next.base_offset, wall)?;
        }
        Ok(())
    }

    /// Seals the active segment and begins the next at the end of the log.
    ///
    /// # Errors
    /// The disk failed, or has no room for the new files: then the segment stays as it is.
    pub fn roll(&mut self, wall: Timestamp) -> Result<(), LogError> {
        self.check_usable()?;
        self.wake()?;
        if self.active.is_empty() {
            return Ok(());
        }
        let result = self.seal_and_begin(wall);
        self.closing_unless_full(result)
    }

    /// Whatever finds no room here is done again by the next attempt; nothing is given up before
    /// the new segment is there.
    fn seal_and_begin(&mut self, wall: Timestamp) -> Result<(), LogError> {
        let (active, base) = (Arc::clone(&self.active.segment), self.active.segment.base_offset);
        self.active.segment.index_max_timestamp();
        active.save_indexes(SaveIndexes::New)?;
        let end = self.log_end_offset();
        self.take_snapshot(end)?;
        self.complete_transaction_index()?;
        let path = active.path(LOG_SUFFIX);
        let file = active.file().map_err(LogError::io(&path))?;
        if self.view.segment_count() == 1 && self.unsynced.has_dir(&self.dir) {
            // Were the first segment's name lost and the next one's kept, the log would seem to
            // start there.
            self.disk.sync_dir(&self.dir).map_err(LogError::io(&self.dir))?;
        }
        self.begin_segment(end, wall)?;
        active.drop_indexes();
        self.unsynced.file(file, Some(base));
        active.slot.set_clean();
        self.note_indexes(&active);
        self.note_transaction_index(&active);
        Ok(())
    }

    /// Entries that found no room in the transaction index's file are written now.
    pub(crate) fn complete_transaction_index(&mut self) -> Result<(), LogError> {
        self.aborted.complete(&self.view.segments.load(), &mut self.unsynced)
    }

    /// A segment's transaction index is to be synced, if it has one.
    pub(crate) fn note_transaction_index(&mut self, segment: &Segment) {
        let base = segment.base_offset;
        if self.aborted.reaches(base) {
            self.unsynced.path(segment.path(TRANSACTION_INDEX_SUFFIX), Some(base));
        }
    }

    /// A segment's indexes are to be synced.
    pub(crate) fn note_indexes(&mut self, segment: &Segment) {
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            self.unsynced.path(segment.path(suffix), Some(segment.base_offset));
        }
    }

    /// The file is made at once: its name says where the log goes on, even if all segments before
    /// it are deleted.
    pub(crate) fn begin_segment(
        &mut self,
        base_offset: Offset,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        let next = Arc::new(Segment::new(&self.disk, &self.dir, base_offset, 0));
        if let Some(pool) = &self.open_files {
            next.slot.join(pool);
        }
        next.put_indexes(Indexes::default());
        if let Err(error) = self.create_file(&next) {
            if matches!(error, LogError::Full { .. }) {
                // It may be there, without its reserve: an empty segment between others would
                // look like a gap.
                let path = next.path(LOG_SUFFIX);
                let is_there = self.disk.file_len(&path).map_err(LogError::io(&path))?.is_some();
                if is_there {
                    self.disk.remove_file(&path).map_err(LogError::io(&path))?;
                }
            }
            return Err(error);
        }
        let mut segments = Vec::clone(&self.view.segments.load());
        segments.push(Arc::clone(&next));
        self.view.segments.store(Arc::new(segments));
        self.active = ActiveSegment::new(next, wall);
        Ok(())
    }

    pub(crate) fn create_file(&mut self, segment: &Segment) -> Result<(), LogError> {
        let path = segment.path(LOG_SUFFIX);
        let preallocate = self.config.preallocate;
        let reserve_bytes = self.config.segment_bytes;
        segment
            .create()
            .and_then(|file| if preallocate { file.reserve(reserve_bytes) } else { Ok(()) })
            .map_err(LogError::growth(&path))?;
        self.unsynced.dir(self.dir.clone());
        Ok(())
    }
}
