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

/// What the cleaner was given of a compacted partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compaction {
    /// When it ran.
    pub(crate) runs: Vec<i64>,
    pub(crate) delete_retention_ms: i64,
    /// Nothing from here on was ever given to it.
    pub(crate) handed_over: i64,
    /// So much was committed when it ran last: nobody cuts below.
    pub(crate) committed: i64,
    /// A run failed: it is left alone until the next life.
    pub(crate) is_uncleanable: bool,
}

impl Compaction {
    /// Whether a tombstone or marker of that age may be gone: the first run that met it gave it
    /// a delete horizon at the earliest, and a later one found that over (KIP-534).
    pub(crate) fn may_forget(&self, runs_before: usize) -> bool {
        let Some(first) = self.runs.get(runs_before) else { return false };
        self.runs.last().is_some_and(|last| *last >= first + self.delete_retention_ms)
    }
}

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Which topic's it is: a topic that is made again has another id.
    pub(crate) topic_id: u128,
    /// Of a compacted partition; then the log may hold less than `batches`.
    pub(crate) compaction: Option<Compaction>,
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
            topic_id: 0x5eed,
            compaction: None,
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

    pub(crate) fn push(&mut self, mut batch: Stored) {
        self.end = batch.next();
        batch.runs_before = self.compaction.as_ref().map_or(0, |compaction| compaction.runs.len());
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
        self.hand_back(end);
    }

    /// What is appended at `end` next was not given to the cleaner.
    fn hand_back(&mut self, end: i64) {
        if let Some(compaction) = &mut self.compaction {
            compaction.handed_over = compaction.handed_over.min(end);
            compaction.committed = compaction.committed.min(end);
        }
    }

    /// The partition of a topic that was deleted and made again.
    pub(crate) fn make_again(&self) -> Self {
        let retention = self.compaction.as_ref().map(|c| c.delete_retention_ms);
        let compaction = retention
            .map(|delete_retention_ms| Compaction { delete_retention_ms, ..Compaction::default() });
        let topic_id = self.topic_id + 1;
        Self { topic_id, compaction, leader_epoch: self.leader_epoch, ..Self::new() }
    }

    pub(crate) fn start_anew(&mut self, offset: i64) {
        self.batches.clear();
        (self.start, self.start_max, self.end) = (offset, offset, offset);
        (self.acked, self.synced_max, self.remembered_from) = (offset, offset, offset);
        self.hand_back(offset);
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
