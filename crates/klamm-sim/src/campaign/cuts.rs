//! Steps that take something away: from the end of a log, from its start, or all of it.
//!
//! The model is told what may become true before a call is made, and what is true after it.

use klamm_log::LogConfig;
use klamm_model::Offset;

use super::finding::{Finding, ensure};
use super::model::Interrupted;
use super::stored::NOW;
use super::world::World;

impl World {
    pub(super) fn truncate(&mut self, i: usize) -> Finding {
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
    pub(super) fn take_back(&mut self, i: usize, offset: i64) -> Result<bool, String> {
        self.models[i].acked = self.models[i].acked.min(offset);
        self.log(i)?.lower_to(Offset(offset));
        let is_compacted = self.models[i].compaction.is_some();
        if is_compacted && !self.write_cleaner_offsets() {
            self.is_offline |= self.disk.failed_syncs() > 0;
            return Ok(false);
        }
        self.write_checkpoints()
    }

    pub(super) fn truncate_fully(&mut self, i: usize) -> Finding {
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

    pub(super) fn delete_records(&mut self, i: usize) -> Finding {
        let model = &self.models[i];
        // As brokers do: nothing above the high watermark.
        let offset = self.random.between(model.start, model.acked.max(model.start));
        self.say(|| format!("{i}: delete records below {offset}"));
        self.log(i)?.delete_records(Offset(offset)).map_err(|e| e.to_string())?;
        self.models[i].start = offset;
        self.models[i].start_max = self.models[i].start_max.max(offset);
        Ok(())
    }

    pub(super) fn retain(&mut self, i: usize) -> Finding {
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
}
