//! The end of a log that is cut off (Kafka: `UnifiedLog.truncateTo`, `truncateFullyAndStartAt`).
//! Checkpoints are lowered first, by the owner; what was cut off does not come back.

use std::sync::Arc;

use klamm_env::DiskFile;
use klamm_model::{Offset, Timestamp};

use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::log::Log;
use crate::names::LOG_SUFFIX;
use crate::producers::state::ProducerState;
use crate::recovery::rebuild_segment;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::active::ActiveSegment;
use crate::segment::{SaveIndexes, Segment};

impl Log {
    /// The log is about to be cut at `offset`: its recovery point does not vouch for anything
    /// behind it any more, and its mark for nothing at all, since a cut writes the indexes anew.
    /// Nor was anything behind it cleaned. The owner writes the checkpoints, the cleaner's too,
    /// then cuts.
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
        self.view.undecided.clear();
        self.publish_first_unstable();
        self.view.publish_end(offset);
        self.view.publish_start(offset);
        self.view.publish_synced(offset);
        Ok(())
    }
}
