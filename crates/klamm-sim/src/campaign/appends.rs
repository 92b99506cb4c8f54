//! Steps that append: what producers, leaders and coordinators send, in order and out of it.
//!
//! The model is told what may become true before a call is made, and what is true after it.

use klamm_log::{AppendError, Appended, FollowError, LogError, Origin};
use klamm_model::LeaderEpoch;
use klamm_records::ValidBatch;

use super::finding::{Finding, ensure};
use super::stored::{Draft, NOW, Purpose, Stored, Wish, Writer};
use super::world::World;

/// Producers without transactions, then those with.
const IDEMPOTENT: std::ops::RangeInclusive<i64> = 1..=3;
const TRANSACTIONAL: std::ops::RangeInclusive<i64> = 4..=6;

impl World {
    pub(super) fn pick_producer(&mut self, ids: std::ops::RangeInclusive<i64>) -> i64 {
        self.random.between(*ids.start(), *ids.end())
    }

    /// Where a producer goes on, by what the partition holds of it.
    pub(super) fn next_writer(&mut self, i: usize, id: i64) -> Writer {
        let (producers, _) = self.models[i].replay();
        let Some(known) = producers.get(&id) else { return Writer { id, epoch: 0, sequence: 0 } };
        let is_in_transaction = known.open_from.is_some();
        if !is_in_transaction && self.random.one_in(8) {
            return Writer { id, epoch: known.epoch + 1, sequence: 0 };
        }
        let sequence = known.batches.last().map_or(0, |(_, last, _)| last + 1);
        Writer { id, epoch: known.epoch, sequence }
    }

    pub(super) fn draft(&mut self, i: usize, writer: Option<Writer>, purpose: Purpose) -> Draft {
        let count = 1 + self.random.below(4);
        let is_keyed = self.models[i].compaction.is_some();
        Draft::data(&mut self.random, Wish { count, writer, purpose, is_keyed })
    }

    /// Appends a batch that the log must take.
    pub(super) fn append(&mut self, i: usize, draft: &Draft, origin: Origin) -> Finding {
        let model = &mut self.models[i];
        let stored = draft.clone().at(model.end, model.leader_epoch);
        let (base, last, was_closed) = (stored.base, stored.last(), model.is_closed);
        // It may be on the disk whatever the call says.
        let before = model.clone();
        model.push(stored);
        self.say(|| format!("{i}: append {base}..={last} {:?} {:?}", draft.writer, draft.purpose));
        let result = self.send(i, draft, origin)?;
        match result {
            Ok(appended) => {
                ensure(!was_closed, || "it was appended after a failure".to_owned())?;
                let found = (appended.base_offset.0, appended.last_offset.0);
                ensure(found == (base, last) && !appended.is_duplicate, || {
                    format!("appended as {appended:?} instead of {base}..={last}")
                })
            }
            Err(_) if was_closed => {
                self.models[i] = before;
                Ok(())
            }
            Err(AppendError::Disk(error)) => {
                if matches!(error, LogError::Full { .. }) && !self.disk.is_off() {
                    self.models[i] = before;
                }
                self.allowed::<()>(i, Err(error)).map(drop)
            }
            Err(error) => Err(format!("the batch for {base} was refused: {error}")),
        }
    }

    pub(super) fn send(
        &mut self,
        i: usize,
        draft: &Draft,
        origin: Origin,
    ) -> Result<Result<Appended, AppendError>, String> {
        let epoch = LeaderEpoch(self.models[i].leader_epoch);
        let batch = ValidBatch::own(&draft.bytes).map_err(|e| e.to_string())?;
        Ok(self.log(i)?.append_as_leader(batch, epoch, origin, NOW))
    }

    pub(super) fn append_plain(&mut self, i: usize) -> Finding {
        let draft = self.draft(i, None, Purpose::Data);
        self.append(i, &draft, Origin::Client)
    }

    pub(super) fn append_idempotent(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(IDEMPOTENT);
        let writer = self.next_writer(i, id);
        let draft = self.draft(i, Some(writer), Purpose::Data);
        self.append(i, &draft, Origin::Client)
    }

    pub(super) fn append_transactional(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(TRANSACTIONAL);
        let writer = self.next_writer(i, id);
        let draft = self.draft(i, Some(writer), Purpose::Transaction);
        self.append(i, &draft, Origin::Client)
    }

    pub(super) fn end_transaction(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(TRANSACTIONAL);
        let (producers, _) = self.models[i].replay();
        let Some(known) = producers.get(&id).filter(|known| known.open_from.is_some()) else {
            return Ok(());
        };
        let coordinator_epoch = known.coordinator_epoch.max(0) + self.random.below(2) as i32;
        let is_abort = self.random.one_in(2);
        let draft = Draft::marker(id, known.epoch, is_abort, coordinator_epoch);
        self.append(i, &draft, Origin::Broker)
    }

    /// A batch that is in the log already is stored once.
    pub(super) fn send_again(&mut self, i: usize) -> Finding {
        if self.models[i].is_closed {
            return Ok(());
        }
        let id = self.pick_producer(1..=6);
        let known: Vec<Stored> = self.models[i].remembered(id).into_iter().cloned().collect();
        // The newest is known even if it came from a snapshot.
        let newest =
            |batch: &&Stored| batch.draft.writer.is_some_and(|w| w.id == id && w.sequence >= 0);
        let (producers, _) = self.models[i].replay();
        let last = self.models[i].batches.iter().rev().find(newest).filter(|batch| {
            producers.get(&id).is_some_and(|p| Some(p.epoch) == batch.draft.writer.map(|w| w.epoch))
        });
        let choices: Vec<Stored> = known.into_iter().chain(last.cloned()).collect();
        if choices.is_empty() {
            return Ok(());
        }
        let batch = self.random.pick(&choices).clone();
        self.say(|| format!("{i}: send {} again", batch.base));
        match self.send(i, &batch.draft, Origin::Client)? {
            Ok(appended) => {
                let found = (appended.base_offset.0, appended.last_offset.0);
                ensure(appended.is_duplicate && found == (batch.base, batch.last()), || {
                    format!("{} sent again became {appended:?}", batch.base)
                })
            }
            Err(error) => Err(format!("{} sent again was refused: {error}", batch.base)),
        }
    }

    pub(super) fn send_out_of_order(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(1..=6);
        let (producers, _) = self.models[i].replay();
        let Some(known) = producers.get(&id).filter(|known| !known.batches.is_empty()) else {
            return Ok(());
        };
        let last = known.batches.last().map_or(0, |(_, last, _)| *last);
        let writer = Writer { id, epoch: known.epoch, sequence: last + 2 };
        let draft = self.draft(i, Some(writer), Purpose::Data);
        match self.send(i, &draft, Origin::Client)? {
            Err(AppendError::Sequence(_)) => Ok(()),
            Err(AppendError::Disk(_)) if self.models[i].is_closed => Ok(()),
            other => Err(format!("a batch with a gap before it was answered with {other:?}")),
        }
    }

    pub(super) fn append_as_follower(&mut self, i: usize) -> Finding {
        if self.models[i].is_closed {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for _ in 0..=self.random.below(3) {
            let id = self.pick_producer(IDEMPOTENT);
            let writer = self.next_writer(i, id);
            let writer = Some(writer).filter(|_| !self.random.one_in(2));
            let draft = self.draft(i, writer, Purpose::Data);
            let model = &mut self.models[i];
            let stored = draft.at(model.end, model.leader_epoch);
            bytes.extend_from_slice(&stored.draft.bytes);
            model.push(stored);
        }
        let end = self.models[i].end;
        self.say(|| format!("{i}: follow to {end}"));
        if self.random.one_in(3) {
            // The answer of a leader may end in the middle of a batch.
            let draft = self.draft(i, None, Purpose::Data).at(end, self.models[i].leader_epoch);
            bytes.extend_from_slice(
                &draft.draft.bytes[..self.random.below(draft.draft.bytes.len())],
            );
        }
        match self.log(i)?.append_as_follower(&bytes, NOW) {
            Ok(found) => ensure(found.0 == end, || format!("followed to {found}, not to {end}")),
            Err(FollowError::Disk(error)) => {
                if matches!(error, LogError::Full { .. }) && !self.disk.is_off() {
                    // Batches before the one that found no room are there.
                    let end = self.log(i)?.log_end_offset().0;
                    self.models[i].batches.retain(|batch| batch.next() <= end);
                    self.models[i].end = end;
                }
                self.allowed::<()>(i, Err(error)).map(drop)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
