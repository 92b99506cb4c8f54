//! A log is copied into another directory while it is used, and the copy takes its place (KIP-113;
//! Kafka: `ReplicaAlterLogDirsThread`, `LogManager.replaceCurrentWithFutureLog`).
//!
//! ```text
//! original  ──reads, whole batches──▶ copy: follow, sync, follow …   nobody is held up
//!     │                                 │ caught up
//!     └── lock: copy_rest ──▶ take_over: the copy's directory gets the log's name, readers see
//!                             the copy's segments under the view that they have
//! ```
//!
//! Until the copy is synced nothing new is acknowledged, because what is synced is the copy's from
//! then on. So of two directories with the log's name that a crash leaves, the one whose log
//! reaches further has all that was acknowledged. Never touches the original's files.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView};

use crate::appended::FollowError;
use crate::compaction::CompactionState;
use crate::error::LogError;
use crate::log::Log;
use crate::segment::Segment;
use crate::view::LogView;
use crate::view::read::{AtLeastOne, Limits, ReadError};

/// Read at once.
const CHUNK_BYTES: u32 = 1024 * 1024;

/// What a step of copying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes that were copied.
    pub bytes: u64,
    /// The copy ended where the original did when it was asked last.
    pub has_caught_up: bool,
}

/// Why the copy does not get further.
#[derive(Debug)]
pub enum CopyError {
    /// The original cannot be read.
    Original(ReadError),
    /// The copy cannot be written, or what was read is no batch.
    Copy(FollowError),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original(error) => write!(f, "the log cannot be read: {error}"),
            Self::Copy(error) => write!(f, "the copy cannot be written: {error}"),
        }
    }
}

impl std::error::Error for CopyError {}

impl From<LogError> for CopyError {
    fn from(error: LogError) -> Self {
        Self::Copy(FollowError::Disk(error))
    }
}

impl Log {
    /// Has a log that an orderly stop left unopened opened as a whole.
    ///
    /// # Errors
    /// The disk failed, or the files are not what they were.
    pub fn open_fully(&mut self) -> Result<(), LogError> {
        let woken = self.wake();
        self.closing_on_failure(woken)
    }

    /// Copies what comes next of `original`, at least `bytes_max` bytes if there are so many. What
    /// the original lost at either end is dropped first.
    ///
    /// # Errors
    /// Either disk failed, or has no room, or a batch is damaged.
    pub fn follow(
        &mut self,
        original: &LogView,
        bytes_max: u64,
        wall: Timestamp,
    ) -> Result<Copied, CopyError> {
        let end = self.common_end(original);
        if end < self.log_end_offset() {
            self.lower_to(end);
            if end > self.log_start_offset() {
                self.truncate_to(end, wall)?;
            } else {
                self.truncate_fully_and_start_at(end, wall)?;
            }
        }
        let start = original.log_start_offset();
        let is_empty = self.view.size_bytes() == 0;
        if self.log_end_offset() < start || (is_empty && self.log_end_offset() != start) {
            let first = first_batch(original)?.map_or(start, |header| header.base_offset);
            self.truncate_fully_and_start_at(first.min(start), wall)?;
        }
        if start > self.log_start_offset() && start <= self.log_end_offset() {
            self.delete_records(start)?;
            self.delete_below_start(wall)?;
        }
        self.copy(original, bytes_max, wall)
    }

    /// Copies what is left, if it is no more than `bytes_max`, and says whether that is all: then
    /// both logs hold the same. Syncs and deletes nothing, so the original's owner may wait for it.
    ///
    /// # Errors
    /// As [`Log::follow`].
    pub fn copy_rest(
        &mut self,
        original: &LogView,
        bytes_max: u64,
        wall: Timestamp,
    ) -> Result<bool, CopyError> {
        if self.common_end(original) < self.log_end_offset() || self.failed {
            return Ok(false);
        }
        let copied = self.copy(original, bytes_max, wall)?;
        let (start, end) = (original.log_start_offset(), original.log_end_offset());
        let has_all = copied.has_caught_up && self.log_end_offset() == end;
        if has_all && start > self.log_start_offset() {
            self.delete_records(start)?;
        }
        Ok(has_all && start <= self.log_start_offset())
    }

    fn copy(
        &mut self,
        original: &LogView,
        bytes_max: u64,
        wall: Timestamp,
    ) -> Result<Copied, CopyError> {
        let mut bytes = 0;
        while bytes < bytes_max {
            let upper = original.log_end_offset();
            // The first batch may begin below the log's start.
            let next = self.log_end_offset().max(original.log_start_offset());
            if next >= upper {
                return Ok(Copied { bytes, has_caught_up: self.log_end_offset() == upper });
            }
            let Some(chunk) = read(original, next, (CHUNK_BYTES, upper))? else { break };
            let before = self.log_end_offset();
            self.append_as_follower(&chunk, wall).map_err(CopyError::Copy)?;
            bytes += chunk.len() as u64;
            if self.log_end_offset() == before {
                break;
            }
        }
        Ok(Copied { bytes, has_caught_up: false })
    }

    /// Up to where both logs are the same, as their leader epochs tell (KIP-101): a follower's log
    /// may have been cut and gone on differently.
    fn common_end(&self, original: &LogView) -> Offset {
        let mine = self.log_end_offset();
        let end = mine.min(original.log_end_offset());
        let theirs = original.epochs.load();
        let (Some(my_latest), Some(their_latest)) = (self.epochs.latest(), theirs.latest()) else {
            return end;
        };
        let asked = my_latest.min(their_latest);
        let Some(found) = theirs.end_of(asked, original.log_end_offset()) else { return end };
        let own = self.epochs.end_of(found.leader_epoch, mine).map_or(mine, |own| own.end_offset);
        end.min(found.end_offset).min(own)
    }

    /// `copy`, which holds the same by [`Log::copy_rest`], becomes this log: its directory gets the
    /// name `dir`, and whoever reads finds its files under the view that he has. `cleaned_to` is
    /// how far this log was compacted when the copy began.
    ///
    /// # Errors
    /// The disk failed, or has no room: then this log is as it was.
    ///
    /// # Panics
    /// The logs do not end at the same offset.
    pub fn take_over(
        &mut self,
        copy: &mut Self,
        dir: &Path,
        cleaned_to: Option<Offset>,
    ) -> Result<(), LogError> {
        assert_eq!(self.log_end_offset(), copy.log_end_offset(), "a copy holds the same");
        assert!(!self.is_asleep, "a log that was copied is open");
        // Producers of which no batch is left are known here only.
        copy.producers.clone_from(&self.producers);
        let replaced = copy.snapshots.newest.take();
        copy.replace_snapshot(replaced)?;
        copy.disk.rename(&copy.dir, dir).map_err(LogError::io(&copy.dir))?;
        let placeholder = Self::unopened(&copy.disk, dir, copy.config.clone());
        let next = std::mem::replace(copy, placeholder).moved_to(dir);
        self.view.begin_cut();
        self.replace_by(next, cleaned_to);
        self.view.end_cut();
        Ok(())
    }

    /// This log after its directory got another name.
    fn moved_to(mut self, dir: &Path) -> Self {
        let from = std::mem::replace(&mut self.dir, dir.to_owned());
        let old = self.view.segments.load_full();
        let segments: Vec<Arc<Segment>> =
            old.iter().map(|segment| Arc::new(segment.renamed(dir))).collect();
        self.active.segment = Arc::clone(segments.last().expect("a log has an active segment"));
        self.view.segments.store(Arc::new(segments));
        self.unsynced.rename(&from, dir);
        self.deletions.rename(&from, dir);
        self.note_new_dir();
        self
    }

    fn replace_by(&mut self, next: Self, cleaned_to: Option<Offset>) {
        let view = Arc::clone(&self.view);
        view.segments.store(next.view.segments.load_full());
        view.aborted.store(next.view.aborted.load_full());
        view.publish_start(next.log_start_offset());
        view.publish_synced(next.view.synced_offset());
        let epochs = self.epochs.clone().unsaved();
        let mut compaction = CompactionState::default();
        compaction.resume_at(cleaned_to);
        let (config, open_files) = (self.config.clone(), self.open_files.take());
        // Whoever asks a transaction coordinator meanwhile comes back with what it was given.
        let verifications = std::mem::take(&mut self.verifications);
        *self = Self { view, epochs, compaction, config, verifications, open_files: None, ..next };
        open_files.iter().for_each(|open_files| self.bound_open_files(open_files));
    }
}

/// Some batches as they are; `None` if the log was just cut.
fn read(
    original: &LogView,
    offset: Offset,
    (bytes_max, upper): (u32, Offset),
) -> Result<Option<Vec<u8>>, CopyError> {
    let limits = Limits { bytes_max, at_least_one: AtLeastOne::Batch, upper };
    let read = match original.read(offset, limits) {
        Ok(read) => read,
        // Its start has moved up.
        Err(ReadError::OutOfRange { .. }) => return Ok(None),
        Err(error) => return Err(CopyError::Original(error)),
    };
    let Some(slice) = read.slice else { return Ok(None) };
    match slice.read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => {
            let path = original.segments.load().first().map(|s| s.path("")).unwrap_or_default();
            Err(CopyError::Original(ReadError::Log(LogError::Io { path, error })))
        }
    }
}

/// The batch that holds the log's start.
fn first_batch(original: &LogView) -> Result<Option<BatchHeader>, CopyError> {
    let (start, upper) = (original.log_start_offset(), original.log_end_offset());
    let bytes = read(original, start, (1, upper))?;
    Ok(bytes.and_then(|bytes| BatchView::parse(&bytes).ok().map(|batch| *batch.header())))
}
