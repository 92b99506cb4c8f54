//! A cleaned segment takes the place of a group, in steps between which a crash may come (Kafka:
//! `LocalLog.replaceSegments`, `LogLoader`).
//!
//! ```text
//! .cleaned written, synced
//!    │ begin_swap    lock: the group is still there; .cleaned -> .swap
//!    │               directory synced: from here on a restart finishes what follows
//!    │ publish_swap  lock: old files -> .deleted; readers see the new segment
//!    │               directory synced: no old file comes back beside the new one
//!    ▼ finish_swap   lock: .swap -> the segment's names
//! ```
//!
//! Nothing is synced under the lock. Whoever cuts the log or drops its oldest segments meanwhile
//! settles the swap first. Readers that hold old segments go on with the files that they have
//! open; an old segment's indexes are not asked any more, because their names may mean new files.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_model::{Offset, Timestamp};

use super::target::{remove_cleaned, with_suffix};
use crate::error::LogError;
use crate::listing::{CLEANED_SUFFIX, SEGMENT_SUFFIXES, SWAP_SUFFIX};
use crate::log::Log;
use crate::names::{SNAPSHOT_SUFFIX, segment_file};
use crate::segment::Segment;
use crate::segment::transaction_index::AbortedTransaction;

/// A replacement under way.
#[derive(Debug, Clone)]
pub(crate) struct Swap {
    /// Neighbours, oldest first.
    pub(super) old: Vec<Arc<Segment>>,
    pub(super) new: Arc<Segment>,
    /// Where the old ones end.
    pub(super) end_offset: Offset,
    /// What the new transaction index holds.
    pub(super) aborted: Vec<AbortedTransaction>,
    /// The log was cut so often when the old ones were read.
    pub(super) cuts: u64,
    pub(super) is_published: bool,
}

/// Whether a step was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    Made,
    /// The log has changed, or is going away: the new segment is of no use.
    Refused,
}

impl Log {
    /// The place of the swap's old segments, if they are still what they were.
    fn place_of(&self, swap: &Swap) -> Option<usize> {
        let segments = self.view.segments.load();
        let first = swap.old.first()?;
        let at = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
        let found = segments.get(at..at + swap.old.len())?;
        let is_same = found.iter().zip(&swap.old).all(|(a, b)| Arc::ptr_eq(a, b));
        let is_sealed = at + swap.old.len() < segments.len();
        let is_free = !self.compaction.is_closed && !self.compaction.is_paused;
        let is_usable = !self.failed && is_free;
        (is_same && is_sealed && is_usable && self.view.cuts() == swap.cuts).then_some(at)
    }

    pub(super) fn begin_swap(&mut self, swap: Swap) -> Result<Step, LogError> {
        if self.compaction.swap.is_some() || self.place_of(&swap).is_none() {
            return Ok(Step::Refused);
        }
        for suffix in SEGMENT_SUFFIXES {
            let path = swap.new.path(suffix);
            let (from, to) = (with_suffix(&path, CLEANED_SUFFIX), with_suffix(&path, SWAP_SUFFIX));
            let renamed = self.disk.rename(&from, &to).map_err(LogError::io(&from));
            self.closing_on_failure(renamed)?;
        }
        self.compaction.swap = Some(swap);
        Ok(Step::Made)
    }

    /// The directory was synced after [`Log::begin_swap`].
    pub(super) fn publish_swap(&mut self, wall: Timestamp) -> Result<Step, LogError> {
        // Somebody may have settled it.
        let Some(mut swap) = self.compaction.swap.take() else { return Ok(Step::Refused) };
        let Some(at) = self.place_of(&swap) else {
            self.compaction.swap = Some(swap);
            self.settle_swap()?;
            return Ok(Step::Refused);
        };
        swap.old.iter().for_each(|segment| segment.retire());
        let doomed = self.doom_replaced(&swap.old, wall);
        self.closing_on_failure(doomed)?;
        let last = swap.old.last().expect("a group is not empty").base_offset;
        // Before readers can see the new segment: places in the old ones mean nothing in it.
        self.view.recent.forget_up_to(last);
        self.aborted.replace(&(swap.new.base_offset..swap.end_offset), &swap.aborted);
        self.aborted.publish(&self.view);
        let mut segments = Vec::clone(&self.view.segments.load());
        segments.splice(at..at + swap.old.len(), [Arc::clone(&swap.new)]);
        self.view.segments.store(Arc::new(segments));
        swap.is_published = true;
        self.compaction.swap = Some(swap);
        Ok(Step::Made)
    }

    fn doom_replaced(&mut self, old: &[Arc<Segment>], wall: Timestamp) -> Result<(), LogError> {
        let mut files: Vec<PathBuf> = Vec::new();
        for (i, segment) in old.iter().enumerate() {
            for suffix in SEGMENT_SUFFIXES {
                self.doom_file(&segment.path(suffix), &mut files)?;
            }
            // The snapshot at the start of the group is still at the start of a segment.
            if i > 0 {
                self.unsynced.forget_segment(segment.base_offset);
                let snapshot = self.dir.join(segment_file(segment.base_offset, SNAPSHOT_SUFFIX));
                self.doom_file(&snapshot, &mut files)?;
            }
        }
        self.remove_later(files, wall);
        Ok(())
    }

    /// The directory was synced after [`Log::publish_swap`].
    pub(super) fn finish_swap(&mut self) -> Result<(), LogError> {
        let Some(swap) = self.compaction.swap.take_if(|swap| swap.is_published) else {
            return Ok(());
        };
        if self.compaction.is_closed {
            return Ok(());
        }
        for suffix in SEGMENT_SUFFIXES {
            let to = swap.new.path(suffix);
            let from = with_suffix(&to, SWAP_SUFFIX);
            let renamed = self.disk.rename(&from, &to).map_err(LogError::io(&from));
            self.closing_on_failure(renamed)?;
        }
        swap.new.drop_indexes();
        // It was synced before the swap, and has its own name now.
        swap.new.slot.set_clean();
        if let Some(open_files) = &self.open_files {
            swap.new.slot.join(open_files);
        }
        self.unsynced.dir(self.dir.clone());
        Ok(())
    }

    /// Ends a swap that is under way, in one direction or the other, because the log is about to
    /// change. Rare, and the only place where the directory is synced under the owner's lock.
    pub(crate) fn settle_swap(&mut self) -> Result<(), LogError> {
        let Some(swap) = &self.compaction.swap else { return Ok(()) };
        if self.compaction.is_closed {
            self.compaction.swap = None;
            return Ok(());
        }
        let (new, is_published) = (Arc::clone(&swap.new), swap.is_published);
        let sync = |log: &Self| log.disk.sync_dir(&log.dir).map_err(LogError::io(&log.dir));
        if is_published {
            let synced = sync(self);
            self.closing_on_failure(synced)?;
            return self.finish_swap();
        }
        self.compaction.swap = None;
        // Back to where a restart drops them, and only then away: a part of the new files must
        // never look like the rest of a swap that was nearly done.
        for suffix in SEGMENT_SUFFIXES {
            let path = new.path(suffix);
            let (from, to) = (with_suffix(&path, SWAP_SUFFIX), with_suffix(&path, CLEANED_SUFFIX));
            let renamed = self.disk.rename(&from, &to).map_err(LogError::io(&from));
            self.closing_on_failure(renamed)?;
        }
        let synced = sync(self);
        self.closing_on_failure(synced)?;
        remove_cleaned(self.disk.as_ref(), &self.dir, new.base_offset);
        Ok(())
    }
}
