//! The batches of a segment, read through a buffer of bounded size, each with its checksum and its
//! offsets compared: what is damaged must not decide over other records, and must not get a new
//! checksum.

use std::ops::ControlFlow;

use klamm_model::Offset;
use klamm_records::{BatchError, BatchHeader, BatchView};

use super::terms::{CleanError, Pace};
use crate::error::LogError;
use crate::names::LOG_SUFFIX;
use crate::segment::Segment;

/// A smaller buffer would read batches of usual size in pieces.
const CHUNK_BYTES_MIN: usize = 64 * 1024;

/// A batch and where it lies.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) batch: BatchView<'a>,
    pub(super) position: u64,
    /// Whether the segment ends behind it.
    pub(super) is_last: bool,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) segment: &'a Segment,
    /// Where its first batch is, and where its last one ends.
    pub(super) position: u64,
    pub(super) end: u64,
    /// No batch begins before this offset.
    pub(super) first_offset: Offset,
    /// Where the next segment begins.
    pub(super) end_offset: Offset,
}

impl<'a> Stretch<'a> {
    /// All of a segment.
    pub(super) fn whole(segment: &'a Segment, end_offset: Offset) -> Self {
        let (first_offset, end) = (segment.base_offset, segment.size());
        Self { segment, position: 0, end, first_offset, end_offset }
    }
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Source {
    buffer: Vec<u8>,
    chunk_bytes: usize,
}

impl Source {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self { buffer: Vec::new(), chunk_bytes: chunk_bytes.max(CHUNK_BYTES_MIN) }
    }

    /// Shows every batch of a stretch to `each`, until that breaks off.
    pub(super) fn walk(
        &mut self,
        stretch: Stretch<'_>,
        pace: &mut dyn Pace,
        each: &mut dyn FnMut(&Placed<'_>) -> Result<ControlFlow<()>, CleanError>,
    ) -> Result<ControlFlow<()>, CleanError> {
        let Stretch { segment, mut position, end, first_offset: mut next_offset, end_offset } =
            stretch;
        let size = segment.size();
        // What was read of a batch that the buffer cuts off is not read again.
        let (mut wanted, mut kept) = (self.chunk_bytes, 0);
        while position < end {
            let len = usize::try_from(end - position).map_or(wanted, |rest| rest.min(wanted));
            self.buffer.resize(len, 0);
            self.fill(segment, position, kept)?;
            pace.spend((len - kept) as u64).map_err(|_| CleanError::Stopped)?;
            let (mut used, mut next) = (0, self.chunk_bytes);
            while used < len {
                let at = position + used as u64;
                let batch = match BatchView::parse(&self.buffer[used..]) {
                    Ok(batch) => batch,
                    Err(BatchError::Short { needed, .. }) => {
                        next = self.larger(stretch, (at, needed), used)?;
                        break;
                    }
                    Err(error) => return Err(corrupt(segment, at, &error)),
                };
                batch.check_crc().map_err(|error| corrupt(segment, at, &error))?;
                // The checksum does not cover the base offset.
                if batch.base_offset < next_offset || batch.next_offset() > end_offset {
                    let (base, last) = (batch.base_offset, batch.last_offset());
                    let what = format!(
                        "offsets {base} to {last} are not between {next_offset} and {end_offset}"
                    );
                    return Err(corrupt(segment, at, &what));
                }
                next_offset = batch.next_offset();
                used += batch.bytes().len();
                let is_last = position + used as u64 == size;
                if each(&Placed { batch, position: at, is_last })?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            position += used as u64;
            self.buffer.copy_within(used.., 0);
            (wanted, kept) = (next, len - used);
        }
        self.buffer.truncate(self.chunk_bytes);
        self.buffer.shrink_to(self.chunk_bytes);
        Ok(ControlFlow::Continue(()))
    }

    /// Fills the buffer, which begins at `position`, behind what it has.
    fn fill(&mut self, segment: &Segment, position: u64, kept: usize) -> Result<(), CleanError> {
        let (into, from) = (&mut self.buffer[kept..], position + kept as u64);
        let wanted = into.len();
        match segment.file().and_then(|file| file.read_at(into, from)) {
            Ok(n) if n == wanted => Ok(()),
            // Only a truncation makes a file shorter than its segment was.
            Ok(_) => Err(CleanError::Disturbed),
            Err(error) => Err(LogError::io(&segment.path(LOG_SUFFIX))(error).into()),
        }
    }

    /// How much to read so that the batch at `at`, cut off by the buffer, is whole.
    fn larger(
        &self,
        stretch: Stretch<'_>,
        (at, needed): (u64, u64),
        used: usize,
    ) -> Result<usize, CleanError> {
        if needed > stretch.end - at {
            let available = self.buffer.len() - used;
            return Err(corrupt(stretch.segment, at, &BatchError::Short { needed, available }));
        }
        let whole = BatchHeader::parse(&self.buffer[used..]).map_or(0, |h| h.size_in_bytes());
        Ok(whole.max(self.chunk_bytes))
    }
}

/// What is wrong with a batch, as an error of its file.
pub(super) fn corrupt(
    segment: &Segment,
    position: u64,
    what: &dyn std::fmt::Display,
) -> CleanError {
    let path = segment.path(LOG_SUFFIX);
    LogError::Corrupt { path, position, what: what.to_string() }.into()
}
