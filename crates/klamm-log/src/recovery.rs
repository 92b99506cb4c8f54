//! Opening a log: after an orderly stop almost nothing is read; after a crash everything from the
//! recovery point on is checked, and a torn tail is cut.
//!
//! Below the recovery point nothing is ever cut: what was synced cannot be torn, so damage there
//! is damage, and is reported when it is read. Above it a crash may have left anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, durable};
use klamm_model::{LeaderEpoch, Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView, EndTxnMarker, Scratch, layout};

use crate::checkpoint::read_leader_epochs;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::index::{IndexEntry, TimeIndexEntry, relative};
use crate::log::Log;
use crate::names::{
    DELETED_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, SNAPSHOT_SUFFIX, TRANSACTION_INDEX_SUFFIX,
    base_offset,
};
use crate::producer_snapshot::decode_snapshot;
use crate::producer_state::{Marker, ProducerState};
use crate::segment::{HeaderScan, Indexes, SaveIndexes, Segment};
use crate::transaction_index::AbortedTransaction;

/// Files of other software's half-done work that hold nothing of value.
const LEFTOVER_SUFFIXES: [&str; 3] = [DELETED_SUFFIX, ".cleaned", durable::TEMPORARY_SUFFIX];
const SNAPSHOT_BYTES_MAX: u64 = 256 * 1024 * 1024;

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
        if !found.is_empty() {
            log.load_segments(found, opening, &mut report)?;
        }
        if epochs.is_none() {
            log.epochs_from_batches()?;
        }
        log.finish_opening(opening, wall)?;
        if report.bytes_cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes_cut = report.bytes_cut, log_end_offset = %log.log_end_offset(), "a torn tail was cut");
        }
        Ok((log, report))
    }

    fn load_segments(
        &mut self,
        found: Vec<Arc<Segment>>,
        opening: Opening,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        let mut kept: Vec<Arc<Segment>> = Vec::with_capacity(found.len());
        let mut end = self.log_start_offset();
        let mut rest = found.into_iter().peekable();
        while let Some(segment) = rest.next() {
            let next = rest.peek().map(|next| next.base_offset);
            let is_settled =
                opening.was_clean || next.is_some_and(|next| next <= opening.recovery_point);
            let rebuilt = match next {
                Some(next) if is_settled => {
                    load_sealed(&segment)?;
                    end = next;
                    kept.push(segment);
                    continue;
                }
                None if is_settled => load_active(&segment, self.config.index_interval_bytes)?,
                _ => self.recover_segment(&segment, report)?,
            };
            end = rebuilt.end_offset;
            self.active_size = segment.size();
            self.bytes_since_index = rebuilt.bytes_since_index;
            self.first_timestamp = rebuilt.first_timestamp;
            kept.push(segment);
            if rebuilt.was_cut {
                break;
            }
        }
        for lost in rest {
            let path = lost.path(LOG_SUFFIX);
            report.bytes_cut += lost.size();
            tracing::warn!(file = %path.display(), bytes = lost.size(), "a segment behind a torn one was dropped");
            self.disk.remove_file(&path).map_err(LogError::io(&path))?;
        }
        let (active, sealed) = kept.split_last().expect("there was at least one");
        sealed.iter().for_each(|segment| segment.drop_indexes());
        self.active = Arc::clone(active);
        self.active_size = active.size();
        self.view.segments.store(Arc::new(kept));
        self.view.publish_end(end);
        Ok(())
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

    fn finish_opening(&mut self, opening: Opening, wall: Timestamp) -> Result<(), LogError> {
        let end = self.log_end_offset();
        self.epochs.truncate_from_end(end);
        let start = opening.log_start_offset.clamp(self.log_start_offset(), end);
        self.view.publish_start(start);
        self.epochs.truncate_from_start(start);
        self.view.epochs.store(self.epochs.clone().into());
        self.active_since = wall;
        self.remove_snapshots_after(end)?;
        self.load_aborted()?;
        self.reload_producers()?;
        let synced = if opening.was_clean { end } else { opening.recovery_point.min(end) };
        self.view.publish_synced(synced);
        Ok(())
    }

    fn load_aborted(&mut self) -> Result<(), LogError> {
        self.aborted.clear();
        for segment in self.view.segments.load().iter() {
            let bytes = segment.read_whole(TRANSACTION_INDEX_SUFFIX)?;
            self.aborted.extend(AbortedTransaction::decode(&bytes));
        }
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        self.aborted.retain(|t| t.last_offset >= start && t.last_offset < end);
        self.view.aborted.store(Arc::new(self.aborted.clone()));
        Ok(())
    }

    fn snapshots(&self) -> Result<Vec<(Offset, PathBuf)>, LogError> {
        let entries = self.disk.list(&self.dir).map_err(LogError::io(&self.dir))?;
        let offset =
            |name: &str| base_offset(name, SNAPSHOT_SUFFIX).map(|o| (o, self.dir.join(name)));
        Ok(entries.iter().filter_map(|entry| offset(&entry.name)).collect())
    }

    pub(crate) fn remove_snapshots_after(&mut self, end: Offset) -> Result<(), LogError> {
        self.last_snapshot = None;
        for (offset, path) in self.snapshots()? {
            if offset > end {
                self.disk.remove_file(&path).map_err(LogError::io(&path))?;
            } else {
                self.last_snapshot = Some(offset);
            }
        }
        Ok(())
    }

    /// The producers: the newest usable snapshot, and every batch after it.
    pub(crate) fn reload_producers(&mut self) -> Result<(), LogError> {
        let mut from = self.log_start_offset();
        self.producers = ProducerState::default();
        for (offset, path) in self.snapshots()?.into_iter().rev() {
            if offset > self.log_end_offset() || offset < self.log_start_offset() {
                continue;
            }
            let bytes = durable::read(self.disk.as_ref(), &path, SNAPSHOT_BYTES_MAX)
                .map_err(LogError::io(&path))?;
            match decode_snapshot(&bytes.unwrap_or_default()) {
                Ok(state) => {
                    self.producers = state;
                    from = offset;
                    break;
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "producers are replayed from further back");
                    self.disk.remove_file(&path).map_err(LogError::io(&path))?;
                }
            }
        }
        self.replay_producers(from)?;
        self.view.publish_first_unstable(self.producers.first_unstable_offset());
        Ok(())
    }

    fn replay_producers(&mut self, from: Offset) -> Result<(), LogError> {
        let segments = Arc::clone(&self.view.segments.load());
        let first =
            segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for segment in &segments[first..] {
            let position = match segment.locate(from.max(segment.base_offset))? {
                Some(found) => found.position,
                None => continue,
            };
            let mut scan = HeaderScan::new(segment, position);
            while let Some(found) = scan.next()? {
                if found.header.producer.is_none() || found.header.base_offset < from {
                    continue;
                }
                match read_marker(segment, found.position, &found.header)? {
                    Some(marker) => drop(self.producers.on_marker(&found.header, marker)),
                    None => self.producers.on_appended(&found.header),
                }
            }
        }
        Ok(())
    }
}

/// The segments in a directory, oldest first; leftovers of half-done work are removed.
fn list_segments(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<Arc<Segment>>, LogError> {
    let mut segments = Vec::new();
    for entry in disk.list(dir).map_err(LogError::io(dir))? {
        if LEFTOVER_SUFFIXES.iter().any(|suffix| entry.name.ends_with(suffix)) {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).map_err(LogError::io(&path))?;
        } else if let Some(base) = base_offset(&entry.name, LOG_SUFFIX) {
            segments.push(Arc::new(Segment::new(disk, dir, base, entry.len)));
        }
    }
    segments.sort_by_key(|segment| segment.base_offset);
    Ok(segments)
}

/// What a walk over a segment found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebuilt {
    pub(crate) end_offset: Offset,
    pub(crate) bytes_since_index: u64,
    pub(crate) first_timestamp: Option<Timestamp>,
    was_cut: bool,
}

fn load_sealed(segment: &Segment) -> Result<(), LogError> {
    match segment.read_time_index()?.last() {
        Some(last) => {
            let offset = segment.base_offset.plus(i64::from(last.relative_offset));
            segment.publish_timestamp(last.timestamp, offset);
        }
        None if segment.size() > 0 => {
            let mut scan = HeaderScan::new(segment, 0);
            while let Some(found) = scan.next()? {
                segment.note_timestamp(&found.header);
            }
        }
        None => {}
    }
    Ok(())
}

/// The active segment after an orderly stop: its indexes are in their files, and only what is
/// behind the last entry is read.
fn load_active(segment: &Segment, index_interval_bytes: u64) -> Result<Rebuilt, LogError> {
    let offsets = segment.read_index()?;
    let times = segment.read_time_index()?;
    let is_plausible = offsets.last().is_none_or(|last| u64::from(last.position) < segment.size());
    let has_indexes = segment.size() <= index_interval_bytes || !offsets.is_empty();
    if !is_plausible || !has_indexes || times.is_empty() {
        let rebuilt = rebuild_segment(segment, index_interval_bytes)?;
        segment.save_indexes(SaveIndexes::Whole)?;
        return Ok(rebuilt);
    }
    if let Some(last) = times.last() {
        segment.publish_timestamp(
            last.timestamp,
            segment.base_offset.plus(i64::from(last.relative_offset)),
        );
    }
    let from = offsets.last().map_or(0, |last| u64::from(last.position));
    let first = HeaderScan::new(segment, 0).next()?.map(|found| found.header.max_timestamp);
    let (offsets_saved, times_saved) = (offsets.len(), times.len());
    *segment.indexes.write().expect("no holder of this lock can panic") =
        Some(Indexes { offsets, times, offsets_saved, times_saved });
    let mut end_offset = segment.base_offset;
    let mut scan = HeaderScan::new(segment, from);
    while let Some(found) = scan.next()? {
        end_offset = found.header.next_offset();
        segment.note_timestamp(&found.header);
    }
    let bytes_since_index = segment.size() - from;
    Ok(Rebuilt { end_offset, bytes_since_index, first_timestamp: first, was_cut: false })
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

/// The transaction marker in a control batch.
fn read_marker(
    segment: &Segment,
    position: u64,
    header: &BatchHeader,
) -> Result<Option<Marker>, LogError> {
    if !header.attributes.is_control() {
        return Ok(None);
    }
    let path = segment.path(LOG_SUFFIX);
    let mut bytes = vec![0; header.size_in_bytes().max(layout::HEADER_LEN)];
    segment
        .file()
        .and_then(|file| file.read_at(&mut bytes, position))
        .map_err(LogError::io(&path))?;
    let mut scratch = Scratch::default();
    let marker = BatchView::parse(&bytes).ok().and_then(|batch| {
        let record = batch.records(&mut scratch).ok()?.next()?.ok()?;
        EndTxnMarker::parse(&record).ok().flatten()
    });
    Ok(marker.map(|m| Marker { is_commit: !m.is_abort, coordinator_epoch: m.coordinator_epoch }))
}
