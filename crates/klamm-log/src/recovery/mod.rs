//! Opening a log: after an orderly stop almost nothing is read; after a crash what came after the
//! last mark is checked ([`RecoveryMark`]), or without one every segment from the recovery point
//! on, and a torn tail is cut.
//!
//! What was synced cannot be torn. Damage below the recovery point or a mark is damage: the log is
//! not opened and the error says where it is and what helps. Above them a crash may have left
//! anything.

mod check;
mod load;
mod segments;

use std::path::Path;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{Offset, Timestamp};

use crate::checkpoint::read_leader_epochs;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::listing::list_segments;
use crate::log::Log;
use crate::mark::RecoveryMark;
use crate::names::LEADER_EPOCHS;
use crate::segment::search::HeaderScan;

pub(crate) use load::rebuild_segment;
use segments::Segments;

/// What is known of a log before it is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Whether the last life ended in order: then the files are as they should be.
    pub was_clean: bool,
    /// Everything below is on the disk for certain.
    pub recovery_point: Offset,
    /// From the checkpoint; the log may start later.
    pub log_start_offset: Offset,
    /// What was on the disk for certain; believed if the files agree.
    pub mark: Option<RecoveryMark>,
    /// How far compaction has come, by its checkpoint. Kafka's may leave gaps between segments
    /// below it; any other gap is a loss.
    pub cleaned_to: Option<Offset>,
}

/// What opening a log took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments whose batches were all checked.
    pub segments_checked: usize,
    /// Bytes of them.
    pub bytes_checked: u64,
    /// Bytes that were cut off the end.
    pub bytes_cut: u64,
}

impl Log {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        opening: Opening,
        wall: Timestamp,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let found = list_segments(disk, dir)?;
        let start = found.first().map_or(opening.log_start_offset, |segment| segment.base_offset);
        let mut log = Self::empty(disk, dir, config, start, wall);
        let mut report = RecoveryReport::default();
        let path = dir.join(LEADER_EPOCHS);
        let epochs = read_leader_epochs(disk.as_ref(), &path)?;
        log.epochs = LeaderEpochs::new(epochs.unwrap_or_default());
        if found.is_empty() {
            // It may never have been synced.
            log.lacks_synced_metadata = true;
            log.note_new_dir();
        }
        let checked_from = match found.is_empty() {
            true => {
                // Of a log that is gone.
                log.remove_snapshots_after(Offset(-1))?;
                None
            }
            false => Segments::new(&mut log, &opening, &mut report).load(found)?,
        };
        log.finish_opening(opening, checked_from, wall)?;
        if report.bytes_cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes_cut = report.bytes_cut, log_end_offset = %log.log_end_offset(), "a torn tail was cut");
        }
        Ok((log, report))
    }

    /// What a life before this one wrote may be in the page cache only: names, snapshots and the
    /// topic's id are synced with the next ticket.
    fn note_unsynced(&mut self, checked_from: Option<Offset>) -> Result<(), LogError> {
        self.note_new_dir();
        let from = checked_from.unwrap_or(self.log_end_offset());
        for (offset, path) in self.snapshot_files().list()? {
            if offset >= from {
                self.unsynced.path(path, Some(offset));
            }
        }
        Ok(())
    }

    /// The epochs of batches that are before all known ones. The file may say more than the
    /// checkpoint of the log's start: then records are there again that it has forgotten.
    fn add_epochs_of_first_batches(&mut self) -> Result<(), LogError> {
        let known = self.epochs.entries().to_vec();
        let known_from = known.first().map_or(Offset(i64::MAX), |(_, start)| *start);
        if known_from <= self.log_start_offset() {
            return Ok(());
        }
        let mut epochs = LeaderEpochs::cleared();
        'all: for segment in self.view.segments.load().iter() {
            let mut scan = HeaderScan::new(segment, 0);
            while let Some(found) = scan.next()? {
                if found.header.base_offset >= known_from {
                    break 'all;
                }
                epochs.assign(found.header.partition_leader_epoch, found.header.base_offset);
            }
        }
        known.into_iter().for_each(|(epoch, start)| epochs.assign(epoch, start));
        self.epochs = epochs;
        Ok(())
    }

    /// Whether a mark says exactly what was found.
    fn is_at_end(&self, mark: &RecoveryMark) -> bool {
        let saved = self.active.segment.with_indexes(|i| (i.offsets_saved, i.times_saved));
        (mark.offset, mark.segment_base) == (self.log_end_offset(), self.active.segment.base_offset)
            && mark.position == self.active.written
            && saved == Some((mark.index_entries, mark.time_entries))
    }

    fn finish_opening(
        &mut self,
        opening: Opening,
        checked_from: Option<Offset>,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        let end = self.log_end_offset();
        if end < opening.log_start_offset {
            // All that is here was deleted by its offset (Kafka does the same).
            tracing::warn!(dir = %self.dir.display(), log_end_offset = %end, log_start_offset = %opening.log_start_offset, "the log ends before its start: it begins anew");
            return self.start_anew(opening.log_start_offset, wall);
        }
        self.epochs.truncate_from_end(end);
        let start = opening.log_start_offset.max(self.log_start_offset());
        self.view.publish_start(start);
        self.add_epochs_of_first_batches()?;
        self.epochs.truncate_from_start(start);
        self.view.epochs.store(self.epochs.clone().into());
        self.remove_snapshots_after(end)?;
        self.load_aborted(checked_from)?;
        self.reload_producers(checked_from)?;
        if opening.recovery_point == Offset::ZERO {
            // A log without a record is not synced even at an orderly stop.
            self.lacks_synced_metadata = true;
            self.note_new_dir();
        }
        if opening.was_clean {
            self.mark = opening.mark.filter(|mark| self.is_at_end(mark));
        } else {
            self.note_unsynced(checked_from)?;
        }
        let vouched = self.mark.map_or(Offset::ZERO, |mark| mark.offset);
        let synced = match opening.was_clean {
            true => end,
            false => opening.recovery_point.max(vouched).min(end),
        };
        self.view.publish_synced(synced);
        Ok(())
    }
}
