//! The cleaner at work: the production code over the simulated disk, stopped, starved and crashed.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use klamm_env::Random;
use klamm_log::{
    CleanError, Cleaner, CleanerOptions, Durability, KeySecret, Log, LogError, LogOwner, Pace,
    Stopped,
};
use klamm_model::{Offset, Timestamp};

use super::finding::{Finding, ensure};
use super::world::World;

/// A slot of the cleaner's table of keys.
const SLOT_BYTES: u64 = 24;

/// A log that nobody else asks meanwhile.
struct Alone<'a>(RefCell<&'a mut Log>);

impl LogOwner for Alone<'_> {
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T {
        ask(&mut self.0.borrow_mut())
    }
}

/// A cleaner that is stopped after so many pieces of work; `None`: never.
struct StoppedAfter(Option<usize>);

impl Pace for StoppedAfter {
    fn spend(&mut self, _bytes: u64) -> Result<(), Stopped> {
        match &mut self.0 {
            None => Ok(()),
            Some(0) => Err(Stopped),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// Bits that come back with their seed.
#[derive(Debug)]
struct Bits(AtomicU64);

impl Random for Bits {
    fn bits(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

impl World {
    /// Cleans a partition, if it is compacted and there is anything to clean.
    pub(crate) fn compact(&mut self, i: usize) -> Finding {
        let Some(compaction) = &self.models[i].compaction else { return Ok(()) };
        if compaction.is_uncleanable || self.models[i].is_closed {
            return Ok(());
        }
        if self.random.one_in(2) {
            // The active segment is never cleaned.
            self.sync(i)?;
            self.roll(i)?;
            if self.models[i].is_closed || self.is_offline {
                return Ok(());
            }
        }
        self.now_ms += self.random.between(0, 1500);
        let now = Timestamp(self.now_ms);
        // What is committed: with `page-cache` durability that is all there is.
        let is_in_memory = self.configs[i].durability == Durability::PageCache;
        let committed = if is_in_memory { self.models[i].end } else { self.models[i].acked };
        let log = self.log(i)?;
        let stable = log.view().last_stable_offset(Offset(committed)).0;
        let Some(candidate) = log.compaction_candidate() else { return Ok(()) };
        let plan = match candidate.assess(Offset(stable), now) {
            Ok(plan) => plan,
            Err(error) => return self.on_not_cleaned(i, &error),
        };
        if plan.first_uncleanable_offset <= plan.first_dirty_offset {
            return Ok(());
        }
        let upper = plan.first_uncleanable_offset.0;
        ensure(upper <= stable, || format!("{upper} is to be cleaned, and {stable} is stable"))?;
        if let Some(compaction) = &mut self.models[i].compaction {
            compaction.runs.push(now.0);
            compaction.handed_over = compaction.handed_over.max(upper);
            compaction.committed = compaction.committed.max(committed);
        }
        self.say(|| format!("{i}: compact {} to {upper}", plan.first_dirty_offset));
        let mut cleaner = self.cleaner();
        let stops = Some(self.random.below(12)).filter(|_| self.random.one_in(6));
        let mut pace = StoppedAfter(stops);
        let owner = Alone(RefCell::new(self.log(i)?));
        match cleaner.clean(&owner, (&candidate, &plan), now, &mut pace) {
            Ok(report) => {
                let found = report.cleaned_to.0;
                ensure(found <= upper, || format!("it was cleaned to {found} instead of {upper}"))?;
                self.tally.runs += 1;
                self.tally.records_removed += report.records_before - report.records_after;
                let is_written = self.write_cleaner_offsets();
                let is_excused = self.disk.is_off() || self.disk.failed() > 0;
                ensure(is_written || is_excused, || "the cleaner's checkpoint failed".to_owned())?;
                self.is_offline |= !is_written && self.disk.failed_syncs() > 0;
                Ok(())
            }
            Err(CleanError::Stopped) => {
                self.tally.ended_early += 1;
                ensure(stops.is_some(), || "it stopped although nobody asked".to_owned())
            }
            Err(CleanError::Disturbed) => {
                ensure(self.disk.is_off(), || "it was disturbed by nobody".to_owned())
            }
            Err(CleanError::Log(error)) => self.on_not_cleaned(i, &error),
        }
    }

    /// A cleaner with a table of keys that may be too small for one run.
    fn cleaner(&mut self) -> Cleaner {
        let slots = *self.random.pick(&[4, 6, 12, 4096]);
        let options =
            CleanerOptions { keys_bytes: slots * SLOT_BYTES, load_factor: 0.9, io_bytes: 4096 };
        let bits = Bits(AtomicU64::new(self.random.bits()));
        Cleaner::new(KeySecret::new(&bits), options)
    }

    fn on_not_cleaned(&mut self, i: usize, error: &LogError) -> Finding {
        self.tally.ended_early += 1;
        if self.disk.is_off() {
            return Ok(());
        }
        ensure(self.disk.failed() > 0, || format!("it cannot be cleaned: {error}"))?;
        self.say(|| format!("  partition {i}: the cleaner failed: {error}"));
        let is_closed = self.log(i)?.is_closed_for_writing();
        self.models[i].is_closed |= is_closed;
        let is_full = matches!(error, LogError::Full { .. });
        if let Some(compaction) = self.models[i].compaction.as_mut().filter(|_| !is_full) {
            compaction.is_uncleanable = true;
        }
        Ok(())
    }
}
