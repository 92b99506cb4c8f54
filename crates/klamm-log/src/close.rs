//! The orderly end of a log: alone, or with all others of its file system, which is then synced
//! as a whole. Of 10,000 logs each has half a dozen small files.
//!
//! ```text
//! open ──close_clean───────────────────────────────────────────────────────────> closed
//!   └──begin_close──> written ─[synced]─ name_closed ──> named ─[synced]─ end_close ──┘
//!                     epochs aside                       epochs in their place
//! ```
//!
//! A log that never reaches the end is recovered at the next start, or closed alone: both begin
//! again from what the log itself knows to be synced.

use std::sync::Arc;

use klamm_env::durable;
use klamm_model::Offset;

use crate::checkpoint::write_leader_epochs_aside;
use crate::error::LogError;
use crate::log::Log;
use crate::names::LEADER_EPOCHS;
use crate::segment::SaveIndexes;
use crate::segment::indexes::Indexes;

/// A log that is being closed with others.
#[derive(Debug)]
pub struct Closing {
    up_to: Offset,
    has_epochs_aside: bool,
}

impl Closing {
    /// Whether there is a file that has to be named once everything is synced.
    #[must_use]
    pub fn has_files_to_name(&self) -> bool {
        self.has_epochs_aside
    }
}

impl Log {
    /// Writes everything that makes the next start quick, and syncs.
    ///
    /// # Errors
    /// The disk failed: the next start has to recover.
    pub fn close_clean(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.has_nothing_to_close() {
            return Ok(());
        }
        let result = self.write_and_sync_all();
        self.closing_on_failure(result)
    }

    /// Writes what [`Log::close_clean`] would, and syncs nothing. `None` if there is nothing to do.
    ///
    /// # Errors
    /// The disk failed: the next start has to recover.
    pub fn begin_close(&mut self) -> Result<Option<Closing>, LogError> {
        self.check_usable()?;
        if self.has_nothing_to_close() {
            return Ok(None);
        }
        let result = self.write_all();
        self.closing_on_failure(result)
    }

    /// Everything that was written so far is synced: what was written aside takes its place.
    ///
    /// # Errors
    /// The disk failed: the next start has to recover.
    pub fn name_closed(&mut self, closing: &Closing) -> Result<(), LogError> {
        if !closing.has_epochs_aside {
            return Ok(());
        }
        let path = self.dir.join(LEADER_EPOCHS);
        let named = durable::take_aside(self.disk.as_ref(), &path).map_err(LogError::io(&path));
        self.closing_on_failure(named)?;
        self.epochs.on_saved();
        self.epochs_lack_from = None;
        Ok(())
    }

    /// Everything is synced since.
    pub fn end_close(&mut self, closing: &Closing) {
        self.on_synced(closing.up_to);
    }

    fn has_nothing_to_close(&self) -> bool {
        self.is_asleep || self.was_never_written()
    }

    /// Whether there is nothing that a sync could save: no record, no file for any.
    fn was_never_written(&self) -> bool {
        let end = self.log_end_offset();
        self.active.segment.open_file().is_none()
            && self.active.is_empty()
            && self.view.synced_offset() == end
            && self.view.segment_count() == 1
            && self.lacks_synced_metadata
            && !self.unsynced.has_files()
    }

    fn write_and_sync_all(&mut self) -> Result<(), LogError> {
        self.settle_swap()?;
        self.write_epochs_if_changed()?;
        self.write_for_next_start()?;
        let Some(ticket) = self.sync_ticket()? else { return Ok(()) };
        ticket.sync(self.disk.as_ref()).map_err(LogError::io(&self.dir))?;
        self.on_synced(ticket.up_to);
        Ok(())
    }

    fn write_all(&mut self) -> Result<Option<Closing>, LogError> {
        self.settle_swap()?;
        let has_epochs_aside = self.epochs.is_dirty();
        if has_epochs_aside {
            let path = self.dir.join(LEADER_EPOCHS);
            write_leader_epochs_aside(self.disk.as_ref(), &path, self.epochs.entries())?;
        }
        self.write_for_next_start()?;
        let up_to = self.log_end_offset();
        let is_synced = up_to <= self.view.synced_offset() && self.unsynced.is_empty();
        if is_synced && !has_epochs_aside {
            return Ok(None);
        }
        self.note_metadata();
        let mark = self.mark_at(up_to);
        // Its files need no look: they are synced with all others.
        self.unsynced.issue(None, up_to, mark);
        Ok(Some(Closing { up_to, has_epochs_aside }))
    }

    /// Indexes, aborted transactions and producers.
    fn write_for_next_start(&mut self) -> Result<(), LogError> {
        self.active.segment.index_max_timestamp();
        let active = Arc::clone(&self.active.segment);
        let end = self.log_end_offset();
        let lacks_snapshot = self.snapshots.newest.unwrap_or(Offset::ZERO) < end;
        if !active.with_indexes(Indexes::has_unsaved).unwrap_or(false) && !lacks_snapshot {
            return Ok(());
        }
        active.save_indexes(SaveIndexes::New)?;
        self.note_indexes(&active);
        self.complete_transaction_index()?;
        self.note_transaction_index(&active);
        // Some of these names may be new.
        self.unsynced.dir(self.dir.clone());
        if lacks_snapshot {
            self.take_snapshot(end)?;
        }
        Ok(())
    }
}
