//! A life of the process begins: interrupted some times, and then everything is opened and compared
//! with the models.

use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{FoundPartition, Log, LogDir, LogError, Opening};
use klamm_model::{Offset, TopicId, Uuid};

use super::adopt::adopt;
use super::finding::{Finding, ensure};
use super::model::Model;
use super::place::{NODE, cleaner_offsets, partition_name, partition_path, root};
use super::stored::NOW;
use super::world::{Node, World};

/// How often an opening is interrupted before it is let through.
const INTERRUPTIONS_MAX: usize = 3;

impl World {
    pub(super) fn next_disk(&mut self, keeps_cache: bool) {
        let seed = self.random.bits();
        // After a failed sync only a restart of the machine shows what there is.
        let keeps_cache = keeps_cache && self.disk.failed_syncs() == 0;
        self.say(|| format!("  {}", if keeps_cache { "killed" } else { "power lost" }));
        self.disk = if keeps_cache { self.disk.kill() } else { self.disk.crash(seed) };
        self.is_offline = false;
        self.doomed.clear();
        for model in &mut self.models {
            model.is_closed = false;
            model.compaction.iter_mut().for_each(|c| c.is_uncleanable = false);
        }
    }

    /// Opens everything, unattended, and compares it with the models.
    pub(super) fn restart(&mut self) -> Finding {
        for _ in 0..INTERRUPTIONS_MAX {
            if !self.interrupts_openings || !self.random.one_in(4) {
                break;
            }
            let changes = 1 + self.random.below(25) as u64;
            self.disk.power_off_after(changes);
            if self.open()?.is_some() && !self.disk.is_off() {
                self.say(|| format!("opened within {changes} changes"));
            } else {
                self.say(|| format!("opening was interrupted after {changes} changes"));
            }
            let keeps_cache = !self.disk.is_off() && self.random.one_in(2);
            self.next_disk(keeps_cache);
        }
        self.disk.record();
        let node = self.open()?;
        let node = node.ok_or("an opening ended without a reason")?;
        self.node = Some(node);
        self.tell_files();
        let node = self.node.as_ref().ok_or("no node runs")?;
        for (i, (log, model)) in node.logs.iter().zip(&mut self.models).enumerate() {
            adopt(log, model).map_err(|what| format!("partition {i}: {what}"))?;
        }
        self.check()
    }

    /// Opens the directory and all its logs; `None` if the power went.
    fn open(&mut self) -> Result<Option<Node>, String> {
        let opened = self.try_open();
        match opened {
            _ if self.disk.is_off() => Ok(None),
            Ok(node) => Ok(Some(node)),
            Err(what) => Err(format!("it cannot be opened: {what}")),
        }
    }

    /// Opens everything, or says what keeps it from being opened.
    pub(crate) fn try_open(&mut self) -> Result<Node, String> {
        let disk = self.disk.as_disk();
        let lock = LogDir::lock(&self.disk, &root()).map_err(|e| e.to_string())?;
        let dir = LogDir::open(&disk, &root(), lock, NODE, Some("simulated"))
            .map_err(|e| e.to_string())?;
        let mut found = dir.partitions().map_err(|e| e.to_string())?;
        // What the checkpoints say of a deleted topic is not believed of a new one.
        let is_known = |found: &FoundPartition| self.is_of_this_topic(found);
        let is_new = self.models.iter().any(|model| model.topic_id != Model::new().topic_id);
        let mut cleaned = cleaner_offsets().read(&self.disk).map_err(|e| e.to_string())?;
        if is_new && (found.len() < self.models.len() || !found.iter().all(is_known)) {
            let known: Vec<FoundPartition> =
                found.iter().filter(|found| is_known(found)).cloned().collect();
            dir.write_checkpoints(&known).map_err(|e| e.to_string())?;
            cleaned.retain(|(name, _)| known.iter().any(|found| found.partition == *name));
            cleaner_offsets().write(&self.disk, &cleaned).map_err(|e| e.to_string())?;
        }
        let others: Vec<FoundPartition> =
            found.extract_if(.., |found| !self.is_of_this_topic(found)).collect();
        for other in others {
            self.doom(&other.dir).map_err(|e| e.to_string())?;
        }
        let mut logs = Vec::new();
        for i in 0..self.models.len() {
            let name = partition_name(i);
            let of_partition = found.iter().find(|found| found.partition == name);
            let cleaned_to = cleaned.iter().find(|(of, _)| *of == name).map(|(_, offset)| *offset);
            let known = of_partition.map(|found| (found, cleaned_to));
            let log = self.open_log((i, &disk), known, dir.was_clean())?;
            let mut log = log.map_err(|e| format!("partition {i}: {e}"))?;
            if let Some((_, Some(offset))) = known {
                log.resume_cleaning_at(offset);
            }
            logs.push(log);
        }
        Ok(Node { dir, logs })
    }

    fn is_of_this_topic(&self, found: &FoundPartition) -> bool {
        let i = usize::try_from(found.partition.partition).unwrap_or(usize::MAX);
        let wanted = self.models.get(i).map(|model| Uuid(model.topic_id));
        found.topic_id.is_none() || found.topic_id == wanted || self.is_damaged
    }

    fn open_log(
        &mut self,
        (i, disk): (usize, &Arc<dyn Disk>),
        known: Option<(&FoundPartition, Option<Offset>)>,
        was_clean: bool,
    ) -> Result<Result<Log, LogError>, String> {
        let config = self.configs[i].clone();
        let topic_id: TopicId = Uuid(self.models[i].topic_id);
        let may_be_lost = self.is_damaged || self.models[i].acked == 0;
        let Some((found, cleaned_to)) = known else {
            ensure(may_be_lost, || format!("partition {i} is gone"))?;
            return Ok(Log::create(disk, &partition_path(i), Some(topic_id), config, NOW));
        };
        let is_known = found.topic_id == Some(topic_id) || may_be_lost;
        ensure(is_known, || format!("the topic id of partition {i} is gone"))?;
        if let Some(closed) = &found.closed {
            self.tally.asleep += 1;
            let mut log = Log::asleep(disk, &found.dir, config, closed, NOW);
            log.keep_mark(found.mark);
            log.keep_topic_id(found.topic_id);
            return Ok(Ok(log));
        }
        let opening = Opening {
            was_clean,
            recovery_point: found.recovery_point,
            log_start_offset: found.log_start_offset,
            mark: found.mark,
            cleaned_to,
        };
        Ok(Log::open(disk, &found.dir, config, opening, NOW).and_then(|(mut log, _)| {
            if found.topic_id.is_none() {
                log.assign_topic_id(topic_id)?;
            }
            Ok(log)
        }))
    }

    /// What is on the disk, for whoever looks at a failing seed.
    fn tell_files(&mut self) {
        for path in self.disk.paths() {
            let len = self.disk.bytes(&path).map_or(0, |bytes| bytes.len());
            self.say(|| format!("  {} {len} bytes", path.display()));
        }
    }
}
