//! One step of work on one partition: what a broker asks of its logs, in any order.
//!
//! The model is told what may become true before a call is made, and what is true after it.

use klamm_log::{AppendError, Appended, FollowError, LogConfig, LogError, Origin};
use klamm_model::{LeaderEpoch, Offset};
use klamm_records::ValidBatch;

use super::finding::{Finding, ensure};
use super::model::Interrupted;
use super::stored::{Draft, NOW, Purpose, Stored, Wish, Writer};
use super::world::{Ending, World};

/// Producers without transactions, then those with.
const IDEMPOTENT: std::ops::RangeInclusive<i64> = 1..=3;
const TRANSACTIONAL: std::ops::RangeInclusive<i64> = 4..=6;

/// How often each step is taken, and what it is.
const STEPS: [(usize, Step); 23] = [
    (22, World::append_plain),
    (14, World::append_idempotent),
    (8, World::send_again),
    (4, World::send_out_of_order),
    (10, World::append_transactional),
    (8, World::end_transaction),
    (5, World::append_as_follower),
    (4, World::roll),
    (10, World::take_ticket),
    (10, World::honour_ticket),
    (1, World::drop_ticket),
    (5, World::sync),
    (4, World::checkpoint),
    (3, World::truncate),
    (1, World::truncate_fully),
    (3, World::delete_records),
    (4, World::retain),
    (2, World::remove_doomed),
    (3, World::next_leader_epoch),
    (9, World::compact),
    (1, World::make_topic_again),
    (LIFE_ENDS[0], World::close_and_reopen),
    (LIFE_ENDS[1], World::lose_process),
];

/// The weights of the last steps, which end a life of the process.
const LIFE_ENDS: [usize; 2] = [1, 2];

type Step = fn(&mut World, usize) -> Finding;

impl World {
    /// Does something with some partition.
    pub(crate) fn step(&mut self) -> Finding {
        self.one_of(&STEPS)
    }

    /// Does something with some partition that is not the end of the process.
    pub(crate) fn step_in_one_life(&mut self) -> Finding {
        self.one_of(&STEPS[..STEPS.len() - LIFE_ENDS.len()])
    }

    fn one_of(&mut self, steps: &[(usize, Step)]) -> Finding {
        let i = self.random.below(self.models.len());
        let total = steps.iter().map(|(weight, _)| weight).sum();
        let mut chosen = self.random.below(total);
        for (weight, step) in steps {
            if chosen < *weight {
                return step(self, i)
                    .and_then(|()| self.refuse_if_closed(i))
                    .map_err(|what| format!("partition {i}: {what}"));
            }
            chosen -= weight;
        }
        Ok(())
    }

    /// A log that failed takes nothing more and promises nothing more.
    fn refuse_if_closed(&mut self, i: usize) -> Finding {
        if !self.models[i].is_closed || self.node.is_none() {
            return Ok(());
        }
        self.append_plain(i)?;
        let acked = self.models[i].synced_max;
        let log = self.log(i)?;
        ensure(log.sync_ticket().is_err(), || "a ticket was given after a failure".to_owned())?;
        ensure(log.roll(NOW).is_err(), || "it rolled after a failure".to_owned())?;
        ensure(log.close_clean().is_err(), || "it closed in order after a failure".to_owned())?;
        let synced = log.view().synced_offset().0;
        ensure(synced <= acked, || format!("{synced} was acknowledged after a failure"))
    }

    fn pick_producer(&mut self, ids: std::ops::RangeInclusive<i64>) -> i64 {
        self.random.between(*ids.start(), *ids.end())
    }

    /// Where a producer goes on, by what the partition holds of it.
    fn next_writer(&mut self, i: usize, id: i64) -> Writer {
        let (producers, _) = self.models[i].replay();
        let Some(known) = producers.get(&id) else { return Writer { id, epoch: 0, sequence: 0 } };
        let is_in_transaction = known.open_from.is_some();
        if !is_in_transaction && self.random.one_in(8) {
            return Writer { id, epoch: known.epoch + 1, sequence: 0 };
        }
        let sequence = known.batches.last().map_or(0, |(_, last, _)| last + 1);
        Writer { id, epoch: known.epoch, sequence }
    }

    fn draft(&mut self, i: usize, writer: Option<Writer>, purpose: Purpose) -> Draft {
        let count = 1 + self.random.below(4);
        let is_keyed = self.models[i].compaction.is_some();
        Draft::data(&mut self.random, Wish { count, writer, purpose, is_keyed })
    }

    /// Appends a batch that the log must take.
    fn append(&mut self, i: usize, draft: &Draft, origin: Origin) -> Finding {
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

    fn send(
        &mut self,
        i: usize,
        draft: &Draft,
        origin: Origin,
    ) -> Result<Result<Appended, AppendError>, String> {
        let epoch = LeaderEpoch(self.models[i].leader_epoch);
        let batch = ValidBatch::own(&draft.bytes).map_err(|e| e.to_string())?;
        Ok(self.log(i)?.append_as_leader(batch, epoch, origin, NOW))
    }

    fn append_plain(&mut self, i: usize) -> Finding {
        let draft = self.draft(i, None, Purpose::Data);
        self.append(i, &draft, Origin::Client)
    }

    fn append_idempotent(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(IDEMPOTENT);
        let writer = self.next_writer(i, id);
        let draft = self.draft(i, Some(writer), Purpose::Data);
        self.append(i, &draft, Origin::Client)
    }

    fn append_transactional(&mut self, i: usize) -> Finding {
        let id = self.pick_producer(TRANSACTIONAL);
        let writer = self.next_writer(i, id);
        let draft = self.draft(i, Some(writer), Purpose::Transaction);
        self.append(i, &draft, Origin::Client)
    }

    fn end_transaction(&mut self, i: usize) -> Finding {
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
    fn send_again(&mut self, i: usize) -> Finding {
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

    fn send_out_of_order(&mut self, i: usize) -> Finding {
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

    fn append_as_follower(&mut self, i: usize) -> Finding {
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

    pub(crate) fn roll(&mut self, i: usize) -> Finding {
        self.say(|| format!("{i}: roll"));
        let result = self.log(i)?.roll(NOW);
        self.allowed(i, result).map(drop)
    }

    pub(crate) fn take_ticket(&mut self, i: usize) -> Finding {
        let result = self.log(i)?.sync_ticket();
        if let Some(Some(ticket)) = self.allowed(i, result)? {
            self.say(|| format!("{i}: ticket up to {}", ticket.up_to));
            self.tickets.push((i, ticket));
        }
        Ok(())
    }

    /// Honours some ticket, not always the oldest. After a failed sync none is honoured.
    fn honour_ticket(&mut self, _: usize) -> Finding {
        if self.tickets.is_empty() {
            return Ok(());
        }
        let n = if self.random.one_in(3) { self.random.below(self.tickets.len()) } else { 0 };
        self.honour(n)
    }

    pub(crate) fn honour(&mut self, n: usize) -> Finding {
        let (i, ticket) = self.tickets.remove(n);
        self.say(|| format!("{i}: honour {}", ticket.up_to));
        let disk = self.disk.clone();
        let is_offline = self.is_offline;
        let outcome = if is_offline { Err(()) } else { ticket.sync(&disk).map_err(drop) };
        if outcome.is_ok() {
            self.log(i)?.on_synced(ticket.up_to);
        } else {
            let excused = self.disk.is_off() || self.disk.failed() > 0;
            ensure(excused, || "a sync failed without a reason".to_owned())?;
            self.say(|| format!("{i}: the sync failed"));
            self.is_offline = true;
            self.log(i)?.on_sync_failed();
            self.models[i].is_closed = true;
        }
        self.acknowledge(i)
    }

    fn drop_ticket(&mut self, _: usize) -> Finding {
        self.tickets.pop();
        Ok(())
    }

    pub(crate) fn sync(&mut self, i: usize) -> Finding {
        self.take_ticket(i)?;
        if self.tickets.is_empty() { Ok(()) } else { self.honour(self.tickets.len() - 1) }
    }

    fn checkpoint(&mut self, _: usize) -> Finding {
        self.say(|| "checkpoints".to_owned());
        for i in 0..self.models.len() {
            let worth_bytes = *self.random.pick(&[1, 1, 2000, 1 << 20]);
            let result = self.log(i)?.prepare_checkpoint(worth_bytes);
            if !self.models[i].is_closed && self.allowed(i, result)? == Some(true) {
                self.take_ticket(i)?;
            }
        }
        self.write_checkpoints().map(drop)
    }

    fn truncate(&mut self, i: usize) -> Finding {
        let model = &self.models[i];
        if model.is_closed {
            return Ok(());
        }
        // A batch around the start stays: brokers do not cut below what they have deleted.
        let first = model.batches.iter().find(|batch| batch.next() > model.start);
        let low = first.map_or(model.end, |batch| batch.next());
        // Nor what was committed; a cleaner is given nothing else.
        let low = low.max(model.compaction.as_ref().map_or(0, |c| c.committed));
        let end = model.end;
        let offset = self.random.between(low.max(end - 12), end);
        let cut = self.models[i].end_of_cut(offset);
        self.say(|| format!("{i}: truncate to {offset}, which is {cut}"));
        if !self.take_back(i, cut)? {
            return Ok(());
        }
        let result = self.log(i)?.truncate_to(Offset(offset), NOW);
        if self.allowed(i, result)?.is_some() && offset < end {
            self.models[i].cut_to(cut);
        }
        Ok(())
    }

    /// Nothing from `offset` on is promised any more, and the checkpoint says so.
    fn take_back(&mut self, i: usize, offset: i64) -> Result<bool, String> {
        self.models[i].acked = self.models[i].acked.min(offset);
        self.log(i)?.lower_to(Offset(offset));
        let is_compacted = self.models[i].compaction.is_some();
        if is_compacted && !self.write_cleaner_offsets() {
            self.is_offline |= self.disk.failed_syncs() > 0;
            return Ok(false);
        }
        self.write_checkpoints()
    }

    fn truncate_fully(&mut self, i: usize) -> Finding {
        if self.models[i].is_closed {
            return Ok(());
        }
        let offset = self.models[i].end + self.random.between(-3, 50);
        let offset = offset.max(self.models[i].start);
        self.say(|| format!("{i}: begin anew at {offset}"));
        let start = self.models[i].start;
        if !self.take_back(i, start)? {
            return Ok(());
        }
        self.models[i].interrupted = Interrupted::StartingAnew(offset);
        let result = self.log(i)?.truncate_fully_and_start_at(Offset(offset), NOW);
        if self.allowed(i, result)?.is_some() {
            self.models[i].interrupted = Interrupted::No;
            self.models[i].start_anew(offset);
        }
        Ok(())
    }

    fn delete_records(&mut self, i: usize) -> Finding {
        let model = &self.models[i];
        // As brokers do: nothing above the high watermark.
        let offset = self.random.between(model.start, model.acked.max(model.start));
        self.say(|| format!("{i}: delete records below {offset}"));
        self.log(i)?.delete_records(Offset(offset)).map_err(|e| e.to_string())?;
        self.models[i].start = offset;
        self.models[i].start_max = self.models[i].start_max.max(offset);
        Ok(())
    }

    fn retain(&mut self, i: usize) -> Finding {
        if self.models[i].is_closed {
            return Ok(());
        }
        let bytes = self.random.below(40_000) as u64;
        let acked = self.models[i].acked;
        self.say(|| format!("{i}: retain {bytes} bytes"));
        let config = LogConfig { retention_bytes: Some(bytes), ..self.configs[i].clone() };
        self.models[i].start_max = self.models[i].start_max.max(acked);
        let log = self.log(i)?;
        log.reconfigure(config);
        let result = log.delete_old_segments(NOW, Offset(acked));
        let start = log.log_start_offset().0;
        let is_done = self.allowed(i, result)?.is_some();
        let model = &mut self.models[i];
        ensure((model.start..=acked.max(model.start)).contains(&start), || {
            format!("retention moved the start from {} to {start} of {acked}", model.start)
        })?;
        model.start = start;
        if is_done {
            model.start_max = start;
        }
        Ok(())
    }

    fn remove_doomed(&mut self, i: usize) -> Finding {
        let result = self.log(i)?.remove_doomed(NOW);
        if self.models[i].is_closed { Ok(()) } else { self.allowed(i, result).map(drop) }
    }

    fn next_leader_epoch(&mut self, i: usize) -> Finding {
        self.models[i].leader_epoch += 1;
        if self.random.one_in(2) {
            let epoch = LeaderEpoch(self.models[i].leader_epoch);
            self.log(i)?.assign_leader_epoch(epoch);
        }
        Ok(())
    }

    fn close_and_reopen(&mut self, _: usize) -> Finding {
        self.end(Ending::Clean)
    }

    fn lose_process(&mut self, _: usize) -> Finding {
        let ending = *self.random.pick(&[Ending::Kill, Ending::Crash]);
        self.end(ending)
    }
}
