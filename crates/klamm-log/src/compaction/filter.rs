//! A batch in, its survivors out (Kafka: `Cleaner.cleanInto`, `MemoryRecords.filterTo`). Pure over
//! bytes: the batch's checksum was compared before.
//!
//! ```text
//! everything survives, no new delete horizon ──▶ copied byte for byte
//! something fell out, or tombstones get a horizon ──▶ written again (rewrite.rs)
//! nothing survives ──▶ gone; an empty batch if its offsets or its producer are needed
//! ```

use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView, ControlRecordType, RecordsError, Scratch};

use super::extents::Extent;
use super::keys::KeyOffsets;
use super::rewrite::{RewriteError, Rewriter, Survivors, write_empty};
use super::rules::{LastData, Rules, Seen};
use super::survival::Walk;
use super::transactions::{Control, Need, Transactions};
use crate::seeded_bugs::{SeededBug, is_seeded};

/// What becomes of an empty batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfEmpty {
    Drop,
    /// It ends a segment: the next begins where it ends, and nobody must take that for a loss.
    Keep,
}

/// Filters the batches of one log, in order.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    rules: &'a Rules,
    keys: &'a KeyOffsets,
    /// The last offsets of the batches that producers need, in order; `None` if any may be needed.
    needed: Option<Vec<Offset>>,
    pub(super) transactions: Transactions,
    pub(super) seen: Seen,
    survivors: Survivors,
    rewriter: Rewriter,
    scratch: Scratch,
}

impl<'a> Filter<'a> {
    pub(super) fn new(rules: &'a Rules, keys: &'a KeyOffsets, transactions: Transactions) -> Self {
        Self {
            rules,
            keys,
            needed: rules.needed_batches(),
            transactions,
            seen: Seen::default(),
            survivors: Survivors::default(),
            rewriter: Rewriter::default(),
            scratch: Scratch::default(),
        }
    }

    /// Passes over an extent if nothing of it stays, whatever else is in it.
    pub(super) fn skip(&mut self, extent: &Extent) -> bool {
        let last_offset = extent.next_offset.plus(-1);
        let is_needed = self.needed.as_ref().is_none_or(|needed| {
            let next = needed.partition_point(|offset| *offset < extent.first_offset);
            needed.get(next).is_some_and(|offset| *offset <= last_offset)
        });
        let count = self.keys.superseded().count_between(extent.first_offset, last_offset);
        let is_skipped =
            !is_needed && last_offset <= self.keys.latest_offset() && count == extent.record_count;
        if is_skipped {
            self.seen.records_read += extent.record_count;
            self.seen.batches_changed += 1;
        }
        is_skipped
    }

    /// Appends what stays of `batch` to `out`.
    ///
    /// # Errors
    /// Its records cannot be read or written.
    pub(super) fn filter(
        &mut self,
        batch: &BatchView<'_>,
        if_empty: IfEmpty,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let is_control = batch.attributes.is_control();
        let need = match is_control {
            true => self.transactions.on_control(batch, control(batch)?),
            false => self.transactions.on_data(batch),
        };
        self.seen.records_read += u64::from(batch.record_count.unsigned_abs());
        let if_empty = if self.is_last_of_producer(batch) { IfEmpty::Keep } else { if_empty };
        let is_gone = need == Need::Obsolete
            && (!is_control || batch.delete_horizon().is_some_and(|at| at <= self.rules.now));
        let is_gone = is_gone || (is_control && is_seeded(SeededBug::MarkerDropped));
        if is_gone || batch.record_count == 0 {
            self.nothing_left(batch, if_empty, out);
            return Ok(());
        }
        if is_control {
            let is_empty_transaction = need == Need::Obsolete;
            return self.keep_marker(batch, is_empty_transaction.then_some(()), out);
        }
        if batch.base_offset > self.keys.latest_offset() {
            self.copy(batch, out);
            return Ok(());
        }
        self.filter_records(batch, if_empty, out)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let Some(producer) = header.producer else { return false };
        let last = self.rules.last_records.get(&producer.id);
        let is_control = header.attributes.is_control();
        last.is_some_and(|known| match known.data {
            LastData::At { last, stable } => [last, stable].contains(&header.last_offset()),
            LastData::Any => !is_control,
            LastData::Nothing => is_control && producer.epoch == known.epoch,
        })
    }

    fn copy(&mut self, batch: &BatchView<'_>, out: &mut Vec<u8>) {
        self.seen.records_kept += u64::from(batch.record_count.unsigned_abs());
        out.extend_from_slice(batch.bytes());
    }

    fn nothing_left(&mut self, batch: &BatchView<'_>, if_empty: IfEmpty, out: &mut Vec<u8>) {
        if if_empty == IfEmpty::Keep && batch.record_count == 0 {
            return self.copy(batch, out);
        }
        self.seen.batches_changed += 1;
        if if_empty == IfEmpty::Keep {
            write_empty(batch, out);
        }
    }

    /// A marker stays as it is. Of a transaction without batches it gets a delete horizon, so
    /// that slow readers still meet it (KIP-534).
    fn keep_marker(
        &mut self,
        batch: &BatchView<'_>,
        empty_transaction: Option<()>,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        if empty_transaction.is_none() || batch.delete_horizon().is_some() {
            self.copy(batch, out);
            return Ok(());
        }
        let body = self.scratch.decompress(codec(batch)?, batch.body());
        let body = body.map_err(RecordsError::Decompress)?;
        self.survivors.ranges.clear();
        self.survivors.ranges.push(0..body.len());
        self.survivors.count = batch.record_count;
        self.survivors.max_timestamp = batch.max_timestamp;
        self.seen.records_kept += u64::from(batch.record_count.unsigned_abs());
        self.seen.batches_changed += 1;
        let horizon = new_horizon(self.rules);
        self.rewriter.write((batch, body), &self.survivors, Some(horizon), out)
    }

    fn filter_records(
        &mut self,
        batch: &BatchView<'_>,
        if_empty: IfEmpty,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let walk = Walk::new(batch, self.rules, self.keys);
        if walk.is_superseded_whole() {
            self.nothing_left(batch, if_empty, out);
            return Ok(());
        }
        let body = self.scratch.decompress(codec(batch)?, batch.body());
        let body = body.map_err(RecordsError::Decompress)?;
        let has_tombstones = walk.survivors(body, &mut self.survivors, &mut self.seen)?;
        let count = self.survivors.count;
        self.seen.records_kept += u64::from(count.unsigned_abs());
        let horizon =
            (has_tombstones && batch.delete_horizon().is_none()).then(|| new_horizon(self.rules));
        if count == 0 {
            self.nothing_left(batch, if_empty, out);
        } else if count == batch.record_count && horizon.is_none() {
            out.extend_from_slice(batch.bytes());
        } else {
            self.seen.batches_changed += 1;
            self.rewriter.write((batch, body), &self.survivors, horizon, out)?;
        }
        Ok(())
    }
}

fn new_horizon(rules: &Rules) -> Timestamp {
    Timestamp(rules.now.0.saturating_add(rules.delete_retention_ms))
}

fn codec(header: &BatchHeader) -> Result<klamm_records::Codec, RecordsError> {
    header.attributes.codec().map_err(RecordsError::Codec)
}

/// What a control batch says.
pub(super) fn control(batch: &BatchView<'_>) -> Result<Control, RecordsError> {
    let mut scratch = Scratch::default();
    let Some(record) = batch.records(&mut scratch)?.next() else { return Ok(Control::Empty) };
    Ok(match ControlRecordType::of(&record?) {
        Ok(Some(ControlRecordType::Abort)) => Control::Abort,
        Ok(Some(ControlRecordType::Commit)) => Control::Commit,
        _ => Control::Other,
    })
}
