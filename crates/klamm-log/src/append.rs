//! Appending: sequence checks, one write, and what is remembered of it.

use std::io::IoSlice;

use klamm_model::{LeaderEpoch, Offset, Timestamp, Verification};
use klamm_records::{BatchError, BatchHeader, BatchView, Producer, ValidBatch};

use crate::appended::{AppendError, Appended, FollowError, Origin};
use crate::error::{LogError, is_full};
use crate::log::Log;
use crate::names::LOG_SUFFIX;
use crate::producers::marker::{Marker, marker_in, marker_of};
use crate::producers::rules;

impl Log {
    /// Begins to ask whether a producer's transaction may begin here; `None` if it has begun.
    ///
    /// # Errors
    /// The disk failed.
    pub fn begin_verification(
        &mut self,
        producer: Producer,
        wall: Timestamp,
    ) -> Result<Option<Verification>, LogError> {
        let woken = self.wake();
        self.closing_on_failure(woken)?;
        if self.producers.is_in_transaction(producer) {
            return Ok(None);
        }
        Ok(Some(self.verifications.begin(producer, wall)))
    }

    /// Appends a batch at the end of the log, in the leader's epoch. One write of the batch's
    /// bytes as they lie; nothing is synced.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_as_leader(
        &mut self,
        mut batch: ValidBatch<'_>,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        wall: Timestamp,
    ) -> Result<Appended, AppendError> {
        let woken = self.wake();
        self.closing_on_failure(woken).map_err(AppendError::Disk)?;
        let marker = marker_of(&batch)?;
        let remembered = (&self.producers, &self.verifications, self.log_end_offset());
        if let Some(known) = rules::check(remembered, batch.header(), marker, origin)? {
            return Ok(known);
        }
        let bytes = batch.size_in_bytes();
        if bytes as u64 > self.config.segment_bytes {
            return Err(AppendError::TooLarge { bytes, segment_bytes: self.config.segment_bytes });
        }
        batch.place(self.log_end_offset(), leader_epoch);
        let header = *batch.header();
        let result = self.place(&header, marker, (&batch.parts(), wall));
        self.closing_unless_full(result).map_err(AppendError::Disk)?;
        self.verifications.on_appended(&header, origin);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            is_duplicate: false,
        })
    }

    /// Appends what a leader sent: whole batches with offsets and epochs of its own, the last of
    /// which may be cut. Gives the end of the log.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        wall: Timestamp,
    ) -> Result<Offset, FollowError> {
        let woken = self.wake();
        self.closing_on_failure(woken)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let log_end_offset = self.log_end_offset();
            let batch = match BatchView::parse(rest) {
                Ok(batch) => batch,
                // The end of what the leader could send in one answer.
                Err(BatchError::Short { .. }) => break,
                Err(error) => return Err(FollowError::Batch { log_end_offset, error }),
            };
            batch.check_crc().map_err(|error| FollowError::Batch { log_end_offset, error })?;
            let header = *batch.header();
            if header.base_offset < log_end_offset {
                let base_offset = header.base_offset;
                return Err(FollowError::Offset { base_offset, log_end_offset });
            }
            let (len, segment_bytes) = (batch.bytes().len(), self.config.segment_bytes);
            // One segment holds no more than an index can point into.
            if len as u64 > segment_bytes.max(u64::from(u32::MAX >> 1)) {
                return Err(FollowError::TooLarge { bytes: len, segment_bytes });
            }
            let marker = marker_in(&batch);
            let result = self.place(&header, marker, (&[batch.bytes(), &[]], wall));
            self.closing_unless_full(result)?;
            rest = &rest[len..];
        }
        Ok(self.log_end_offset())
    }

    /// Writes a batch where its header says and takes note of it.
    fn place(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
        (parts, wall): (&[&[u8]; 2], Timestamp),
    ) -> Result<(), LogError> {
        self.check_usable()?;
        self.roll_if_due(header, wall)?;
        self.write(parts)?;
        self.on_written(header, marker)
    }

    fn write(&mut self, parts: &[&[u8]; 2]) -> Result<(), LogError> {
        if self.active.is_empty() && self.active.segment.open_file().is_none() {
            let active = std::sync::Arc::clone(&self.active.segment);
            self.create_file(&active)?;
        }
        let slices = [IoSlice::new(parts[0]), IoSlice::new(parts[1])];
        let path = self.active.segment.path(LOG_SUFFIX);
        let file = self.active.segment.file_to_write().map_err(LogError::io(&path))?;
        if let Err(error) = file.write_all_at(&slices, self.active.written) {
            // Part of the bytes may be there. If only room is wanting they are cut off again, and
            // the log goes on as it was. After any other failure nothing more is appended in this
            // life, and the next one cuts the torn tail (never a retry: the pages' state is
            // unknown).
            if is_full(&error) {
                file.set_len(self.active.written).map_err(LogError::io(&path))?;
            }
            return Err(LogError::growth(&path)(error));
        }
        self.active.written += (parts[0].len() + parts[1].len()) as u64;
        Ok(())
    }

    /// Takes note of a batch that was just written.
    fn on_written(&mut self, header: &BatchHeader, marker: Option<Marker>) -> Result<(), LogError> {
        let position = self.active.on_written(header, self.config.index_interval_bytes);
        if self.epochs.latest() != Some(header.partition_leader_epoch) {
            self.epochs.assign(header.partition_leader_epoch, header.base_offset);
            self.view.epochs.store(self.epochs.clone().into());
        }
        self.note_producer(header, marker)?;
        self.flush_timer.on_appended(header.record_count.unsigned_abs());
        // Remembered first, then shown: whoever sees the bytes finds the batch (see `LogView`).
        self.view.recent.remember(header, self.active.segment.base_offset, position);
        self.active.segment.publish_size(self.active.written);
        self.view.publish_end(header.next_offset());
        Ok(())
    }

    fn note_producer(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
    ) -> Result<(), LogError> {
        let Some(producer) = header.producer else { return Ok(()) };
        match marker {
            Some(marker) => {
                if let Some(first_offset) = self.producers.open_transaction(producer.id) {
                    self.view.undecided.add(first_offset, header.base_offset);
                }
                if let Some(aborted) = self.producers.on_marker(header, marker) {
                    let added = self.aborted.add(aborted, &self.active.segment);
                    self.aborted.publish(&self.view);
                    added?;
                }
            }
            None => self.producers.on_appended(header),
        }
        if header.attributes.is_transactional() {
            self.publish_first_unstable();
        }
        Ok(())
    }

    /// A transaction that began below the log's start holds readers back at the start.
    pub(crate) fn publish_first_unstable(&self) {
        let start = self.log_start_offset();
        let first = self.producers.first_unstable_offset().map(|offset| offset.max(start));
        self.view.publish_first_unstable(first);
    }
}
