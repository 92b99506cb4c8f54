//! Old segments and records below the log's start (Kafka: `UnifiedLog.deleteOldSegments`,
//! `maybeIncrementLogStartOffset`).

use std::sync::Arc;

use klamm_env::OpenMode;
use klamm_model::{Offset, Timestamp};

use crate::error::LogError;
use crate::log::Log;
use crate::segment::Segment;

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

    pub(crate) fn out_of_range(&self, offset: Offset) -> LogError {
        LogError::OutOfRange {
            offset,
            log_start_offset: self.log_start_offset(),
            log_end_offset: self.log_end_offset(),
        }
    }
}
