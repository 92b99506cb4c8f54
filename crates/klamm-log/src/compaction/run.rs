//! One run over one log: what is asked of the log and done to it, in moments between which it is
//! appended to. If it was cut meanwhile the run ends.

use std::sync::Arc;

use klamm_model::{Offset, Timestamp};

use super::plan::{Assessment, Joinable, group};
use super::rules::Rules;
use super::state::Candidate;
use super::swap::{Step, Swap};
use super::target::Target;
use super::terms::{CleanError, CleanReport, LogOwner, Pace};
use super::transactions::Transactions;
use crate::config::Durability;
use crate::error::LogError;
use crate::log::Log;
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX};
use crate::segment::Segment;
use crate::segment::transaction_index::AbortedTransaction;

/// One run.
pub(super) struct Run<'a, L> {
    pub(super) owner: &'a L,
    pub(super) log: &'a Candidate,
    pub(super) rules: Rules,
    pub(super) aborted: Arc<Vec<AbortedTransaction>>,
    pub(super) pace: &'a mut dyn Pace,
    pub(super) report: CleanReport,
}

impl<L: LogOwner> Run<'_, L> {
    pub(super) fn segments_below(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let is_below = |segment: &&Arc<Segment>| segment.base_offset < offset;
        self.log.segments.iter().take_while(is_below).cloned().collect()
    }

    pub(super) fn transactions(&self, from: Offset, upper: Offset) -> Transactions {
        let is_near = |t: &&AbortedTransaction| t.last_offset >= from && t.first_offset < upper;
        Transactions::new(self.aborted.iter().filter(is_near).copied().collect())
    }

    /// A record goes because a newer one of its key is there, whose transaction is committed: the
    /// newer one must not be lost, nor the marker, which may lie in a segment that is not cleaned.
    pub(super) fn make_durable(&self, plan: &Assessment) -> Result<(), CleanError> {
        let view = &self.log.view;
        let synced = view.synced_offset();
        // Where only what is synced is committed, a marker that is not has decided nothing.
        let is_in_memory = self.log.config.durability == Durability::PageCache;
        let counts = if is_in_memory { view.log_end_offset() } else { plan.last_stable_offset };
        if counts <= synced {
            return Ok(());
        }
        let segments = &self.log.segments;
        let first = plan.first_dirty_offset.min(synced);
        let first = segments.partition_point(|s| s.base_offset <= first).saturating_sub(1);
        for segment in &segments[first..] {
            let path = segment.path(LOG_SUFFIX);
            if let Err(error) = segment.file().and_then(|file| file.sync()) {
                self.owner.with_log(Log::on_sync_failed);
                return Err(LogError::io(&path)(error).into());
            }
        }
        Ok(())
    }

    pub(super) fn groups(&self, segments: &[Arc<Segment>]) -> Result<Vec<usize>, CleanError> {
        let mut joinable = Vec::with_capacity(segments.len());
        for (i, segment) in segments.iter().enumerate() {
            let len = |suffix| {
                let path = segment.path(suffix);
                let len = self.log.disk.file_len(&path).map_err(LogError::io(&path));
                len.map(Option::unwrap_or_default)
            };
            joinable.push(Joinable {
                base_offset: segment.base_offset,
                end_offset: self.end_of(segments, i),
                size: segment.size(),
                index_bytes: len(INDEX_SUFFIX)?,
                time_index_bytes: len(TIME_INDEX_SUFFIX)?,
            });
        }
        Ok(group(&joinable, &self.log.config))
    }

    /// Where the next segment begins; a sealed one always has a next.
    pub(super) fn end_of(&self, segments: &[Arc<Segment>], i: usize) -> Offset {
        let all = &self.log.segments;
        let next = all.partition_point(|s| s.base_offset <= segments[i].base_offset);
        all.get(next).map_or(Offset(i64::MAX), |next| next.base_offset)
    }

    /// The new segment takes the place of the group.
    pub(super) fn swap(
        &self,
        group: &[Arc<Segment>],
        ((target, bytes_after), aborted): ((Target, u64), Vec<AbortedTransaction>),
        wall: Timestamp,
    ) -> Result<(), CleanError> {
        let new = target.finish(&aborted)?;
        let end_offset = self.end_of(group, group.len() - 1);
        let cuts = self.log.cuts;
        let is_published = false;
        let swap = Swap { old: group.to_vec(), new, end_offset, aborted, cuts, is_published };
        self.made(self.owner.with_log(|log| log.begin_swap(swap)))?;
        self.sync_dir()?;
        self.made(self.owner.with_log(|log| log.publish_swap(wall)))?;
        self.sync_dir()?;
        self.owner.with_log(Log::finish_swap)?;
        forget_cached(group, bytes_after);
        Ok(())
    }

    fn made(&self, step: Result<Step, LogError>) -> Result<(), CleanError> {
        match step? {
            Step::Made => Ok(()),
            Step::Refused => Err(CleanError::Disturbed),
        }
    }

    fn sync_dir(&self) -> Result<(), CleanError> {
        let Err(error) = self.log.disk.sync_dir(&self.log.dir) else { return Ok(()) };
        // The directory of a deleted topic is gone by now.
        let is_closed = self.owner.with_log(|log| log.compaction.is_closed);
        if is_closed {
            return Err(CleanError::Disturbed);
        }
        self.owner.with_log(Log::on_sync_failed);
        Err(LogError::io(&self.log.dir)(error).into())
    }

    pub(super) fn note_cleaned(&self) -> Result<(), CleanError> {
        let (cuts, cleaned_to) = (self.log.cuts, self.report.cleaned_to);
        self.owner.with_log(|log| {
            if log.view.cuts() != cuts {
                return Err(CleanError::Disturbed);
            }
            log.compaction.cleaned_to = Some(cleaned_to);
            Ok(())
        })
    }
}

/// Gives back as much of the page cache as the next segment will take, from replaced segments, that
/// nobody begins to read any more: memory that is in use already is cheaper than new memory.
fn forget_cached(replaced: &[Arc<Segment>], mut bytes: u64) {
    for segment in replaced {
        let part = bytes.min(segment.size());
        if let Some(file) = segment.open_file().filter(|_| part > 0) {
            file.forget_cached(0, part);
        }
        bytes -= part;
    }
}
