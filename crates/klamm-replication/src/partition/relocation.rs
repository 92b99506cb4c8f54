//! A partition's log is replaced by its copy in another directory. Never waits for a disk but for
//! one rename and what was appended since the copy was looked at last.

use std::sync::Arc;

use klamm_log::{CopyError, Log, LogError, Syncable};
use klamm_model::{Offset, Timestamp};

use super::Partition;
use super::home::Home;
use crate::directory::Directory;

/// Copied under the log's lock at most: what is appended in a few milliseconds.
const LAST_BYTES_MAX: u64 = 256 * 1024;

/// Whether the copy is the log now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    Yes,
    /// Too much was appended meanwhile.
    Behind,
    /// The partition is offline or deleted, or the move was called off.
    Refused,
}

/// What is to take a log's place.
pub(crate) struct Replacement<'a> {
    pub(crate) copy: &'a mut Log,
    pub(crate) directory: &'a Arc<Directory>,
    pub(crate) cleaned_to: Option<Offset>,
    /// Asked when nothing else is in the way; whether it still is wanted.
    pub(crate) is_wanted: &'a dyn Fn() -> bool,
}

impl Partition {
    /// The copy takes the log's place if it holds the same by then.
    pub(crate) fn replace_log(
        &self,
        replacement: Replacement<'_>,
        wall: Timestamp,
    ) -> Result<Replaced, CopyError> {
        let Replacement { copy, directory, cleaned_to, is_wanted } = replacement;
        let mut log = self.lock();
        if self.is_deleted() || self.is_offline() || log.is_closed_for_writing() {
            return Ok(Replaced::Refused);
        }
        if !copy.copy_rest(&self.view, LAST_BYTES_MAX, wall)? {
            return Ok(Replaced::Behind);
        }
        if !is_wanted() {
            return Ok(Replaced::Refused);
        }
        let name = klamm_log::names::partition_dir(&self.name.topic, self.name.partition);
        log.take_over(copy, &directory.dir.path().join(name), cleaned_to)?;
        let home = Home::new(Arc::clone(directory), self.myself.clone());
        self.home.swap(home).leave();
        drop(log);
        self.ask_for_sync(klamm_log::Urgency::Now);
        Ok(Replaced::Yes)
    }

    /// Has all of the log synced before it returns.
    pub(crate) fn sync_whole(&self) -> Result<(), LogError> {
        let home = self.home.load_full();
        let Some(ticket) = home.ticket()? else { return Ok(()) };
        let disk = Arc::clone(self.lock().disk());
        let result = ticket.sync(disk.as_ref());
        home.on_synced(&ticket, result.as_ref().copied());
        result.map_err(|error| LogError::Io { path: home.directory.dir.path().to_owned(), error })
    }
}
