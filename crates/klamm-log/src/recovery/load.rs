//! A segment as a start finds it: its indexes and where appending goes on. Trusts the batches,
//! whose headers it walks, and no index that they contradict; never cuts anything.

use std::io;

use klamm_env::OpenMode;
use klamm_model::{Offset, Timestamp};

use crate::error::LogError;
use crate::mark::RecoveryMark;
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX};
use crate::segment::index::{
    ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeIndexEntry, decode_index, decode_time_index,
};
use crate::segment::indexes::{IndexInterval, Indexes};
use crate::segment::search::HeaderScan;
use crate::segment::{SaveIndexes, Segment};

/// A segment of few large batches has no index entry; beyond this one is missed.
const UNINDEXED_INTERVALS_MAX: u64 = 2;

/// What a walk over a segment found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebuilt {
    pub(crate) end_offset: Offset,
    pub(crate) index_interval: IndexInterval,
    pub(crate) first_timestamp: Option<Timestamp>,
    pub(super) was_cut: bool,
}

impl Rebuilt {
    pub(super) fn empty(segment: &Segment) -> Self {
        Self {
            end_offset: segment.base_offset,
            index_interval: IndexInterval::default(),
            first_timestamp: None,
            was_cut: false,
        }
    }
}

/// Takes a segment over as a mark says, if the files agree: they are long enough, and from the
/// last index entry on the batches' headers lead to where the mark ends.
pub(super) fn resume(segment: &Segment, mark: RecoveryMark) -> Result<Option<Rebuilt>, LogError> {
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
pub(super) enum Indexed {
    AsFound,
    Anew,
}

/// A segment that is trusted. Its indexes are looked at from the end only; what they do not say,
/// or say wrongly, is found out from the batches.
pub(super) fn load_sealed(
    segment: &Segment,
    index_interval_bytes: u64,
) -> Result<Indexed, LogError> {
    if segment.size() == 0 {
        return Ok(Indexed::AsFound);
    }
    let last = last_time_entry(segment)?;
    if let Some(last) = last
        && has_plausible_index(segment, index_interval_bytes)?
    {
        let offset = segment.base_offset.plus(i64::from(last.relative_offset));
        segment.publish_timestamp(last.timestamp, offset);
        return Ok(Indexed::AsFound);
    }
    rebuild_segment(segment, index_interval_bytes)?;
    let is_large_batch_alone = last.is_some() && has_no_entries(segment);
    // Compaction may leave nothing but batches without records, which have no time.
    let has_no_times = segment.max_timestamp().0.0 < 0 && has_no_entries(segment);
    let mut indexed = Indexed::AsFound;
    if !is_large_batch_alone && !has_no_times {
        tracing::warn!(file = %segment.path(LOG_SUFFIX).display(), "the indexes of a segment are missing or torn: they are made anew");
        segment.save_indexes(SaveIndexes::Whole)?;
        indexed = Indexed::Anew;
    }
    segment.drop_indexes();
    Ok(indexed)
}

/// The last entry of the time index's file; `None` if the file is no whole index.
fn last_time_entry(segment: &Segment) -> Result<Option<TimeIndexEntry>, LogError> {
    let bytes = last_entry::<TIME_ENTRY_BYTES>(segment, TIME_INDEX_SUFFIX)?;
    let entry = bytes.as_ref().and_then(|bytes| decode_time_index(bytes).first().copied());
    Ok(entry.filter(|entry| entry.timestamp.0 >= 0))
}

/// Whether the index's file is whole and its last entry is in the segment. A small segment
/// has no entries, and needs none.
fn has_plausible_index(segment: &Segment, interval_bytes: u64) -> Result<bool, LogError> {
    let bytes = last_entry::<ENTRY_BYTES>(segment, INDEX_SUFFIX)?;
    let entry = bytes.as_ref().and_then(|bytes| decode_index(bytes).first().copied());
    let is_needed = segment.size() > interval_bytes.saturating_mul(UNINDEXED_INTERVALS_MAX);
    Ok(entry.map_or(!is_needed, |entry| u64::from(entry.position) < segment.size()))
}

fn last_entry<const LEN: usize>(
    segment: &Segment,
    suffix: &str,
) -> Result<Option<[u8; LEN]>, LogError> {
    let path = segment.path(suffix);
    let file = match segment.disk().open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LogError::io(&path)(e)),
    };
    let mut bytes = [0; LEN];
    let mut read = || {
        let len = file.len()?;
        if len == 0 || len % LEN as u64 != 0 {
            return Ok(0);
        }
        file.read_at(&mut bytes, len - LEN as u64)
    };
    let n = read().map_err(LogError::io(&path))?;
    Ok((n == LEN).then_some(bytes))
}

/// Whether the offset index in memory has no entry: few large batches need none.
fn has_no_entries(segment: &Segment) -> bool {
    segment.with_indexes(|indexes| indexes.offsets.is_empty()).unwrap_or(true)
}

/// The active segment after an orderly stop: its indexes are in their files, and only what is
/// behind the last entry is read. Whatever does not fit together is found out from the batches.
pub(super) fn load_active(
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
    segment.put_indexes(Indexes::saved(offsets, times));
    let index_interval = IndexInterval::after(segment.size() - from);
    Ok(Some(Rebuilt { end_offset, index_interval, first_timestamp: first, was_cut: false }))
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
pub(super) fn extend_indexes(
    segment: &Segment,
    (from, index_interval_bytes): (u64, u64),
    rebuilt: &mut Rebuilt,
) -> Result<(), LogError> {
    let mut scan = HeaderScan::new(segment, from);
    while let Some(found) = scan.next()? {
        let header = &found.header;
        segment.note_timestamp(header);
        rebuilt.first_timestamp.get_or_insert(header.max_timestamp);
        let bytes = header.size_in_bytes() as u64;
        if rebuilt.index_interval.is_due(bytes, index_interval_bytes) {
            segment.index_batch(header, found.position);
        }
        rebuilt.end_offset = header.next_offset();
    }
    segment.index_max_timestamp();
    Ok(())
}
