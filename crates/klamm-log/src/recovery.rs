//! Opening a log: after an orderly stop almost nothing is read; after a crash everything from the
//! recovery point on is checked, and a torn tail is cut.
//!
//! Below the recovery point nothing is ever cut: what was synced cannot be torn, so damage there
//! is damage, and is reported when it is read. Above it a crash may have left anything.

use std::path::Path;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{LeaderEpoch, Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView};

use crate::checkpoint::read_leader_epochs;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::index::{IndexEntry, TimeIndexEntry, relative};
use crate::listing::{list_segments, remove_files};
use crate::log::Log;
use crate::names::{LEADER_EPOCHS, LOG_SUFFIX};
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
        log.epochs = LeaderEpochs::new(epochs.clone().unwrap_or_default());
        let checked_from = match found.is_empty() {
            true => None,
            false => log.load_segments(found, opening, &mut report)?,
        };
        if epochs.is_none() {
            log.epochs_from_batches()?;
        }
        log.finish_opening(opening, checked_from, wall)?;
        if report.bytes_cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes_cut = report.bytes_cut, log_end_offset = %log.log_end_offset(), "a torn tail was cut");
        }
        Ok((log, report))
    }

    /// Gives the base of the first segment whose batches were all checked.
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
            // A segment that was sealed at the recovery point may have been sealed after the sync:
            // then its batches are on the disk, its indexes perhaps not.
            let is_settled =
                opening.was_clean || next.is_some_and(|next| next < opening.recovery_point);
            let rebuilt = match next {
                Some(next) if is_settled => {
                    load_sealed(&segment, self.config.index_interval_bytes)?;
                    end = next;
                    kept.push(segment);
                    continue;
                }
                None if is_settled => load_active(&segment, self.config.index_interval_bytes)?,
                _ => {
                    checked_from.get_or_insert(segment.base_offset);
                    self.recover_segment(&segment, report)?
                }
            };
            end = rebuilt.end_offset;
            self.bytes_since_index = rebuilt.bytes_since_index;
            self.first_timestamp = rebuilt.first_timestamp;
            kept.push(segment);
            // A segment ends where the next begins, but for compaction. Bytes that never reached
            // the disk leave a gap without a tear.
            let has_gap = next.is_some_and(|next| next != end) && !self.config.cleanup.compact;
            if rebuilt.was_cut || has_gap {
                break;
            }
        }
        let (active, sealed) = kept.split_last().expect("there was at least one");
        sealed.iter().for_each(|segment| segment.drop_indexes());
        self.active = Arc::clone(active);
        self.active_size = active.size();
        self.view.segments.store(Arc::new(kept));
        self.view.publish_end(end);
        // Newest first: a crash meanwhile leaves no gap.
        let lost: Vec<Arc<Segment>> = rest.collect();
        for lost in lost.into_iter().rev() {
            report.bytes_cut += lost.size();
            tracing::warn!(file = %lost.path(LOG_SUFFIX).display(), bytes = lost.size(), "a segment behind a torn one was dropped");
            remove_files(self.disk.as_ref(), &lost)?;
            // Their names must not come back behind what is appended next.
            self.unsynced.dir(self.dir.clone());
        }
        Ok(checked_from)
    }

    /// Checks every batch of a segment and cuts it where the first is wrong.
    fn recover_segment(
        &mut self,
        segment: &Segment,
        report: &mut RecoveryReport,
    ) -> Result<Rebuilt, LogError> {
        let valid = valid_bytes(segment, &mut self.epochs)?;
        report.segments_checked += 1;
        report.bytes_checked += valid;
        let was_cut = valid < segment.size();
        if was_cut {
            report.bytes_cut += segment.size() - valid;
            let path = segment.path(LOG_SUFFIX);
            segment.publish_size(valid);
            let cut = || {
                let file = segment.file()?;
                file.set_len(valid)?;
                file.sync()
            };
            cut().map_err(LogError::io(&path))?;
        }
        let mut rebuilt = rebuild_segment(segment, self.config.index_interval_bytes)?;
        rebuilt.was_cut = was_cut;
        segment.save_indexes(SaveIndexes::Whole)?;
        Ok(rebuilt)
    }

    fn epochs_from_batches(&mut self) -> Result<(), LogError> {
        for segment in self.view.segments.load().iter() {
            let mut scan = HeaderScan::new(segment, 0);
            while let Some(found) = scan.next()? {
                self.epochs.assign(found.header.partition_leader_epoch, found.header.base_offset);
            }
        }
        Ok(())
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
        self.epochs.truncate_from_start(start);
        self.view.epochs.store(self.epochs.clone().into());
        self.remove_snapshots_after(end)?;
        self.load_aborted(checked_from)?;
        self.reload_producers(checked_from)?;
        let synced = if opening.was_clean { end } else { opening.recovery_point.min(end) };
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

/// A segment that is trusted. Its indexes are looked at from the end only; what they do not say,
/// or say wrongly, is found out from the batches.
fn load_sealed(segment: &Segment, index_interval_bytes: u64) -> Result<(), LogError> {
    if segment.size() == 0 {
        return Ok(());
    }
    let last = segment.last_time_entry()?;
    if let Some(last) = last
        && segment.has_plausible_index(index_interval_bytes)?
    {
        let offset = segment.base_offset.plus(i64::from(last.relative_offset));
        segment.publish_timestamp(last.timestamp, offset);
        return Ok(());
    }
    rebuild_segment(segment, index_interval_bytes)?;
    let is_large_batch_alone = last.is_some() && segment.index_is_empty();
    if !is_large_batch_alone {
        tracing::warn!(file = %segment.path(LOG_SUFFIX).display(), "the indexes of a segment are missing or torn: they are made anew");
        segment.save_indexes(SaveIndexes::Whole)?;
    }
    segment.drop_indexes();
    Ok(())
}

/// The active segment after an orderly stop: its indexes are in their files, and only what is
/// behind the last entry is read. Whatever does not fit together is found out from the batches.
fn load_active(segment: &Segment, index_interval_bytes: u64) -> Result<Rebuilt, LogError> {
    let offsets = segment.read_index()?;
    let times = segment.read_time_index()?;
    let is_plausible = offsets.last().is_none_or(|last| u64::from(last.position) < segment.size());
    let has_indexes = segment.size() <= index_interval_bytes || !offsets.is_empty();
    if is_plausible && has_indexes && !times.is_empty() {
        match load_behind_indexes(segment, offsets, times) {
            Ok(Some(rebuilt)) => return Ok(rebuilt),
            Ok(None) | Err(LogError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let rebuilt = rebuild_segment(segment, index_interval_bytes)?;
    segment.save_indexes(SaveIndexes::Whole)?;
    Ok(rebuilt)
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
    let mut indexes = Indexes::default();
    let mut rebuilt = Rebuilt {
        end_offset: segment.base_offset,
        bytes_since_index: 0,
        first_timestamp: None,
        was_cut: false,
    };
    segment.publish_timestamp(Timestamp(-1), Offset(-1));
    let mut scan = HeaderScan::new(segment, 0);
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
    Ok(rebuilt)
}

fn add_entries(segment: &Segment, indexes: &mut Indexes, header: &BatchHeader, position: u64) {
    let relative_offset = relative(header.last_offset(), segment.base_offset);
    if let (Some(relative_offset), Ok(position)) = (relative_offset, u32::try_from(position)) {
        indexes.offsets.push(IndexEntry { relative_offset, position });
        add_time_entry(segment, indexes);
    }
}

fn add_time_entry(segment: &Segment, indexes: &mut Indexes) {
    let (timestamp, offset) = segment.max_timestamp();
    let is_new = indexes.times.last().is_none_or(|last| timestamp > last.timestamp);
    if let Some(relative_offset) = relative(offset, segment.base_offset)
        && timestamp.0 >= 0
        && is_new
    {
        indexes.times.push(TimeIndexEntry { timestamp, relative_offset });
    }
}

/// How many bytes at the start of a segment are whole batches with right checksums and growing
/// offsets.
fn valid_bytes(segment: &Segment, epochs: &mut LeaderEpochs) -> Result<u64, LogError> {
    /// Read at once; a batch that is larger is read as a whole.
    const CHUNK_BYTES: usize = 1024 * 1024;
    let path = segment.path(LOG_SUFFIX);
    let file = segment.file().map_err(LogError::io(&path))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut position, mut next_offset) = (0_u64, segment.base_offset);
    loop {
        let n = file.read_at(&mut buffer, position).map_err(LogError::io(&path))?;
        let mut used = 0;
        while let Ok(batch) = BatchView::parse(&buffer[used..n]) {
            if batch.check_crc().is_err() || batch.header().base_offset < next_offset {
                return Ok(position + used as u64);
            }
            next_offset = batch.header().next_offset();
            let epoch = batch.header().partition_leader_epoch;
            if epoch > epochs.latest().unwrap_or(LeaderEpoch(-1)) {
                epochs.assign(epoch, batch.header().base_offset);
            }
            used += batch.header().size_in_bytes();
        }
        position += used as u64;
        if used > 0 && n == buffer.len() {
            continue;
        }
        // Nothing whole at the front: a batch larger than the buffer, or the end.
        let needed =
            BatchHeader::parse(&buffer[used..n]).map_or(0, |header| header.size_in_bytes());
        let is_there = needed > buffer.len() && position + needed as u64 <= segment.size();
        if !is_there || used > 0 {
            return Ok(position);
        }
        buffer.resize(needed, 0);
    }
}
