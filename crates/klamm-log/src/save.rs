//! What makes the next start quick: indexes and producers in their files, and a mark that vouches
//! for them. Never on the data path but for a look at how much was appended.

use std::sync::Arc;

use klamm_model::Offset;

use crate::error::LogError;
use crate::log::Log;
use crate::mark::{RecoveryMark, SAVE_EVERY_BYTES};
use crate::names::{SNAPSHOT_SUFFIX, segment_file};
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::SaveIndexes;

impl Log {
    /// Whether so much was appended that the next start should not read it.
    #[must_use]
    pub fn is_save_due(&self) -> bool {
        self.active.unsaved_bytes() >= SAVE_EVERY_BYTES
    }

    /// What the next checkpoint should vouch for is to be synced first: index entries and producers
    /// too, if `worth_bytes` were appended since they were saved last. Says whether there is
    /// anything to sync; a log that was never appended to has nothing to lose.
    ///
    /// # Errors
    /// The disk failed.
    pub fn prepare_checkpoint(&mut self, worth_bytes: u64) -> Result<bool, LogError> {
        if self.failed {
            return Ok(false);
        }
        if self.active.unsaved_bytes() >= worth_bytes.max(1) {
            self.save_for_restart()?;
        }
        let is_behind = self.view.synced_offset() < self.log_end_offset();
        Ok(is_behind || (!self.unsynced.is_empty() && self.view.size_bytes() > 0))
    }

    /// Index entries, aborted transactions and producers go to their files, and are synced with
    /// the next ticket. Without room they wait.
    pub(crate) fn save_for_restart(&mut self) -> Result<(), LogError> {
        let result = self.save_files();
        match self.closing_unless_full(result) {
            Err(LogError::Full { .. }) => Ok(()),
            result => result,
        }
    }

    fn save_files(&mut self) -> Result<(), LogError> {
        let active = Arc::clone(&self.active.segment);
        active.save_indexes(SaveIndexes::New)?;
        self.note_indexes(&active);
        self.complete_transaction_index()?;
        self.note_transaction_index(&active);
        self.replace_snapshot(self.snapshots.newest)?;
        self.unsynced.dir(self.dir.clone());
        self.active.on_saved_at(self.active.written);
        Ok(())
    }

    /// Writes the producers as of the end of the log; a mark may still need the snapshot that this
    /// replaces.
    pub(crate) fn replace_snapshot(&mut self, replaced: Option<Offset>) -> Result<(), LogError> {
        self.take_snapshot(self.log_end_offset())?;
        self.snapshots.on_replaced(replaced);
        Ok(())
    }

    /// Writes the producers as of `offset`, which is the end of the log.
    pub(crate) fn take_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.snapshots.newest == Some(offset) {
            return Ok(());
        }
        let path = self.snapshot_files().write(offset, &self.producers)?;
        if !is_seeded(SeededBug::SnapshotNotSynced) {
            self.unsynced.path(path, Some(offset));
        }
        self.snapshots.newest = Some(offset);
        Ok(())
    }

    /// What a ticket for everything up to the end vouches for.
    pub(crate) fn mark_at(&self, end: Offset) -> Option<RecoveryMark> {
        if self.epochs_lack_from.is_some() || self.aborted.is_file_behind() {
            return None;
        }
        let (index_entries, time_entries) = self
            .active
            .segment
            .with_indexes(|indexes| (indexes.offsets_saved, indexes.times_saved))?;
        Some(RecoveryMark {
            offset: end,
            segment_base: self.active.segment.base_offset,
            position: self.active.written,
            index_entries,
            time_entries,
            snapshot: self.snapshots.newest.filter(|offset| *offset <= end),
        })
    }

    /// What is on the disk for certain.
    #[must_use]
    pub fn mark(&self) -> Option<RecoveryMark> {
        self.mark
    }

    /// Whether the mark vouches for more than batches since this was asked last: then the
    /// checkpoint is worth writing before its time.
    pub fn take_new_mark(&mut self) -> bool {
        std::mem::take(&mut self.has_new_mark)
    }

    /// A checkpoint with `mark` is on the disk: snapshots that only earlier ones need can go.
    ///
    /// # Errors
    /// The disk failed.
    pub fn on_mark_written(&mut self, mark: RecoveryMark) -> Result<(), LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let is_at_segment = |offset| segments.iter().any(|s| s.base_offset == offset);
        let Some(snapshot) = mark.snapshot else { return Ok(()) };
        for offset in self.snapshots.take_strays_before(snapshot) {
            if !is_at_segment(offset) {
                self.unsynced.forget_segment(offset);
                let path = self.dir.join(segment_file(offset, SNAPSHOT_SUFFIX));
                crate::listing::remove(self.disk.as_ref(), &path)?;
            }
        }
        Ok(())
    }

    pub(crate) fn advance_mark(&mut self, mark: RecoveryMark) {
        let files = |mark: &RecoveryMark| (mark.segment_base, mark.index_entries);
        if self.mark.is_some_and(|earlier| earlier.offset > mark.offset) {
            return;
        }
        self.has_new_mark |= self.mark.as_ref().map(files) != Some(files(&mark));
        self.mark = Some(mark);
    }
}
