//! The segments that a start finds, oldest first: those that are vouched for are taken over, the
//! others checked, and what is behind the first that is torn is dropped.

use std::sync::Arc;

use klamm_model::{Offset, Timestamp};

use super::check::{cut, valid_bytes};
use super::load::{Indexed, Rebuilt, extend_indexes, load_active, load_sealed, resume};
use super::{Opening, RecoveryReport};
use crate::error::LogError;
use crate::listing::remove_files;
use crate::log::Log;
use crate::names::LOG_SUFFIX;
use crate::segment::active::ActiveSegment;
use crate::segment::{SaveIndexes, Segment};

/// A log while its segments are looked at.
pub(super) struct Segments<'a> {
    log: &'a mut Log,
    opening: &'a Opening,
    report: &'a mut RecoveryReport,
    /// Where producers and aborted transactions are to be found again from.
    checked_from: Option<Offset>,
    /// Up to where the indexes of the segment that was checked last were saved.
    saved_at: Option<u64>,
    kept: Vec<Arc<Segment>>,
}

impl<'a> Segments<'a> {
    pub(super) fn new(
        log: &'a mut Log,
        opening: &'a Opening,
        report: &'a mut RecoveryReport,
    ) -> Self {
        Self { log, opening, report, checked_from: None, saved_at: None, kept: Vec::new() }
    }

    /// Makes them the log's. Gives where producers and aborted transactions are to be found again
    /// from.
    pub(super) fn load(mut self, found: Vec<Arc<Segment>>) -> Result<Option<Offset>, LogError> {
        let mut end = self.log.log_start_offset();
        let mut last = None;
        let mut rest = found.into_iter().peekable();
        while let Some(segment) = rest.next() {
            let next = rest.peek().map(|next| next.base_offset);
            self.kept.push(Arc::clone(&segment));
            if let Some(next) = next
                && is_settled(Some(next), self.opening)
            {
                let interval_bytes = self.log.config.index_interval_bytes;
                if load_sealed(&segment, interval_bytes)? == Indexed::Anew {
                    self.log.note_indexes(&segment);
                }
                end = next;
                continue;
            }
            let rebuilt = match next {
                None if is_settled(None, self.opening) => self.load_last(&segment)?,
                _ => self.recover(&segment)?,
            };
            end = rebuilt.end_offset;
            last = Some(rebuilt);
            if rebuilt.was_cut || next.is_some_and(|next| self.has_gap(end, next)) {
                if next.is_some_and(|next| next < self.opening.recovery_point) {
                    return Err(damaged(&segment, segment.size(), self.opening.recovery_point));
                }
                break;
            }
        }
        let (active, sealed) = self.kept.split_last().expect("there was at least one");
        let last = last.expect("the last one was walked through");
        sealed.iter().for_each(|segment| segment.drop_indexes());
        let since = self.log.active.since();
        self.log.active = ActiveSegment::new(Arc::clone(active), since);
        self.log.active.resume(last.index_interval, last.first_timestamp);
        if let Some(position) = self.saved_at {
            self.log.active.on_saved_at(position);
        }
        self.log.view.segments.store(Arc::new(self.kept.clone()));
        self.log.view.publish_end(end);
        self.drop_lost(&rest.collect::<Vec<_>>())?;
        Ok(self.checked_from)
    }

    /// A segment ends where the next begins, but for compaction by Kafka. Bytes that never reached
    /// the disk leave a gap without a tear.
    fn has_gap(&self, end: Offset, next: Offset) -> bool {
        let may_be_compacted =
            self.log.config.cleanup.compact && self.opening.cleaned_to > Some(end);
        next < end || (next > end && !may_be_compacted)
    }

    /// The last one, after an orderly stop.
    fn load_last(&mut self, segment: &Segment) -> Result<Rebuilt, LogError> {
        let (rebuilt, indexed) = load_active(segment, self.log.config.index_interval_bytes)?;
        if indexed == Indexed::Anew {
            self.log.note_indexes(segment);
        }
        match is_end_as_recorded(rebuilt.end_offset, self.opening) {
            true => Ok(rebuilt),
            false => self.recover(segment),
        }
    }

    fn drop_lost(&mut self, lost: &[Arc<Segment>]) -> Result<(), LogError> {
        let log = &self.log;
        // Newest first: a crash meanwhile leaves no gap.
        for lost in lost.iter().rev() {
            self.report.bytes_cut += lost.size();
            tracing::warn!(file = %lost.path(LOG_SUFFIX).display(), bytes = lost.size(), "a segment behind a torn one was dropped");
            remove_files(log.disk.as_ref(), lost)?;
            // Each is gone before the next, and none comes back behind what is appended next.
            log.disk.sync_dir(&log.dir).map_err(LogError::io(&log.dir))?;
        }
        Ok(())
    }

    /// Checks every batch of a segment that is not vouched for, and cuts it where the first is
    /// wrong. From there on producers and aborted transactions are to be found again.
    fn recover(&mut self, segment: &Segment) -> Result<Rebuilt, LogError> {
        let mark = self.opening.mark.filter(|mark| mark.segment_base == segment.base_offset);
        let size = segment.size();
        let resumed = match mark {
            Some(mark) => resume(segment, mark)?,
            None => None,
        };
        if let Some(mark) = mark.filter(|_| resumed.is_none()) {
            tracing::warn!(file = %segment.path(LOG_SUFFIX).display(), ?mark, "the recovery checkpoint does not fit the files: the segment is checked as a whole");
        }
        segment.publish_size(size);
        let from = resumed.map_or(0, |_| mark.map_or(0, |mark| mark.position));
        let mut rebuilt = resumed.unwrap_or_else(|| Rebuilt::empty(segment));
        let (valid, end) = valid_bytes(segment, (from, rebuilt.end_offset), &mut self.log.epochs)?;
        self.report.segments_checked += usize::from(resumed.is_none() || from < size);
        self.report.bytes_checked += valid - from;
        rebuilt.was_cut = valid < size;
        if rebuilt.was_cut {
            let vouched = mark.filter(|mark| valid < mark.position && mark.position <= size);
            let vouched = vouched.map_or(Offset(-1), |mark| mark.offset);
            let synced = self.opening.recovery_point.max(vouched);
            if end < synced {
                return Err(damaged(segment, valid, synced));
            }
            self.report.bytes_cut += size - valid;
            cut(segment, valid)?;
        }
        let base = Some(segment.base_offset);
        let (how, checked_from) = if resumed.is_some() {
            self.log.mark = mark;
            (SaveIndexes::New, mark.and_then(|mark| mark.snapshot).max(base))
        } else {
            segment.publish_timestamp(Timestamp(-1), Offset(-1));
            segment.drop_indexes();
            (SaveIndexes::Whole, base)
        };
        self.saved_at = Some(segment.last_index_position());
        let interval_bytes = self.log.config.index_interval_bytes;
        extend_indexes(segment, (from, interval_bytes), &mut rebuilt)?;
        segment.save_indexes(how)?;
        self.log.note_indexes(segment);
        if end > self.opening.recovery_point {
            // The last life may have ended before it synced what is whole.
            self.log.unsynced.path(segment.path(LOG_SUFFIX), Some(segment.base_offset));
        }
        self.checked_from.get_or_insert(checked_from.unwrap_or(segment.base_offset));
        Ok(rebuilt)
    }
}

/// Whether a segment need not be checked, by where the next one begins. One that was sealed at
/// the recovery point may have been sealed after the sync: then its batches are on the disk, its
/// indexes perhaps not. What lies before a mark's segment was synced with its indexes.
fn is_settled(next: Option<Offset>, opening: &Opening) -> bool {
    let is_before = |next| {
        next < opening.recovery_point || opening.mark.is_some_and(|mark| next <= mark.segment_base)
    };
    opening.was_clean || next.is_some_and(is_before)
}

/// Whether a log ends where it was closed. Only headers were read so far, and a header that is
/// damaged lies about the end.
fn is_end_as_recorded(end: Offset, opening: &Opening) -> bool {
    opening.recovery_point == Offset::ZERO || opening.recovery_point == end
}

/// Damage where everything was on the disk: not what a crash leaves, and nothing to cut silently.
fn damaged(segment: &Segment, position: u64, synced: Offset) -> LogError {
    let path = segment.path(LOG_SUFFIX);
    let what = format!(
        "what is there is no batch, though everything below offset {synced} was on the disk"
    );
    LogError::Corrupt { path, position, what }
}
