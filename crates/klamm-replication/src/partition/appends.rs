//! A batch comes into a partition: under the log's lock for as long as it takes to write it.

use std::sync::atomic::Ordering;

use klamm_log::{AppendError, Appended, LogError, Origin, Urgency};
use klamm_model::Timestamp;
use klamm_records::ValidBatch;

use super::{AppendRefused, Partition};

impl Partition {
    /// Appends a client's batch. When this returns the records are in the leader's page cache,
    /// which is what acks=1 asks for; for acks=all wait for [`Partition::committed_past`].
    ///
    /// # Errors
    /// See [`AppendRefused`].
    pub fn append(
        &self,
        batch: ValidBatch<'_>,
        origin: Origin,
        wall: Timestamp,
    ) -> Result<Appended, AppendRefused> {
        if self.is_offline() {
            return Err(AppendRefused::Offline);
        }
        if matches!(origin, Origin::Client | Origin::Transaction(_)) {
            let home = self.home.load();
            let room = home.directory.room();
            room.admit(batch.size_in_bytes() as u64, wall).map_err(AppendRefused::NearlyFull)?;
        }
        let mut log = self.lock();
        // Asked under the lock: a resignation is seen by every later append.
        let epoch = self.leader_epoch().ok_or(AppendRefused::NotLeader)?;
        let result = log.append_as_leader(batch, epoch, origin, wall);
        let is_flush_due = self.settings.has_flush_rule() && log.is_flush_due();
        let is_save_due = log.is_save_due();
        drop(log);
        match result {
            Ok(appended) => {
                // What is to be saved grows while it waits, and the next start would read it.
                if is_flush_due || is_save_due {
                    self.ask_for_sync(Urgency::Now);
                } else if self.settings.is_synced() {
                    self.ask_for_sync(self.waiters.urgency());
                }
                self.advance();
                Ok(appended)
            }
            Err(AppendError::Disk(error @ LogError::Full { .. })) => {
                self.home.load().directory.room().on_full(wall);
                Err(AppendRefused::Log(AppendError::Disk(error)))
            }
            Err(AppendError::Disk(error)) => {
                self.on_disk_failure(&error);
                Err(AppendRefused::Log(AppendError::Disk(error)))
            }
            Err(error) => Err(AppendRefused::Log(error)),
        }
    }

    pub(super) fn on_disk_failure(&self, error: &LogError) {
        tracing::error!(partition = %self.name, %error, "an append failed");
        match error {
            LogError::Io { .. } => self.fail(error),
            // Its own files are not what they should be; the disk is sound.
            _ => self.has_failed.store(true, Ordering::Release),
        }
    }
}
