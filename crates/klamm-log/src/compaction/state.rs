//! What a log remembers of its compaction, and a log as a cleaner looks at it.

use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{Offset, Timestamp};

use super::plan::{Assessment, LogFacts, SegmentFacts};
use super::rules::{LastData, LastRecord};
use super::swap::Swap;
use crate::config::LogConfig;
use crate::error::LogError;
use crate::log::Log;
use crate::segment::Segment;
use crate::view::LogView;

/// What a log remembers.
#[derive(Debug, Default)]
pub(crate) struct CompactionState {
    /// Everything below was cleaned, as far as earlier runs could.
    pub(super) cleaned_to: Option<Offset>,
    /// The segment that is taking its place.
    pub(super) swap: Option<Swap>,
    /// The directory is going away.
    pub(super) is_closed: bool,
    /// A copy of the log is being made.
    pub(super) is_paused: bool,
}

impl CompactionState {
    /// Everything below is clean, as far as is known of the log's content.
    pub(crate) fn resume_at(&mut self, cleaned_to: Option<Offset>) {
        self.cleaned_to = cleaned_to;
    }

    /// The log ends at `end` now: what comes there next was never cleaned.
    pub(crate) fn on_cut(&mut self, end: Offset) {
        self.cleaned_to = self.cleaned_to.map(|offset| offset.min(end));
    }
}

/// A log that may be cleaned, as it was when its owner was asked.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) config: LogConfig,
    pub(super) view: Arc<LogView>,
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
    pub(super) cuts: u64,
    cleaned_to: Option<Offset>,
}

impl Log {
    /// This log for a cleaner; `None` if there is nothing that a cleaner might do: it is not
    /// compacted, has only its active segment, is closed, or is being changed by another.
    #[must_use]
    pub fn compaction_candidate(&self) -> Option<Candidate> {
        let state = &self.compaction;
        let segments = self.view.segments.load_full();
        let is_free = !state.is_closed && !state.is_paused;
        let is_usable = !self.failed && is_free && state.swap.is_none();
        (self.config.cleanup.compact && is_usable && segments.len() > 1).then(|| Candidate {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            config: self.config.clone(),
            view: Arc::clone(&self.view),
            segments,
            cuts: self.view.cuts(),
            cleaned_to: state.cleaned_to,
        })
    }

    /// Everything below was cleaned; `None` if nothing ever was. It belongs into the
    /// `cleaner-offset-checkpoint`.
    #[must_use]
    pub fn cleaned_to(&self) -> Option<Offset> {
        self.compaction.cleaned_to
    }

    /// What the checkpoint says of this log. An offset that it does not reach any more counts
    /// for nothing.
    pub fn resume_cleaning_at(&mut self, offset: Offset) {
        self.compaction.cleaned_to = Some(offset);
    }

    /// The log's directory is about to be renamed or removed: no cleaner touches its files again.
    pub fn close_for_deletion(&mut self) {
        self.compaction.is_closed = true;
    }

    /// From now on the log is not compacted: a copy of it is being made, and must not get a deleted
    /// record without the marker that deleted it (Kafka: `LogManager.abortAndPauseCleaning`). A run
    /// under way ends without effect.
    ///
    /// # Errors
    /// The disk failed.
    pub fn pause_compaction(&mut self) -> Result<(), LogError> {
        self.compaction.is_paused = true;
        self.settle_swap()
    }

    /// The log may be compacted again.
    pub fn resume_compaction(&mut self) {
        self.compaction.is_paused = false;
    }

    /// What is remembered of producers, if nothing below `stable` can be cut off or lost.
    pub(super) fn last_records(
        &self,
        stable: Offset,
    ) -> impl Iterator<Item = (klamm_model::ProducerId, LastRecord)> {
        self.producers.iter().map(move |(id, entry)| {
            let mut offsets = entry.batches.iter().rev().map(|batch| batch.last_offset);
            let data = match offsets.next() {
                None => LastData::Nothing,
                Some(last) if last < stable => LastData::At { last, stable: last },
                Some(last) => match offsets.find(|offset| *offset < stable) {
                    Some(stable) => LastData::At { last, stable },
                    None => LastData::Any,
                },
            };
            (id, LastRecord { data, epoch: entry.epoch })
        })
    }
}

impl Candidate {
    /// Whether the log was cut, or took another's place, since its owner was asked.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.cuts != self.view.cuts()
    }

    /// How much there is to clean. Nothing is read, but the first batches of dirty segments once
    /// if `max.compaction.lag.ms` is set.
    ///
    /// # Errors
    /// The disk failed.
    pub fn assess(
        &self,
        last_stable_offset: Offset,
        now: Timestamp,
    ) -> Result<Assessment, LogError> {
        let fact = |segment: &Arc<Segment>| SegmentFacts {
            base_offset: segment.base_offset,
            size: segment.size(),
            max_timestamp: segment.max_timestamp().0,
        };
        let segments: Vec<SegmentFacts> = self.segments.iter().map(fact).collect();
        let facts = LogFacts {
            segments: &segments,
            log_start_offset: self.view.log_start_offset(),
            log_end_offset: self.view.log_end_offset(),
            last_stable_offset,
            cleaned_to: self.cleaned_to,
            now,
        };
        let mut first_timestamps = Vec::new();
        if self.config.max_compaction_lag_ms < i64::MAX {
            let first = facts.dirty_sealed().first().map(|s| s.base_offset);
            let sealed = &self.segments[..self.segments.len() - 1];
            for segment in sealed.iter().filter(|s| first.is_some_and(|at| s.base_offset >= at)) {
                first_timestamps.extend(segment.first_timestamp()?);
            }
        }
        Ok(facts.assess(&self.config, &first_timestamps))
    }
}
