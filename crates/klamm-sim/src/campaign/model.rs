//! What one partition must hold, by what was asked of it and what it promised. It reads no file.

use std::collections::BTreeMap;

use super::stored::{Purpose, Stored};

/// What an interrupted cut may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// Nothing was interrupted.
    No,
    /// `truncate_fully_and_start_at`: all, a part without a gap, or nothing from there on.
    StartingAnew(i64),
}

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// What was appended and not cut off again, also what is below the start.
    pub(crate) batches: Vec<Stored>,
    pub(crate) start: i64,
    /// The log start cannot go below: a checkpoint says so.
    pub(crate) start_min: i64,
    /// The log start cannot be above: nobody deleted more.
    pub(crate) start_max: i64,
    pub(crate) end: i64,
    /// Everything below was acknowledged as durable.
    pub(crate) acked: i64,
    /// A recovery point may say this much: it was true, if it was taken back since.
    pub(crate) synced_max: i64,
    /// From here on nothing was reloaded: producers know their last five batches.
    pub(crate) remembered_from: i64,
    pub(crate) interrupted: Interrupted,
    pub(crate) leader_epoch: i32,
    /// A write or sync failed: the log must refuse more.
    pub(crate) is_closed: bool,
}

/// A producer by the batches that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerModel {
    pub(crate) epoch: i16,
    /// First sequence, last sequence, last offset: the last five.
    pub(crate) batches: Vec<(i32, i32, i64)>,
    pub(crate) open_from: Option<i64>,
    pub(crate) coordinator_epoch: i32,
}

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedModel {
    pub(crate) id: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) last_stable: i64,
}

/// Producers remember so many batches (KIP-98).
pub(crate) const WINDOW: usize = 5;

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            batches: Vec::new(),
            start: 0,
            start_min: 0,
            start_max: 0,
            end: 0,
            acked: 0,
            synced_max: 0,
            remembered_from: 0,
            interrupted: Interrupted::No,
            leader_epoch: 0,
            is_closed: false,
        }
    }

    pub(crate) fn push(&mut self, batch: Stored) {
        self.end = batch.next();
        self.batches.push(batch);
    }

    /// Where a cut at `offset` ends the log: a batch that holds it goes as a whole.
    pub(crate) fn end_of_cut(&self, offset: i64) -> i64 {
        let holder = self.batches.iter().find(|batch| batch.next() > offset);
        holder.map_or(offset, |batch| batch.base.min(offset)).max(self.start)
    }

    pub(crate) fn cut_to(&mut self, end: i64) {
        self.batches.retain(|batch| batch.next() <= end);
        self.end = end;
        self.acked = self.acked.min(end);
        self.synced_max = self.synced_max.min(end);
        self.remembered_from = end;
    }

    pub(crate) fn start_anew(&mut self, offset: i64) {
        self.batches.clear();
        (self.start, self.start_max, self.end) = (offset, offset, offset);
        (self.acked, self.synced_max, self.remembered_from) = (offset, offset, offset);
    }

    /// Producers and aborted transactions, by a replay of the batches.
    pub(crate) fn replay(&self) -> (BTreeMap<i64, ProducerModel>, Vec<AbortedModel>) {
        let mut producers: BTreeMap<i64, ProducerModel> = BTreeMap::new();
        let mut aborted = Vec::new();
        for batch in &self.batches {
            let Some(writer) = batch.draft.writer else { continue };
            let fresh = ProducerModel {
                epoch: writer.epoch,
                coordinator_epoch: -1,
                ..ProducerModel::default()
            };
            let entry = producers.entry(writer.id).or_insert(fresh);
            if writer.epoch > entry.epoch {
                entry.epoch = writer.epoch;
                entry.batches.clear();
            }
            match batch.draft.purpose {
                Purpose::Marker { is_abort, coordinator_epoch } => {
                    entry.coordinator_epoch = entry.coordinator_epoch.max(coordinator_epoch);
                    let Some(first) = entry.open_from.take() else { continue };
                    let open = producers.values().filter_map(|p| p.open_from).min();
                    let last_stable = open.unwrap_or(batch.next());
                    if is_abort {
                        let (id, last) = (writer.id, batch.base);
                        aborted.push(AbortedModel { id, first, last, last_stable });
                    }
                }
                Purpose::Data | Purpose::Transaction => {
                    if let Some(last) = batch.last_sequence() {
                        if entry.batches.len() == WINDOW {
                            entry.batches.remove(0);
                        }
                        entry.batches.push((writer.sequence, last, batch.last()));
                    }
                    if batch.draft.purpose == Purpose::Transaction {
                        entry.open_from.get_or_insert(batch.base);
                    }
                }
            }
        }
        (producers, aborted)
    }

    /// The batches of a producer that the log must still know.
    pub(crate) fn remembered(&self, id: i64) -> Vec<&Stored> {
        let of_producer = |batch: &&Stored| {
            batch.base >= self.remembered_from
                && batch.draft.writer.is_some_and(|w| w.id == id && w.sequence >= 0)
        };
        let mut found: Vec<&Stored> = self.batches.iter().filter(of_producer).collect();
        let newest = found.last().and_then(|batch| batch.draft.writer).map(|w| w.epoch);
        found.retain(|batch| batch.draft.writer.map(|w| w.epoch) == newest);
        found.split_off(found.len().saturating_sub(WINDOW))
    }
}
