//! Records by their time: the first that is late enough, and the latest. Exact to the record;
//! indexes only say where to begin.

use klamm_model::{LeaderEpoch, Offset, Timestamp};
use klamm_records::{BatchView, Scratch};

use crate::error::LogError;
use crate::segment::Segment;
use crate::view::LogView;

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundTimestamp {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of its batch.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl LogView {
    /// The first record from the log's start on, below `upper`, whose timestamp is not before
    /// `timestamp`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        upper: Offset,
    ) -> Result<Option<FoundTimestamp>, LogError> {
        self.undisturbed(|| self.offset_for_timestamp_once(timestamp, upper))
    }

    fn offset_for_timestamp_once(
        &self,
        timestamp: Timestamp,
        upper: Offset,
    ) -> Result<Option<FoundTimestamp>, LogError> {
        let start = self.log_start_offset();
        for segment in self.segments.load().iter() {
            if segment.max_timestamp().0 < timestamp || segment.base_offset >= upper {
                continue;
            }
            let mut position = segment.position_before(timestamp)?;
            while let Some(found) = segment
                .scan_from(position, |h| h.max_timestamp >= timestamp && h.last_offset() >= start)?
            {
                if found.header.base_offset >= upper {
                    return Ok(None);
                }
                if let Some(record) =
                    record_at(segment, &found, |r| r.timestamp >= timestamp && r.offset >= start)?
                {
                    return Ok((record.offset < upper).then_some(record));
                }
                position = found.position + found.header.size_in_bytes() as u64;
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp (KIP-734).
    ///
    /// # Errors
    /// The disk failed.
    pub fn max_timestamp(&self, upper: Offset) -> Result<Option<FoundTimestamp>, LogError> {
        self.undisturbed(|| self.max_timestamp_once(upper))
    }

    fn max_timestamp_once(&self, upper: Offset) -> Result<Option<FoundTimestamp>, LogError> {
        let segments = self.segments.load();
        let Some(segment) = segments.iter().rev().max_by_key(|s| s.max_timestamp().0) else {
            return Ok(None);
        };
        let (timestamp, offset) = segment.max_timestamp();
        if timestamp.0 < 0 {
            return Ok(None);
        }
        let Some(found) = segment.locate(offset)? else { return Ok(None) };
        let record = record_at(segment, &found, |r| r.timestamp >= timestamp)?;
        Ok(record.filter(|record| record.offset < upper))
    }
}

/// The first record of a batch that `is_wanted`.
fn record_at(
    segment: &Segment,
    found: &crate::segment::search::Located,
    is_wanted: impl Fn(&klamm_records::RecordView<'_>) -> bool,
) -> Result<Option<FoundTimestamp>, LogError> {
    let path = segment.path(crate::names::LOG_SUFFIX);
    let corrupt =
        |what: String| LogError::Corrupt { path: path.clone(), position: found.position, what };
    let mut bytes = vec![0; found.header.size_in_bytes()];
    segment
        .file()
        .and_then(|file| file.read_at(&mut bytes, found.position))
        .map_err(LogError::io(&path))?;
    let batch = BatchView::parse(&bytes).map_err(|e| corrupt(e.to_string()))?;
    let mut scratch = Scratch::default();
    for record in batch.records(&mut scratch).map_err(|e| corrupt(e.to_string()))? {
        let record = record.map_err(|e| corrupt(e.to_string()))?;
        if is_wanted(&record) {
            let epoch = batch.header().partition_leader_epoch;
            return Ok(Some(FoundTimestamp {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch: (epoch.0 >= 0).then_some(epoch),
            }));
        }
    }
    Ok(None)
}
