//! Looking for a batch in a segment: by offset, by time, or one header after another.
//!
//! Indexes say where to begin and are hints only: a wrong one makes a search slow, never wrong.

use std::io;

use klamm_env::Patience;
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, layout};

use crate::error::LogError;
use crate::names::{LOG_SUFFIX, TIME_INDEX_SUFFIX};
use crate::segment::Segment;

/// Bytes read at once while batch headers are looked for.
const SCAN_BYTES: usize = 8 * 1024;

/// A batch found by a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) header: BatchHeader,
    pub(crate) position: u64,
}

impl Segment {
    /// The largest timestamp of its first batch; `None` while it is empty.
    pub(crate) fn first_timestamp(&self) -> Result<Option<Timestamp>, LogError> {
        if let Some(timestamp) = self.first_timestamp.get() {
            return Ok(Some(*timestamp));
        }
        let Some(first) = HeaderScan::new(self, 0).next()? else { return Ok(None) };
        Ok(Some(*self.first_timestamp.get_or_init(|| first.header.max_timestamp)))
    }

    /// The first batch whose last offset is not before `offset`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else than batches there.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Option<Located>, LogError> {
        self.locate_with(offset, Patience::Waits)
    }

    /// As [`Self::locate`]; without patience it may fail with `WouldBlock`.
    pub(crate) fn locate_with(
        &self,
        offset: Offset,
        patience: Patience,
    ) -> Result<Option<Located>, LogError> {
        let start = self.indexed_position(offset, patience).map_err(LogError::io(self.dir()))?;
        let mut headers = self.scan_checked(start, offset, patience)?;
        headers.find(|header| header.last_offset() >= offset)
    }

    /// A scan from `start` if a batch begins there that is not behind `offset`, else from the
    /// segment's start.
    fn scan_checked(
        &self,
        start: u64,
        offset: Offset,
        patience: Patience,
    ) -> Result<HeaderScan<'_>, LogError> {
        let mut headers = HeaderScan::new(self, start).with(patience);
        if start == 0 {
            return Ok(headers);
        }
        let is_right = match headers.next() {
            Ok(found) => found.is_some_and(|found| found.header.base_offset <= offset),
            Err(LogError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        headers.position = if is_right { start } else { 0 };
        Ok(headers)
    }

    /// The first batch from `position` on that `is_wanted`.
    pub(crate) fn scan_from(
        &self,
        position: u64,
        is_wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        HeaderScan::new(self, position).find(is_wanted)
    }

    /// A position from which every batch with a timestamp of at least `timestamp` can be reached.
    pub(crate) fn position_before(&self, timestamp: Timestamp) -> Result<u64, LogError> {
        let Some(offset) = self.indexed_offset_before(timestamp)? else { return Ok(0) };
        let path = self.path(TIME_INDEX_SUFFIX);
        let start = self.indexed_position(offset, Patience::Waits).map_err(LogError::io(&path))?;
        Ok(self.scan_checked(start, offset, Patience::Waits)?.position)
    }
}

/// Walks batch headers through a small buffer: bodies are skipped, not read.
pub(crate) struct HeaderScan<'a> {
    segment: &'a Segment,
    position: u64,
    patience: Patience,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> HeaderScan<'a> {
    pub(crate) fn new(segment: &'a Segment, position: u64) -> Self {
        Self { segment, position, patience: Patience::Waits, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The same, which waits for the device or not.
    fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The first batch from here on that `is_wanted`.
    fn find(
        &mut self,
        mut is_wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        while let Some(located) = self.next()? {
            if is_wanted(&located.header) {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    /// The next header; `None` at the end of what readers may see.
    pub(crate) fn next(&mut self) -> Result<Option<Located>, LogError> {
        let end = self.segment.size();
        if self.position >= end {
            return Ok(None);
        }
        let path = self.segment.path(LOG_SUFFIX);
        let at = self.position;
        let bytes = self.header_bytes(end).map_err(LogError::io(&path))?;
        let header = BatchHeader::parse(bytes).map_err(|e| LogError::Corrupt {
            path: path.clone(),
            position: at,
            what: e.to_string(),
        })?;
        self.position += header.size_in_bytes() as u64;
        if self.position > end {
            let what =
                format!("a batch of {} bytes reaches beyond the end", header.size_in_bytes());
            return Err(LogError::Corrupt { path, position: at, what });
        }
        Ok(Some(Located { header, position: at }))
    }

    fn header_bytes(&mut self, end: u64) -> io::Result<&[u8]> {
        let is_buffered = self.position >= self.buffer_at
            && self.position + layout::HEADER_LEN as u64
                <= self.buffer_at + self.buffer.len() as u64;
        if !is_buffered {
            let len =
                usize::try_from((end - self.position).min(SCAN_BYTES as u64)).expect("it is small");
            self.buffer.resize(len, 0);
            self.buffer_at = self.position;
            let file = self.segment.file()?;
            let read = self.patience.read_at(file.as_ref(), &mut self.buffer, self.position);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from =
            usize::try_from(self.position - self.buffer_at).expect("it is inside the buffer");
        Ok(&self.buffer[from.min(self.buffer.len())..])
    }
}
