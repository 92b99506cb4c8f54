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

pub(crate) mod read;
pub(crate) mod recent;
pub(crate) mod timestamps;
pub(crate) mod undecided;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use klamm_env::{FileSlice, Patience};
use klamm_model::{LeaderEpoch, Offset};

use crate::epochs::{EpochEnd, LeaderEpochs};
use crate::error::LogError;
use crate::segment::Segment;
use crate::segment::transaction_index::AbortedTransaction;
use crate::view::read::{AtLeastOne, IsFromDisk, Limits, Read, ReadError};
use crate::view::recent::{Recent, RecentBatches};
use crate::view::undecided::Undecided;

/// How often a reader starts again because the log was cut under it.
const RACES_MAX: usize = 16;

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
    pub(crate) recent: RecentBatches,
    pub(crate) undecided: Undecided,
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
            recent: RecentBatches::default(),
            undecided: Undecided::default(),
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
        let ended = self.undecided.first_at(high_watermark).unwrap_or(high_watermark);
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

    /// Readers that fail from now on ask again.
    pub(crate) fn begin_cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.recent.clear();
    }

    /// How often the log was cut, twice: odd while it is.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
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

    /// Where the batch with `offset` is in its segment, and its size.
    fn place(
        &self,
        segment: &Segment,
        offset: Offset,
        patience: Patience,
    ) -> Result<Option<(u64, u64)>, LogError> {
        match self.recent.find((segment.base_offset, offset), || self.log_end_offset()) {
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
