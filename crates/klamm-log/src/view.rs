//! What readers see of a log. They take none of the owner's locks; what they find is bounded by
//! what the owner has published.
//!
//! The owner publishes in this order, and a reader asks the other way round:
//!
//! ```text
//! owner:   bytes -> remembered batch -> segment's size -> end of the log
//! reader:  end of the log -> segments -> segment's size -> remembered batch -> bytes
//! ```
//!
//! So a reader that sees a size finds every batch below it, and can stop at its upper bound even
//! while the next batch is being appended. A cut of the log, which is rare, is announced before
//! it begins; whoever asks meanwhile gets nothing. A slice that was given out before is as long
//! as it was: whoever sends it finds the file shorter.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use klamm_env::{FileSlice, Patience};
use klamm_model::{LeaderEpoch, Offset};
use klamm_records::BatchHeader;

use crate::epochs::{EpochEnd, LeaderEpochs};
use crate::error::LogError;
use crate::segment::Segment;
use crate::transaction_index::AbortedTransaction;

/// Batches at the end of the log whose places are remembered, so that whoever reads there asks
/// no file.
const RECENT_MAX: usize = 256;

/// Transactions whose markers are not committed yet. More are in flight only where nobody asks
/// for the last stable offset; then the oldest do not matter.
const UNDECIDED_MAX: usize = 65_536;
/// How often a reader starts again because the log was cut under it.
const RACES_MAX: usize = 16;

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At most this many bytes.
    pub bytes_max: u32,
    /// Whether one batch is given even if it is larger (KIP-74).
    pub at_least_one: AtLeastOne,
    /// Nothing from here on is given: the high watermark or the last stable offset.
    pub upper: Offset,
}

/// Whether a reader must make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLeastOne {
    /// It must: a batch that is larger than the limit is given all the same.
    Batch,
    /// It need not: others have given something already.
    Nothing,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Whole batches, the last of which may be cut by the limit; `None` if there is nothing.
    pub slice: Option<FileSlice>,
}

/// Why nothing can be read.
#[derive(Debug)]
pub enum ReadError {
    /// The offset is below the log's start or above its end.
    OutOfRange {
        /// The first offset that there is.
        log_start_offset: Offset,
        /// The one after the last.
        log_end_offset: Offset,
    },
    /// The disk failed, or holds something else.
    Log(LogError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { log_start_offset, log_end_offset } => {
                write!(f, "offset is outside {log_start_offset}..={log_end_offset}")
            }
            Self::Log(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// Nothing failed: a device would have had to be waited for.
    fn would_block(&self) -> bool {
        let Self::Log(LogError::Io { error, .. }) = self else { return false };
        error.kind() == std::io::ErrorKind::WouldBlock
    }
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// An error that a log which is cut meanwhile can cause.
pub(crate) trait IsFromDisk {
    fn is_from_disk(&self) -> bool;
}

impl IsFromDisk for LogError {
    fn is_from_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Corrupt { .. })
    }
}

impl IsFromDisk for ReadError {
    fn is_from_disk(&self) -> bool {
        matches!(self, Self::Log(error) if error.is_from_disk())
    }
}

#[derive(Debug, Clone, Copy)]
struct RecentBatch {
    base_offset: Offset,
    last_offset: Offset,
    segment_base: Offset,
    position: u64,
    size: u32,
}

/// A log as readers see it.
#[derive(Debug)]
pub struct LogView {
    pub(crate) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(crate) epochs: ArcSwap<LeaderEpochs>,
    pub(crate) aborted: ArcSwap<Vec<AbortedTransaction>>,
    log_start: AtomicI64,
    log_end: AtomicI64,
    synced: AtomicI64,
    first_unstable: AtomicI64,
    /// Odd while the log is being cut.
    cuts: AtomicU64,
    recent: Mutex<VecDeque<RecentBatch>>,
    /// Ended transactions: where they begin, and where their markers are.
    undecided: Mutex<VecDeque<(Offset, Offset)>>,
}

/// What is remembered of an offset.
enum Recent {
    Batch(RecentBatch),
    /// It is behind all that the segment holds.
    Behind,
    Unknown,
}

impl LogView {
    pub(crate) fn new(log_start_offset: Offset) -> Self {
        Self {
            segments: ArcSwap::default(),
            epochs: ArcSwap::default(),
            aborted: ArcSwap::default(),
            log_start: AtomicI64::new(log_start_offset.0),
            log_end: AtomicI64::new(log_start_offset.0),
            synced: AtomicI64::new(log_start_offset.0),
            first_unstable: AtomicI64::new(i64::MAX),
            cuts: AtomicU64::new(0),
            recent: Mutex::default(),
            undecided: Mutex::default(),
        }
    }

    /// The first offset.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// Everything below is on the disk for certain.
    #[must_use]
    pub fn synced_offset(&self) -> Offset {
        Offset(self.synced.load(Ordering::Acquire))
    }

    /// Where the oldest open transaction begins.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let offset = self.first_unstable.load(Ordering::Acquire);
        (offset != i64::MAX).then_some(Offset(offset))
    }

    /// Everything below is decided, if everything below `high_watermark` is committed: no
    /// transaction is open there, nor ended by a marker that is not committed itself (Kafka:
    /// `ProducerStateManager.firstUnstableOffset`).
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let open = self.first_unstable_offset().unwrap_or(high_watermark);
        let mut undecided = self.undecided.lock().expect("no holder of this lock can panic");
        undecided.retain(|(_, marker)| *marker >= high_watermark);
        let ended = undecided.iter().map(|(first, _)| *first).min().unwrap_or(high_watermark);
        drop(undecided);
        // In this order: a transaction that ends between the two questions is in the second answer.
        open.min(ended).min(high_watermark).max(self.log_start_offset().min(high_watermark))
    }

    /// Bytes of all batches.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.load().iter().map(|segment| segment.size()).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    pub(crate) fn publish_start(&self, offset: Offset) {
        self.log_start.store(offset.0, Ordering::Release);
    }

    pub(crate) fn publish_end(&self, offset: Offset) {
        self.log_end.store(offset.0, Ordering::Release);
    }

    pub(crate) fn publish_synced(&self, offset: Offset) {
        self.synced.store(offset.0, Ordering::Release);
    }

    pub(crate) fn publish_first_unstable(&self, offset: Option<Offset>) {
        self.first_unstable.store(offset.map_or(i64::MAX, |o| o.0), Ordering::Release);
    }

    pub(crate) fn remember(&self, header: &BatchHeader, segment_base: Offset, position: u64) {
        let mut recent = self.recent.lock().expect("no holder of this lock can panic");
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(RecentBatch {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            segment_base,
            position,
            size: u32::try_from(header.size_in_bytes()).expect("batches are below 2 GiB"),
        });
    }

    /// The transaction from `first_offset` ends with the marker at `marker_offset`.
    pub(crate) fn decide_at(&self, first_offset: Offset, marker_offset: Offset) {
        let mut undecided = self.undecided.lock().expect("no holder of this lock can panic");
        if undecided.len() == UNDECIDED_MAX {
            undecided.pop_front();
        }
        undecided.push_back((first_offset, marker_offset));
    }

    pub(crate) fn forget_undecided(&self) {
        self.undecided.lock().expect("no holder of this lock can panic").clear();
    }

    /// Readers that fail from now on ask again.
    pub(crate) fn begin_cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.recent.lock().expect("no holder of this lock can panic").clear();
    }

    /// How often the log was cut, twice: odd while it is.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// The places of batches in segments up to the one at `segment_base` are forgotten.
    pub(crate) fn forget_recent_up_to(&self, segment_base: Offset) {
        let mut recent = self.recent.lock().expect("no holder of this lock can panic");
        while recent.front().is_some_and(|batch| batch.segment_base <= segment_base) {
            recent.pop_front();
        }
    }

    pub(crate) fn end_cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// An answer that no cut of the log has disturbed; nothing at all while one is under way. A
    /// failure is asked about again if the log's start moved: the files may have gone.
    pub(crate) fn undisturbed<T: Default, E: IsFromDisk>(
        &self,
        ask: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..RACES_MAX {
            let (cuts, start) = (self.cuts.load(Ordering::Acquire), self.log_start_offset());
            if cuts % 2 == 1 {
                break;
            }
            let result = ask();
            if cuts != self.cuts.load(Ordering::Acquire) {
                continue;
            }
            match result {
                Err(error) if start != self.log_start_offset() && error.is_from_disk() => {}
                result => return result,
            }
        }
        Ok(T::default())
    }

    /// The remembered batch of `segment` that holds `offset`, or is the first after it.
    fn recent(&self, segment: &Segment, offset: Offset) -> Recent {
        let recent = self.recent.lock().expect("no holder of this lock can panic");
        let Some(front) = recent.front() else {
            // Nothing was appended since the log was opened or cut, so its size does not move.
            let is_behind = offset >= self.log_end_offset();
            return if is_behind { Recent::Behind } else { Recent::Unknown };
        };
        if front.base_offset > offset {
            return Recent::Unknown;
        }
        let n = recent.partition_point(|batch| batch.last_offset < offset);
        match recent.get(n) {
            Some(batch) if batch.segment_base == segment.base_offset => Recent::Batch(*batch),
            Some(batch) if batch.segment_base < segment.base_offset => Recent::Unknown,
            Some(_) | None => Recent::Behind,
        }
    }

    /// Where the batch with `offset` is in its segment, and its size.
    fn place(
        &self,
        segment: &Segment,
        offset: Offset,
        patience: Patience,
    ) -> Result<Option<(u64, u64)>, LogError> {
        match self.recent(segment, offset) {
            Recent::Batch(batch) => return Ok(Some((batch.position, u64::from(batch.size)))),
            Recent::Behind => return Ok(None),
            Recent::Unknown => {}
        }
        let located = segment.locate_with(offset, patience)?;
        Ok(located.map(|found| (found.position, found.header.size_in_bytes() as u64)))
    }

    /// Batches from the one that holds `offset` on, within `limits`. Never crosses a segment.
    ///
    /// # Errors
    /// The offset is out of range, or the disk failed.
    pub fn read(&self, offset: Offset, limits: Limits) -> Result<Read, ReadError> {
        self.undisturbed(|| self.read_once(offset, limits, Patience::Waits))
    }

    /// As [`Self::read`], without waiting for a device: `None` if it would have to.
    ///
    /// # Errors
    /// The offset is out of range, or the disk failed.
    pub fn read_cached(&self, offset: Offset, limits: Limits) -> Result<Option<Read>, ReadError> {
        match self.undisturbed(|| self.read_once(offset, limits, Patience::None)) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.would_block() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_once(
        &self,
        offset: Offset,
        limits: Limits,
        patience: Patience,
    ) -> Result<Read, ReadError> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset(), self.log_end_offset());
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OutOfRange { log_start_offset, log_end_offset });
        }
        let upper = limits.upper.min(log_end_offset);
        if offset >= upper {
            return Ok(Read::default());
        }
        let segments = self.segments.load();
        let mut i =
            segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        // Compaction can leave a segment without the offset: then the next one has it.
        while let Some(segment) = segments.get(i) {
            let end = self.end_position(&segments, i, upper, patience)?;
            let Some((position, size)) = self.place(segment, offset, patience)? else {
                i += 1;
                continue;
            };
            return Ok(Self::slice(segment, (position, size), end, limits)?);
        }
        Ok(Read::default())
    }

    /// Where readers must stop in a segment so as not to cross `upper`.
    fn end_position(
        &self,
        segments: &[Arc<Segment>],
        i: usize,
        upper: Offset,
        patience: Patience,
    ) -> Result<u64, LogError> {
        let size = segments[i].size();
        if segments.get(i + 1).is_some_and(|next| upper >= next.base_offset) {
            return Ok(size);
        }
        Ok(self
            .place(&segments[i], upper, patience)?
            .map_or(size, |(position, _)| position.min(size)))
    }

    fn slice(
        segment: &Segment,
        (position, size): (u64, u64),
        end: u64,
        limits: Limits,
    ) -> Result<Read, LogError> {
        let available = end.saturating_sub(position);
        let mut len = available.min(u64::from(limits.bytes_max));
        if len < size {
            let gives = limits.at_least_one == AtLeastOne::Batch && available >= size;
            len = if gives { size } else { 0 };
        }
        if len == 0 {
            return Ok(Read::default());
        }
        let file = segment.file().map_err(LogError::io(&segment.path(crate::names::LOG_SUFFIX)))?;
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Ok(Read { slice: Some(FileSlice { file, position, len }) })
    }

    /// Where a leader epoch ends; see [`LeaderEpochs::end_of`].
    #[must_use]
    pub fn end_of_epoch(&self, leader_epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.load().end_of(leader_epoch, self.log_end_offset())
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.load().at(offset)
    }

    /// The newest leader epoch that has written.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.load().latest()
    }

    /// The aborted transactions that have records in `from..upper`.
    #[must_use]
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Vec<AbortedTransaction> {
        let aborted = self.aborted.load();
        aborted
            .iter()
            .filter(|t| t.last_offset >= from && t.first_offset < upper)
            .copied()
            .collect()
    }

    /// The segments' base offsets, oldest first.
    #[must_use]
    pub fn segment_bases(&self) -> Vec<Offset> {
        self.segments.load().iter().map(|segment| segment.base_offset).collect()
    }
}
