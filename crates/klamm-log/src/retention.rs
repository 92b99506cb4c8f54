//! Old segments, records below the log start, and the end that is cut off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_model::{Offset, Timestamp};

use crate::active::ActiveSegment;
use crate::epochs::LeaderEpochs;
use crate::error::{LogError, is_full};
use crate::log::Log;
use crate::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX, segment_file,
};
use crate::producer_state::ProducerState;
use crate::recovery::rebuild_segment;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::{SaveIndexes, Segment};

/// Files that were renamed and wait to be removed, so that readers can finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeletion {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Not before then, by the wall clock.
    pub due: Timestamp,
}

/// Files that are no part of a log any more. To remove a large one takes a while, which nobody has
/// to wait for.
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
        let result = self.delete_due(wall, high_watermark, usize::MAX);
        self.closing_unless_full(result)
    }

    /// As [`Log::delete_old_segments`], but one segment at most: each costs a sync of the
    /// directory, and an owner that others wait for lets them in between. Gives whether one went.
    ///
    /// # Errors
    /// The disk failed.
    pub fn delete_oldest_segment(
        &mut self,
        wall: Timestamp,
        high_watermark: Offset,
    ) -> Result<bool, LogError> {
        let result = self.delete_due(wall, high_watermark, 1);
        self.closing_unless_full(result).map(|deleted| deleted > 0)
    }

    fn delete_due(
        &mut self,
        wall: Timestamp,
        high_watermark: Offset,
        at_most: usize,
    ) -> Result<usize, LogError> {
        let bounds = (high_watermark, at_most);
        let mut deleted = self.delete_while(wall, bounds, |log, segment, next| {
            let is_old = log.is_expired(segment, wall);
            let is_below = next.is_some_and(|base| base <= log.log_start_offset());
            (log.config.cleanup.delete && is_old) || is_below
        })?;
        if self.config.cleanup.delete
            && deleted < at_most
            && let Some(keep) = self.config.retention_bytes
        {
            let mut excess = self.view.size_bytes().saturating_sub(keep);
            let bounds = (high_watermark, at_most - deleted);
            deleted += self.delete_while(wall, bounds, |_, segment, _| {
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

    /// Deletes segments that are wholly below the log's start, and no others.
    pub(crate) fn delete_below_start(&mut self, wall: Timestamp) -> Result<usize, LogError> {
        let end = self.log_end_offset();
        let result = self.delete_while(wall, (end, usize::MAX), |log, _, next| {
            next.is_some_and(|base| base <= log.log_start_offset())
        });
        self.closing_unless_full(result)
    }

    /// Deletes from the oldest on while `is_doomed`, so many at most.
    fn delete_while(
        &mut self,
        wall: Timestamp,
        (high_watermark, at_most): (Offset, usize),
        mut is_doomed: impl FnMut(&Self, &Segment, Option<Offset>) -> bool,
    ) -> Result<usize, LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let mut n = 0;
        while let Some(segment) = segments.get(n) {
            let next = segments.get(n + 1).map(|next| next.base_offset);
            let end = next.unwrap_or(self.log_end_offset());
            let is_empty_active = next.is_none() && segment.size() == 0;
            if n == at_most
                || end > high_watermark
                || is_empty_active
                || !is_doomed(self, segment, next)
            {
                break;
            }
            n += 1;
        }
        if n == 0 {
            return Ok(0);
        }
        if n == segments.len() {
            // All is old: a new active segment takes over where the log ends. Without room for it
            // the active one stays, and what goes before it makes room.
            match self.roll(wall) {
                Err(LogError::Full { .. }) if n > 1 => n -= 1,
                rolled => rolled?,
            }
        }
        self.drop_oldest(n, wall)?;
        Ok(n)
    }

    fn drop_oldest(&mut self, n: usize, wall: Timestamp) -> Result<(), LogError> {
        self.settle_swap()?;
        let mut segments = Vec::clone(&self.view.segments.load());
        let doomed: Vec<Arc<Segment>> = segments.drain(..n).collect();
        let start = segments.first().map_or(self.log_end_offset(), |segment| segment.base_offset);
        // A crash may come when only some of them are gone.
        for next in doomed.iter().skip(1).map(|segment| segment.base_offset).chain([start]) {
            self.sync_snapshot_at(next)?;
        }
        self.move_start(start.max(self.log_start_offset()));
        self.view.segments.store(Arc::new(segments));
        // Oldest first, so that a crash leaves no gap.
        self.doom(doomed.iter(), wall)
    }

    /// What the doomed batches said of producers is in the snapshot behind them, which must be on
    /// the disk before they go.
    fn sync_snapshot_at(&self, start: Offset) -> Result<(), LogError> {
        if self.producers.is_empty() {
            return Ok(());
        }
        if let Some(path) = self.missing_snapshot_at(start)? {
            let synced = self.disk.open(&path, OpenMode::Read).and_then(|file| file.sync());
            synced.map_err(LogError::io(&path))?;
        }
        let ticket = self.unsynced.ticket_of(start, start);
        ticket.sync(self.disk.as_ref()).map_err(LogError::io(&self.dir))?;
        self.sync_names()
    }

    fn move_start(&mut self, start: Offset) {
        self.view.publish_start(start);
        self.epochs.truncate_from_start(start);
        self.view.epochs.store(self.epochs.clone().into());
        self.aborted.truncate_from_start(start);
        self.aborted.publish(&self.view);
        self.publish_first_unstable();
    }

    /// Renames the files of segments; they are removed after `file.delete.delay.ms`.
    fn doom<'a>(
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

    /// Files that were renamed are removed after `file.delete.delay.ms`.
    pub(crate) fn remove_later(&mut self, files: Vec<PathBuf>, wall: Timestamp) {
        if files.is_empty() {
            return;
        }
        let delay = i64::try_from(self.config.file_delete_delay_ms).unwrap_or(i64::MAX);
        let due = Timestamp(wall.0.saturating_add(delay));
        self.pending_deletions.push(PendingDeletion { files, due });
    }

    fn sync_names(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).map_err(LogError::io(&self.dir))
    }

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

    /// When the next renamed files may be removed.
    #[must_use]
    pub fn next_deletion(&self) -> Option<Timestamp> {
        self.pending_deletions.iter().map(|pending| pending.due).min()
    }

    /// The renamed files whose time has come, for [`DoomedFiles::remove`]: nobody else knows of
    /// them any more.
    pub fn take_doomed(&mut self, wall: Timestamp) -> DoomedFiles {
        let (due, later): (Vec<PendingDeletion>, _) =
            std::mem::take(&mut self.pending_deletions).into_iter().partition(|p| p.due <= wall);
        self.pending_deletions = later;
        let files = due.into_iter().flat_map(|pending| pending.files).collect();
        DoomedFiles { disk: Arc::clone(&self.disk), files }
    }

    /// Removes the renamed files whose time has come.
    ///
    /// # Errors
    /// The disk failed.
    pub fn remove_doomed(&mut self, wall: Timestamp) -> Result<(), LogError> {
        let removed = self.take_doomed(wall).remove();
        self.closing_on_failure(removed)
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
        self.wake()?;
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

    /// The log is about to be cut at `offset`: its recovery point does not vouch for anything behind
    /// it any more, and its mark for nothing at all, since a cut writes the indexes anew. Nor was
    /// anything behind it cleaned. The owner writes the checkpoints, the cleaner's too, then cuts.
    pub fn lower_to(&mut self, offset: Offset) {
        self.unsynced.cut_to(offset);
        self.view.publish_synced(self.view.synced_offset().min(offset));
        self.mark = None;
        self.compaction.on_cut(offset);
    }

    /// Cuts the log so that it ends at `offset` (Kafka: `UnifiedLog.truncateTo`). A batch that
    /// holds the offset goes as a whole. The cut is on the disk when this returns, so that nothing
    /// that was cut off can come back behind what is appended next.
    ///
    /// Checkpoints must be lowered before ([`Log::lower_to`]): below them a restart checks nothing,
    /// and a cleaner finds nothing dirty ([`Log::cleaned_to`]).
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
        self.wake()?;
        self.settle_swap()?;
        self.view.begin_cut();
        let result = self.cut(offset, wall);
        self.view.end_cut();
        self.closing_on_failure(result)
    }

    fn cut(&mut self, offset: Offset, wall: Timestamp) -> Result<(), LogError> {
        let mut segments = Vec::clone(&self.view.segments.load());
        let keep = segments.partition_point(|segment| segment.base_offset <= offset).max(1);
        let doomed: Vec<Arc<Segment>> = segments.drain(keep..).collect();
        let last = Arc::clone(&segments[keep - 1]);
        let (size, end) = match last.locate(offset)? {
            Some(found) => (found.position, found.header.base_offset.min(offset)),
            None => (last.size(), offset),
        };
        // Deleted records may share a batch with the first that is left.
        let end = end.max(self.log_start_offset());
        self.unsynced.cut_to(end);
        self.mark = None;
        self.compaction.on_cut(end);
        self.view.publish_synced(self.view.synced_offset().min(end));
        self.view.publish_end(end);
        self.view.segments.store(Arc::new(segments));
        // Newest first, so that a crash leaves no gap.
        self.doom(doomed.iter().rev(), wall)?;
        last.publish_size(size);
        let path = last.path(LOG_SUFFIX);
        let shorten = |file: &Arc<dyn DiskFile>| {
            file.set_len(size)?;
            file.sync()
        };
        last.create().and_then(|file| shorten(&file)).map_err(LogError::io(&path))?;
        self.active = ActiveSegment::new(last, self.active.since());
        self.rebuild_after_cut(end)?;
        // What was cut off, and what was known of it, does not come back under its old name.
        self.sync_names()
    }

    /// Indexes, epochs, transactions and producers as of the new end.
    fn rebuild_after_cut(&mut self, end: Offset) -> Result<(), LogError> {
        self.epochs.truncate_from_end(end);
        self.view.epochs.store(self.epochs.clone().into());
        self.remove_snapshots_after(end)?;
        let active = Arc::clone(&self.active.segment);
        let rebuilt = rebuild_segment(&active, self.config.index_interval_bytes)?;
        self.active.resume(rebuilt.index_interval, rebuilt.first_timestamp);
        active.save_indexes(SaveIndexes::Whole)?;
        self.note_indexes(&active);
        self.aborted.truncate_from_end(end);
        self.save_aborted(active.base_offset)?;
        self.aborted.publish(&self.view);
        if is_seeded(SeededBug::TruncationKeepsProducers) {
            return Ok(());
        }
        self.reload_producers(None)
    }

    /// Drops all there is and goes on at `offset` (Kafka: `truncateFullyAndStartAt`): what a
    /// follower does whose leader has nothing left of what would come next. As before any cut, the
    /// recovery point is lowered first, to the log's start.
    ///
    /// # Errors
    /// The disk failed.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        self.check_usable()?;
        self.wake()?;
        self.settle_swap()?;
        self.view.begin_cut();
        let result = self.start_anew(offset, wall);
        self.view.end_cut();
        self.closing_on_failure(result)
    }

    pub(crate) fn start_anew(&mut self, offset: Offset, wall: Timestamp) -> Result<(), LogError> {
        let doomed = Arc::clone(&self.view.segments.load());
        self.unsynced.cut_to(Offset::ZERO);
        self.mark = None;
        self.compaction.on_cut(offset);
        // An empty range while both ends move; readers are told to ask again.
        self.view.publish_end(self.log_start_offset());
        self.view.segments.store(Arc::default());
        self.doom(doomed.iter().rev(), wall)?;
        self.remove_snapshots_after(Offset(-1))?;
        // No new segment beside what the old ones said of producers.
        self.sync_names()?;
        self.begin_segment(offset, wall)?;
        // Nothing of the old log comes back, and the recovery point that follows is true.
        self.note_metadata();
        let ticket = self.unsynced.issue(self.active.segment.open_file(), offset, None);
        ticket.sync(self.disk.as_ref()).map_err(LogError::io(&self.dir))?;
        self.unsynced.honoured(offset);
        self.epochs = LeaderEpochs::cleared();
        self.view.epochs.store(self.epochs.clone().into());
        self.producers = ProducerState::default();
        self.aborted.clear();
        self.aborted.publish(&self.view);
        self.view.forget_undecided();
        self.publish_first_unstable();
        self.view.publish_end(offset);
        self.view.publish_start(offset);
        self.view.publish_synced(offset);
        Ok(())
    }
}
