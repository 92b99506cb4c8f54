//! The segment that is appended to: how much was written to it, which batches its indexes get, and
//! when the next one is to begin. Decides only; its log writes.

use std::sync::Arc;

use klamm_model::Timestamp;
use klamm_records::BatchHeader;

use crate::config::LogConfig;
use crate::segment::Segment;
use crate::segment::index::relative;
use crate::segment::indexes::IndexInterval;

/// The active segment of a log.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) segment: Arc<Segment>,
    /// Bytes that were written to it. Readers may see fewer for a moment.
    pub(crate) written: u64,
    index_interval: IndexInterval,
    /// Of its first batch, for rolling by time.
    first_timestamp: Option<Timestamp>,
    /// When it began, or was opened.
    since: Timestamp,
    /// Its size when its indexes were saved last.
    saved_at: u64,
}

impl ActiveSegment {
    /// A segment to which nothing was written since its indexes were saved.
    pub(crate) fn new(segment: Arc<Segment>, since: Timestamp) -> Self {
        let written = segment.size();
        Self {
            segment,
            written,
            index_interval: IndexInterval::default(),
            first_timestamp: None,
            since,
            saved_at: written,
        }
    }

    /// Appending goes on where a walk over its batches has ended.
    pub(crate) fn resume(
        &mut self,
        index_interval: IndexInterval,
        first_timestamp: Option<Timestamp>,
    ) {
        self.index_interval = index_interval;
        self.first_timestamp = first_timestamp;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// When it began, or was opened.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Bytes whose index entries may be in memory only.
    pub(crate) fn unsaved_bytes(&self) -> u64 {
        self.written.saturating_sub(self.saved_at)
    }

    /// Its indexes are saved up to here.
    pub(crate) fn on_saved_at(&mut self, position: u64) {
        self.saved_at = position;
    }

    /// Takes note of a batch that was just written at its end; gives where it begins.
    pub(crate) fn on_written(&mut self, header: &BatchHeader, index_interval_bytes: u64) -> u64 {
        let size = header.size_in_bytes() as u64;
        let position = self.written - size;
        self.first_timestamp.get_or_insert(header.max_timestamp);
        self.segment.note_timestamp(header);
        if self.index_interval.is_due(size, index_interval_bytes) {
            self.segment.index_batch(header, position);
        }
        position
    }

    /// Whether a batch is further from its start than an index can say.
    pub(crate) fn is_too_far(&self, next: &BatchHeader) -> bool {
        relative(next.last_offset(), self.segment.base_offset).is_none()
    }

    /// Whether the next batch must not go into it (Kafka: `LogSegment.shouldRoll`).
    pub(crate) fn is_roll_due(
        &self,
        next: &BatchHeader,
        config: &LogConfig,
        wall: Timestamp,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let grows_too_large = self.written + next.size_in_bytes() as u64 > config.segment_bytes;
        let roll_ms = config.segment_ms_max().saturating_sub(self.jitter_ms(config));
        let since = match self.first_timestamp {
            Some(first) if first.0 >= 0 && next.max_timestamp.0 >= 0 => {
                next.max_timestamp.0.saturating_sub(first.0)
            }
            _ => wall.0.saturating_sub(self.since.0),
        };
        let is_too_old = since > i64::try_from(roll_ms).unwrap_or(i64::MAX);
        let is_index_full = || {
            let bytes_max = config.segment_index_bytes;
            self.segment.with_indexes(|indexes| indexes.is_full(bytes_max)).unwrap_or(false)
        };
        grows_too_large || is_too_old || self.is_too_far(next) || is_index_full()
    }

    /// What is taken off its age, so that logs that began together do not roll together (Kafka:
    /// `LogConfig.randomSegmentJitter`): the same for its whole life, and another for each.
    fn jitter_ms(&self, config: &LogConfig) -> u64 {
        let jitter_max_ms = config.segment_jitter_ms.min(config.segment_ms);
        if jitter_max_ms == 0 {
            return 0;
        }
        let mut of = self.segment.dir().as_os_str().as_encoded_bytes().to_vec();
        of.extend(self.segment.base_offset.0.to_be_bytes());
        u64::from(klamm_records::crc32c(&of)) % jitter_max_ms
    }
}
