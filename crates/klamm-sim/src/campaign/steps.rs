//! One step of work on one partition: what a broker asks of its logs, in any order.
//!
//! The model is told what may become true before a call is made, and what is true after it.

use klamm_model::LeaderEpoch;

use super::finding::{Finding, ensure};
use super::stored::NOW;
use super::world::{Ending, World};

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
