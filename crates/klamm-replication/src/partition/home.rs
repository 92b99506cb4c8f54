//! Where a partition's log is, as the flusher of that directory knows it. A log that moves to
//! another directory gets another home, so that what is said of its old files is not taken for
//! the new ones'.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use klamm_log::{LogError, SyncTicket, Syncable, Urgency};

use super::Partition;
use crate::directory::Directory;

/// `sync_asked`: each is more than the one before.
const NOT_ASKED: u8 = 0;
const ASKED_SOON: u8 = 1;
const ASKED_NOW: u8 = 2;

/// A directory, as long as a partition's log is in it.
pub(crate) struct Home {
    pub(crate) directory: Arc<Directory>,
    partition: Weak<Partition>,
    /// What the flusher was asked for and has not begun.
    sync_asked: AtomicU8,
    /// The log is elsewhere. Set under its lock.
    is_left: AtomicBool,
}

impl Home {
    pub(crate) fn new(directory: Arc<Directory>, partition: Weak<Partition>) -> Arc<Self> {
        directory.on_partition_made();
        let (sync_asked, is_left) = (AtomicU8::new(NOT_ASKED), AtomicBool::new(false));
        Arc::new(Self { directory, partition, sync_asked, is_left })
    }

    /// The log has moved out.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
        self.directory.on_partition_dropped();
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    pub(crate) fn ask_for_sync(self: &Arc<Self>, urgency: Urgency) {
        let asked = match urgency {
            Urgency::Soon => ASKED_SOON,
            Urgency::Now => ASKED_NOW,
        };
        if self.sync_asked.fetch_max(asked, Ordering::AcqRel) < asked {
            self.directory.request_sync(Arc::clone(self) as Arc<dyn Syncable>, urgency);
        }
    }
}

impl Syncable for Home {
    fn ticket(&self) -> Result<Option<SyncTicket>, LogError> {
        self.sync_asked.store(NOT_ASKED, Ordering::Release);
        let Some(partition) = self.partition.upgrade() else { return Ok(None) };
        let mut log = partition.lock();
        if partition.is_deleted() || self.is_left() {
            return Ok(None);
        }
        log.sync_ticket()
    }

    fn is_gone(&self) -> bool {
        self.is_left() || self.partition.upgrade().is_none_or(|partition| partition.is_deleted())
    }

    fn on_synced(&self, ticket: &SyncTicket, result: Result<(), &io::Error>) {
        let Some(partition) = self.partition.upgrade() else { return };
        let mut log = partition.lock();
        if self.is_left() {
            return;
        }
        match result {
            Ok(()) => {
                log.on_synced(ticket.up_to);
                let has_new_mark = log.take_new_mark();
                drop(log);
                partition.advance();
                if has_new_mark {
                    self.directory.note_mark();
                }
            }
            Err(error) => {
                log.on_sync_failed();
                drop(log);
                tracing::error!(partition = %partition.name(), %error, "a sync failed");
                partition.fail(error);
            }
        }
    }
}
