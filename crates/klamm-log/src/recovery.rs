//! Opening a log: after an orderly stop almost nothing is read; after a crash what came after the
//! last mark is checked ([`RecoveryMark`]), or without one every segment from the recovery point
//! on, and a torn tail is cut.
//!
//! What was synced cannot be torn. Damage below the recovery point or a mark is damage: the log is
//! not opened and the error says where it is and what helps. Above them a crash may have left
//! anything.

use std::path::Path;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView};

use crate::checkpoint::read_leader_epochs;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::index::{IndexEntry, TimeIndexEntry, relative};
use crate::listing::{list_segments, remove_files};
use crate::log::Log;
use crate::mark::RecoveryMark;
use crate::names::{LEADER_EPOCHS, LOG_SUFFIX};
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::{HeaderScan, Indexes, SaveIndexes, Segment};

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
            false => log.load_segments(found, opening, &mut report)?,
        };
        log.finish_opening(opening, checked_from, wall)?;
        if checked_from.is_none() {
            log.saved_at = log.active_size;
        }
        if report.bytes_cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes_cut = report.bytes_cut, log_end_offset = %log.log_end_offset(), "a torn tail was cut");
        }
        Ok((log, report))
    }

    /// Gives where producers and aborted transactions are to be found again from.
    fn load_segments(
        &mut self,
        found: Vec<Arc<Segment>>,
        opening: Opening,
        report: &mut RecoveryReport,
    ) -> Result<Option<Offset>, LogError> {
        let mut kept: Vec<Arc<Segment>> = Vec::with_capacity(found.len());
        let mut end = self.log_start_offset();
        let mut checked_from = None;
        let mut rest = found.into_iter().peekable();
        while let Some(segment) = rest.next() {
            let next = rest.peek().map(|next| next.base_offset);
            let is_settled = is_settled(next, &opening);
            let rebuilt = match next {
                Some(next) if is_settled => {
                    if load_sealed(&segment, self.config.index_interval_bytes)? == Indexed::Anew {
                        self.note_indexes(&segment);
                    }
                    end = next;
                    kept.push(segment);
                    continue;
                }
                None if is_settled => {
                    let (rebuilt, indexed) =
                        load_active(&segment, self.config.index_interval_bytes)?;
                    if indexed == Indexed::Anew {
                        self.note_indexes(&segment);
                    }
                    if is_end_as_recorded(rebuilt.end_offset, &opening) {
                        rebuilt
                    } else {
                        let (rebuilt, from) = self.recover_segment(&segment, &opening, report)?;
                        checked_from.get_or_insert(from);
                        rebuilt
                    }
                }
                _ => {
                    let (rebuilt, from) = self.recover_segment(&segment, &opening, report)?;
                    checked_from.get_or_insert(from);
                    rebuilt
                }
            };
            end = rebuilt.end_offset;
            self.bytes_since_index = rebuilt.bytes_since_index;
            self.first_timestamp = rebuilt.first_timestamp;
            kept.push(Arc::clone(&segment));
            // A segment ends where the next begins, but for compaction by Kafka. Bytes that never
            // reached the disk leave a gap without a tear.
            let may_be_compacted = self.config.cleanup.compact && opening.cleaned_to > Some(end);
            let has_gap = next.is_some_and(|next| next < end || (next > end && !may_be_compacted));
            if rebuilt.was_cut || has_gap {
                if next.is_some_and(|next| next < opening.recovery_point) {
                    return Err(damaged(&segment, segment.size(), opening.recovery_point));
                }
                break;
            }
        }
        let (active, sealed) = kept.split_last().expect("there was at least one");
        sealed.iter().for_each(|segment| segment.drop_indexes());
        self.active = Arc::clone(active);
        self.active_size = active.size();
        self.view.segments.store(Arc::new(kept));
        self.view.publish_end(end);
        self.drop_lost(&rest.collect::<Vec<_>>(), report)?;
        Ok(checked_from)
    }

    fn drop_lost(
        &mut self,
        lost: &[Arc<Segment>],
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        // Newest first: a crash meanwhile leaves no gap.
        for lost in lost.iter().rev() {
            report.bytes_cut += lost.size();
            tracing::warn!(file = %lost.path(LOG_SUFFIX).display(), bytes = lost.size(), "a segment behind a torn one was dropped");
            remove_files(self.disk.as_ref(), lost)?;
            // Each is gone before the next, and none comes back behind what is appended next.
            self.disk.sync_dir(&self.dir).map_err(LogError::io(&self.dir))?;
        }
        Ok(())
    }

    /// Checks every batch of a segment that is not vouched for, and cuts it where the first is
    /// wrong. Gives from where on producers and aborted transactions are to be found again.
    fn recover_segment(
        &mut self,
        segment: &Segment,
        opening: &Opening,
        report: &mut RecoveryReport,
    ) -> Result<(Rebuilt, Offset), LogError> {
        let mark = opening.mark.filter(|mark| mark.segment_base == segment.base_offset);
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
        let (valid, end) = valid_bytes(segment, (from, rebuilt.end_offset), &mut self.epochs)?;
        report.segments_checked += usize::from(resumed.is_none() || from < size);
        report.bytes_checked += valid - from;
        rebuilt.was_cut = valid < size;
        if rebuilt.was_cut {
            let vouched = mark.filter(|mark| valid < mark.position && mark.position <= size);
            let vouched = vouched.map_or(Offset(-1), |mark| mark.offset);
            if end < opening.recovery_point.max(vouched) {
                return Err(damaged(segment, valid, opening.recovery_point.max(vouched)));
            }
            report.bytes_cut += size - valid;
            cut(segment, valid)?;
        }
        let base = Some(segment.base_offset);
        let (how, checked_from) = if resumed.is_some() {
            self.mark = mark;
            (SaveIndexes::New, mark.and_then(|mark| mark.snapshot).max(base))
        } else {
            segment.publish_timestamp(Timestamp(-1), Offset(-1));
            segment.drop_indexes();
            (SaveIndexes::Whole, base)
        };
        self.saved_at = segment.last_index_position();
        let interval = self.config.index_interval_bytes;
        extend_indexes(segment, (from, interval), &mut rebuilt)?;
        segment.save_indexes(how)?;
        self.note_indexes(segment);
        if end > opening.recovery_point {
            // The last life may have ended before it synced what is whole.
            self.unsynced.path(segment.path(LOG_SUFFIX), Some(segment.base_offset));
        }
        Ok((rebuilt, checked_from.unwrap_or(segment.base_offset)))
    }

    /// What a life before this one wrote may be in the page cache only: names, snapshots and the
    /// topic's id are synced with the next ticket.
    fn note_unsynced(&mut self, checked_from: Option<Offset>) -> Result<(), LogError> {
        self.note_new_dir();
        let from = checked_from.unwrap_or(self.log_end_offset());
        for (offset, path) in self.snapshots()? {
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
        let indexes = self.active.indexes.read().expect("no holder of this lock can panic");
        let saved = indexes.as_ref().map(|i| (i.offsets_saved, i.times_saved));
        (mark.offset, mark.segment_base) == (self.log_end_offset(), self.active.base_offset)
            && mark.position == self.active_size
            && saved == Some((mark.index_entries, mark.time_entries))
    }

    fn finish_opening(
        &mut self,
        opening: Opening,
        checked_from: Option<Offset>,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        let end = self.log_end_offset();
        self.active_since = wall;
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

/// What a walk over a segment found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebuilt {
    pub(crate) end_offset: Offset,
    pub(crate) bytes_since_index: u64,
    pub(crate) first_timestamp: Option<Timestamp>,
    was_cut: bool,
}

impl Rebuilt {
    fn empty(segment: &Segment) -> Self {
        Self {
            end_offset: segment.base_offset,
            bytes_since_index: 0,
            first_timestamp: None,
            was_cut: false,
        }
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

fn cut(segment: &Segment, valid: u64) -> Result<(), LogError> {
    segment.publish_size(valid);
    let cut = || {
        let file = segment.file()?;
        file.set_len(valid)?;
        file.sync()
    };
    cut().map_err(LogError::io(&segment.path(LOG_SUFFIX)))
}

/// Takes a segment over as a mark says, if the files agree: they are long enough, and from the
/// last index entry on the batches' headers lead to where the mark ends.
fn resume(segment: &Segment, mark: RecoveryMark) -> Result<Option<Rebuilt>, LogError> {
    if segment.size() < mark.position {
        return Ok(None);
    }
    let (mut offsets, mut times) = (segment.read_index()?, segment.read_time_index()?);
    if offsets.len() < mark.index_entries || times.len() < mark.time_entries {
        return Ok(None);
    }
    offsets.truncate(mark.index_entries);
    times.truncate(mark.time_entries);
    if offsets.last().is_some_and(|last| u64::from(last.position) >= mark.position) {
        return Ok(None);
    }
    segment.publish_size(mark.position);
    match load_behind_indexes(segment, offsets, times) {
        Ok(resumed) => Ok(resumed.filter(|rebuilt| rebuilt.end_offset == mark.offset)),
        Err(LogError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether index files were written, and are to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexed {
    AsFound,
    Anew,
}

/// A segment that is trusted. Its indexes are looked at from the end only; what they do not say,
/// or say wrongly, is found out from the batches.
fn load_sealed(segment: &Segment, index_interval_bytes: u64) -> Result<Indexed, LogError> {
    if segment.size() == 0 {
        return Ok(Indexed::AsFound);
    }
    let last = segment.last_time_entry()?;
    if let Some(last) = last
        && segment.has_plausible_index(index_interval_bytes)?
    {
        let offset = segment.base_offset.plus(i64::from(last.relative_offset));
        segment.publish_timestamp(last.timestamp, offset);
        return Ok(Indexed::AsFound);
    }
    rebuild_segment(segment, index_interval_bytes)?;
    let is_large_batch_alone = last.is_some() && segment.index_is_empty();
    // Compaction may leave nothing but batches without records, which have no time.
    let has_no_times = segment.max_timestamp().0.0 < 0 && segment.index_is_empty();
    let mut indexed = Indexed::AsFound;
    if !is_large_batch_alone && !has_no_times {
        tracing::warn!(file = %segment.path(LOG_SUFFIX).display(), "the indexes of a segment are missing or torn: they are made anew");
        segment.save_indexes(SaveIndexes::Whole)?;
        indexed = Indexed::Anew;
    }
    segment.drop_indexes();
    Ok(indexed)
}

/// The active segment after an orderly stop: its indexes are in their files, and only what is
/// behind the last entry is read. Whatever does not fit together is found out from the batches.
fn load_active(
    segment: &Segment,
    index_interval_bytes: u64,
) -> Result<(Rebuilt, Indexed), LogError> {
    let offsets = segment.read_index()?;
    let times = segment.read_time_index()?;
    let is_plausible = offsets.last().is_none_or(|last| u64::from(last.position) < segment.size());
    let has_indexes = segment.size() <= index_interval_bytes || !offsets.is_empty();
    if is_plausible && has_indexes && !times.is_empty() {
        match load_behind_indexes(segment, offsets, times) {
            Ok(Some(rebuilt)) => return Ok((rebuilt, Indexed::AsFound)),
            Ok(None) | Err(LogError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let rebuilt = rebuild_segment(segment, index_interval_bytes)?;
    segment.save_indexes(SaveIndexes::Whole)?;
    Ok((rebuilt, Indexed::Anew))
}

/// `None` if the indexes and the batches contradict each other.
fn load_behind_indexes(
    segment: &Segment,
    offsets: Vec<IndexEntry>,
    times: Vec<TimeIndexEntry>,
) -> Result<Option<Rebuilt>, LogError> {
    let last = offsets.last().copied();
    let first = HeaderScan::new(segment, 0).next()?.map(|found| found.header.max_timestamp);
    let from = last.map_or(0, |last| u64::from(last.position));
    if let Some(last_time) = times.last() {
        let offset = segment.base_offset.plus(i64::from(last_time.relative_offset));
        segment.publish_timestamp(last_time.timestamp, offset);
    }
    let mut end_offset = segment.base_offset;
    let mut scan = HeaderScan::new(segment, from);
    while let Some(found) = scan.next()? {
        let indexed = last.filter(|_| found.position == from);
        let base = segment.base_offset;
        if indexed.is_some_and(|entry| {
            found.header.base_offset > base.plus(i64::from(entry.relative_offset))
        }) || found.header.base_offset < base
        {
            return Ok(None);
        }
        end_offset = found.header.next_offset();
        segment.note_timestamp(&found.header);
    }
    let (_, offset) = segment.max_timestamp();
    if offset >= end_offset {
        return Ok(None);
    }
    let (offsets_saved, times_saved) = (offsets.len(), times.len());
    *segment.indexes.write().expect("no holder of this lock can panic") =
        Some(Indexes { offsets, times, offsets_saved, times_saved });
    let bytes_since_index = segment.size() - from;
    Ok(Some(Rebuilt { end_offset, bytes_since_index, first_timestamp: first, was_cut: false }))
}

/// Builds the indexes of a segment from its batches.
pub(crate) fn rebuild_segment(
    segment: &Segment,
    index_interval_bytes: u64,
) -> Result<Rebuilt, LogError> {
    let mut rebuilt = Rebuilt::empty(segment);
    segment.publish_timestamp(Timestamp(-1), Offset(-1));
    segment.drop_indexes();
    extend_indexes(segment, (0, index_interval_bytes), &mut rebuilt)?;
    Ok(rebuilt)
}

/// Adds the batches from a position on to the indexes of a segment.
fn extend_indexes(
    segment: &Segment,
    (from, index_interval_bytes): (u64, u64),
    rebuilt: &mut Rebuilt,
) -> Result<(), LogError> {
    let indexes = segment.indexes.write().expect("no holder of this lock can panic").take();
    let mut indexes = indexes.unwrap_or_default();
    let mut scan = HeaderScan::new(segment, from);
    while let Some(found) = scan.next()? {
        let header = &found.header;
        segment.note_timestamp(header);
        rebuilt.first_timestamp.get_or_insert(header.max_timestamp);
        if rebuilt.bytes_since_index > index_interval_bytes {
            rebuilt.bytes_since_index = 0;
            add_entries(segment, &mut indexes, header, found.position);
        }
        rebuilt.bytes_since_index += header.size_in_bytes() as u64;
        rebuilt.end_offset = header.next_offset();
    }
    add_time_entry(segment, &mut indexes);
    *segment.indexes.write().expect("no holder of this lock can panic") = Some(indexes);
    Ok(())
}

pub(crate) fn add_entries(
    segment: &Segment,
    indexes: &mut Indexes,
    header: &BatchHeader,
    position: u64,
) {
    let relative_offset = relative(header.last_offset(), segment.base_offset);
    if let (Some(relative_offset), Ok(position)) = (relative_offset, u32::try_from(position)) {
        indexes.offsets.push(IndexEntry { relative_offset, position });
        add_time_entry(segment, indexes);
    }
}

pub(crate) fn add_time_entry(segment: &Segment, indexes: &mut Indexes) {
    let (timestamp, offset) = segment.max_timestamp();
    let is_new = indexes.times.last().is_none_or(|last| timestamp > last.timestamp);
    if let Some(relative_offset) = relative(offset, segment.base_offset)
        && timestamp.0 >= 0
        && is_new
    {
        indexes.times.push(TimeIndexEntry { timestamp, relative_offset });
    }
}

/// How many bytes of a segment are whole batches with right checksums and growing offsets, and
/// where they end. What is before `position`, where `next_offset` is to come, is not looked at.
fn valid_bytes(
    segment: &Segment,
    (mut position, mut next_offset): (u64, Offset),
    epochs: &mut LeaderEpochs,
) -> Result<(u64, Offset), LogError> {
    /// Read at once; a batch that is larger is read as a whole.
    const CHUNK_BYTES: usize = 1024 * 1024;
    let size = segment.size();
    if position == size {
        return Ok((position, next_offset));
    }
    let path = segment.path(LOG_SUFFIX);
    let file = segment.file().map_err(LogError::io(&path))?;
    let chunk = usize::try_from(size - position).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut buffer = vec![0; chunk];
    let mut last_position = position;
    loop {
        let n = file.read_at(&mut buffer, position).map_err(LogError::io(&path))?;
        let mut used = 0;
        while let Ok(batch) = BatchView::parse(&buffer[used..n]) {
            let is_whole = is_seeded(SeededBug::CrcSkipped) || batch.check_crc().is_ok();
            if !is_whole || batch.header().base_offset < next_offset {
                return Ok((position + used as u64, next_offset));
            }
            next_offset = batch.header().next_offset();
            epochs.believe(batch.header().partition_leader_epoch, batch.header().base_offset);
            last_position = position + used as u64;
            used += batch.header().size_in_bytes();
        }
        position += used as u64;
        if used > 0 && n == buffer.len() {
            continue;
        }
        // Nothing whole at the front: a batch larger than the buffer, or the end.
        let needed =
            BatchHeader::parse(&buffer[used..n]).map_or(0, |header| header.size_in_bytes());
        let is_there = needed > buffer.len() && position + needed as u64 <= size;
        if !is_there || used > 0 {
            if is_seeded(SeededBug::RecoveryCutsValidBatch) && position > 0 {
                return Ok((last_position, next_offset));
            }
            return Ok((position, next_offset));
        }
        buffer.resize(needed, 0);
    }
}
