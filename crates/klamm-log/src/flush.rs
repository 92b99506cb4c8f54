//! How a log becomes durable: when a sync is asked for, what a ticket for one covers, and what its
//! outcome says. Syncs nothing itself.

use klamm_model::{Offset, Timestamp};

use crate::checkpoint::write_leader_epochs;
use crate::error::LogError;
use crate::log::Log;
use crate::names::LEADER_EPOCHS;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::sync::SyncTicket;

impl Log {
    /// Whether `flush.messages` asks for a sync now.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        self.flush_timer.are_messages_due(&self.config)
    }

    /// Whether `flush.ms` asks for a sync now: something is not synced, and it is that long ago
    /// that it last asked (Kafka: `LogManager.flushDirtyLogs`).
    pub fn take_flush_due(&mut self, wall: Timestamp) -> bool {
        let is_behind = !self.failed && self.view.synced_offset() < self.log_end_offset();
        let is_due = is_behind && self.flush_timer.is_time_due(&self.config, wall);
        if is_due {
            self.flush_timer.on_asked(wall);
        }
        is_due
    }

    /// What must be synced so that everything appended so far is durable; `None` if it is.
    /// Several tickets may be under way at once.
    ///
    /// # Errors
    /// A small file could not be written, or an earlier sync failed.
    pub fn sync_ticket(&mut self) -> Result<Option<SyncTicket>, LogError> {
        self.check_usable()?;
        let up_to = self.log_end_offset();
        if up_to <= self.view.synced_offset() && self.unsynced.is_empty() {
            return Ok(None);
        }
        // Without room the file is written later: until then the recovery point stays below the
        // epochs that it lacks, and a crash finds them in the batches.
        match self.write_epochs_if_changed() {
            Err(LogError::Full { .. }) => {}
            result => self.closing_on_failure(result)?,
        }
        self.flush_timer.on_ticket();
        if self.is_save_due() {
            self.save_for_restart()?;
        }
        self.note_metadata();
        if is_seeded(SeededBug::AcknowledgedBeforeSync) {
            self.view.publish_synced(up_to);
        }
        let mark = self.mark_at(up_to);
        // What a recovery has found may not be synced, and its file may be closed again.
        let is_behind = up_to > self.view.synced_offset() && !self.active.is_empty();
        let active = match self.active.segment.open_file() {
            None if is_behind => {
                let opened = self.active.segment.file().map_err(LogError::io(&self.dir));
                Some(self.closing_on_failure(opened)?)
            }
            open => open,
        };
        Ok(Some(self.unsynced.issue(active, up_to, mark)))
    }

    /// A ticket was honoured. An offset that no ticket had says nothing.
    pub fn on_synced(&mut self, up_to: Offset) {
        if self.failed {
            // After a failed sync another one may succeed although the pages are gone.
            return;
        }
        let Some((covered, mark)) = self.unsynced.honoured(up_to) else { return };
        if let Some(mark) = mark {
            self.advance_mark(mark);
        }
        let covered = covered.min(self.log_end_offset());
        if covered == self.log_end_offset() {
            self.active.segment.slot.set_clean();
        }
        if covered > self.view.synced_offset() {
            self.view.publish_synced(covered);
        }
    }

    /// Whether a write or sync has failed, so that nothing more is written.
    #[must_use]
    pub fn is_closed_for_writing(&self) -> bool {
        self.failed
    }

    /// A ticket could not be honoured: what is durable is unknown, and nothing more is appended.
    pub fn on_sync_failed(&mut self) {
        self.failed = true;
    }

    /// Everything below need not be looked at after a crash.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        if is_seeded(SeededBug::CheckpointAheadOfData) {
            return self.log_end_offset();
        }
        let synced = self.view.synced_offset();
        self.epochs_lack_from.map_or(synced, |offset| synced.min(offset))
    }

    pub(crate) fn write_epochs_if_changed(&mut self) -> Result<(), LogError> {
        if !self.epochs.is_dirty() {
            return Ok(());
        }
        let path = self.dir.join(LEADER_EPOCHS);
        match write_leader_epochs(self.disk.as_ref(), &path, self.epochs.entries()) {
            Ok(()) => {
                self.epochs.on_saved();
                self.epochs_lack_from = None;
                Ok(())
            }
            Err(error) => {
                self.epochs_lack_from.get_or_insert(self.view.synced_offset());
                Err(error)
            }
        }
    }
}
