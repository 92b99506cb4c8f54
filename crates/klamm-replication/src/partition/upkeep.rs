//! What happens to a partition off the data path: retention, checkpoints, syncs, its end. Never
//! touches the files of one that was deleted.

use std::sync::atomic::Ordering;

use klamm_log::{
    ClosedLog, Closing, FoundPartition, Log, LogError, LogOwner, RecoveryMark, Urgency,
};
use klamm_model::{Timestamp, TopicId, TopicPartition};

use super::Partition;

/// At the interval, index entries and producers are saved where more than this was appended: less
/// is read again in a millisecond.
const WORTH_BYTES: u64 = 1024 * 1024;
impl Partition {
    /// Deletes old segments, removes files whose time has come, forgets silent producers.
    ///
    /// # Errors
    /// The disk failed.
    pub fn clean_up(&self, wall: Timestamp) -> Result<usize, LogError> {
        if self.is_offline() {
            return Ok(0);
        }
        let mut deleted = 0;
        loop {
            let mut log = self.lock();
            if self.is_deleted() {
                return Ok(deleted);
            }
            if !log.delete_oldest_segment(wall, self.high_watermark())? {
                log.expire_producers(wall);
                let doomed = log.take_doomed(wall);
                drop(log);
                doomed.remove()?;
                return Ok(deleted);
            }
            deleted += 1;
        }
    }

    /// Ends the partition's life in order.
    ///
    /// # Errors
    /// The disk failed: the next start has to recover.
    pub fn close_clean(&self) -> Result<(), LogError> {
        self.resign();
        if self.unopened.as_ref().is_some_and(Option::is_none) {
            return Ok(());
        }
        self.lock().close_clean()
    }

    /// As [`Partition::close_clean`], for whoever syncs everything itself.
    pub(crate) fn begin_close(&self) -> Result<Option<Closing>, LogError> {
        self.resign();
        if self.unopened.as_ref().is_some_and(Option::is_none) {
            return Ok(None);
        }
        self.lock().begin_close()
    }

    /// What `flush.ms` asks for is synced soon.
    pub(crate) fn flush_by_time(&self, wall: Timestamp) {
        if !self.is_offline() && self.lock().take_flush_due(wall) {
            self.ask_for_sync(Urgency::Soon);
        }
    }

    /// How it was left, if it is closed and the next start needs to know no more.
    #[must_use]
    pub(crate) fn closed(&self) -> Option<(TopicPartition, TopicId, ClosedLog)> {
        let closed = self.lock().closed()?;
        (!self.is_unopened()).then(|| (self.name.clone(), self.topic_id, closed))
    }

    /// What the checkpoints say of it; nothing if it was not found in any directory.
    #[must_use]
    pub fn checkpoint(&self) -> Option<FoundPartition> {
        if let Some(found) = &self.unopened {
            return found.as_deref().cloned();
        }
        let log = self.lock();
        Some(FoundPartition {
            partition: self.name.clone(),
            topic_id: Some(self.topic_id),
            dir: log.dir().to_owned(),
            recovery_point: log.recovery_point(),
            log_start_offset: log.log_start_offset(),
            high_watermark: self.high_watermark(),
            mark: log.mark(),
            closed: None,
        })
    }

    /// What the interval's checkpoint should vouch for is synced soon, off the data path.
    pub(crate) fn prepare_checkpoint(&self) {
        if self.is_offline() {
            return;
        }
        let mut log = self.lock();
        if self.is_deleted() {
            return;
        }
        let prepared = log.prepare_checkpoint(WORTH_BYTES);
        drop(log);
        match prepared {
            Ok(true) => self.ask_for_sync(Urgency::Soon),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(partition = %self.name, %error, "index entries or producers could not be written");
                self.fail(&error);
            }
        }
    }

    /// A checkpoint with `mark` is on the disk.
    pub(crate) fn on_mark_written(&self, mark: RecoveryMark) {
        if let Err(error) = self.lock().on_mark_written(mark) {
            tracing::warn!(partition = %self.name, %error, "an old snapshot of producers stays");
        }
    }

    /// Its directory is about to go: nobody touches its files from now on. Gives whether a cleaner
    /// ever has.
    pub(crate) fn close_for_deletion(&self) -> bool {
        let mut log = self.lock();
        self.is_deleted.store(true, Ordering::Release);
        log.close_for_deletion();
        log.cleaned_to().is_some()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }
}

impl LogOwner for Partition {
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T {
        ask(&mut self.lock())
    }
}
