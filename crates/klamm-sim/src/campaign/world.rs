//! A directory of logs over a simulated disk, the models of its partitions, and the lives of the
//! process that works on them.
//!
//! ```text
//! start ──> opened ──steps──> ended: closed in order, killed, or the power went
//!              ^                 │
//!              └──── restart ────┘   an opening may be interrupted itself, and begins again
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{
    Cleanup, ClosedLog, Durability, FoundPartition, Log, LogConfig, LogDir, LogError,
    MetaProperties, OffsetCheckpoint, Opening, SyncTicket, names,
};
use klamm_model::{DirectoryId, NodeId, Offset, TopicId, TopicPartition, Uuid};

use super::check::{self, Finding, ensure};
use super::model::{Compaction, Interrupted, Model};
use super::stored::NOW;
use crate::disk::SimDisk;
use crate::random::Seeded;

const NODE: NodeId = NodeId(1);
const TOPIC: &str = "t";

/// How often an opening is interrupted before it is let through.
const INTERRUPTIONS_MAX: usize = 3;

/// How a life of the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order, and then the machine loses power or not.
    Clean,
    /// `kill -9`: the page cache stays.
    Kill,
    /// The power goes.
    Crash,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) dir: LogDir,
    pub(crate) logs: Vec<Log>,
}

/// How partitions of a world treat old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// So many, none of them compacted, and of one topic all the time.
    Plain(usize),
    /// So many, each of them compacted or not by chance; topics are deleted and made again.
    Any(usize),
}

/// What the cleaner did in a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionTally {
    /// Runs that came to their end.
    pub runs: u64,
    /// Runs that were stopped, or met a disk that failed.
    pub ended_early: u64,
    /// Records that went.
    pub records_removed: u64,
    /// Logs that slept after an orderly stop.
    pub asleep: u64,
    /// Topics that were deleted and made again.
    pub topics_made_again: u64,
}

impl CompactionTally {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.ended_early += other.ended_early;
        self.records_removed += other.records_removed;
        self.asleep += other.asleep;
        self.topics_made_again += other.topics_made_again;
    }
}

/// Everything of one seed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) random: Seeded,
    /// What checks pick by chance; apart, so that a check does not change what happens next.
    check_random: Seeded,
    pub(crate) node: Option<Node>,
    pub(crate) models: Vec<Model>,
    pub(crate) configs: Vec<LogConfig>,
    /// Tickets that were taken and not reported, with their partitions.
    pub(crate) tickets: Vec<(usize, SyncTicket)>,
    /// What was done, for whoever looks at a failing seed.
    pub(crate) story: Vec<String>,
    /// A sync failed: nothing in the directory is synced again.
    pub(crate) is_offline: bool,
    /// By the clock that the cleaner goes by.
    pub(crate) now_ms: i64,
    /// What the cleaner came to.
    pub(crate) tally: CompactionTally,
    /// Directories of deleted topics that wait for their removal.
    pub(crate) doomed: Vec<PathBuf>,
    /// Of the life that runs, or ran last.
    broker_epoch: i64,
    interrupts_openings: bool,
    pub(crate) mix: Mix,
    /// Somebody has damaged files: they may say less than was durable.
    pub(crate) is_damaged: bool,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn partition_path(i: usize) -> PathBuf {
    root().join(names::partition_dir(TOPIC, partition_index(i)))
}

pub(crate) fn partition_index(i: usize) -> i32 {
    i32::try_from(i).expect("there are few partitions")
}

pub(crate) fn partition_name(i: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, partition_index(i))
}

fn cleaner_offsets() -> OffsetCheckpoint {
    OffsetCheckpoint::new(root().join(names::CLEANER_OFFSETS))
}

/// Small segments and indexes, so that few records show much.
fn config(random: &mut Seeded) -> LogConfig {
    LogConfig {
        segment_bytes: *random.pick(&[8 * 1024, 9_000, 16 * 1024, 30_000]),
        index_interval_bytes: *random.pick(&[0, 100, 300, 1000]),
        segment_index_bytes: *random.pick(&[200, 1024, 1 << 20]),
        preallocate: random.one_in(5),
        cleanup: Cleanup { delete: true, compact: false },
        retention_ms: None,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

/// Makes a partition a compacted one, or leaves it as it is.
fn compacted(random: &mut Seeded, mix: Mix, config: &mut LogConfig) -> Option<Compaction> {
    let is_compacted = match mix {
        Mix::Plain(_) => false,
        Mix::Any(_) => random.one_in(2),
    };
    if !is_compacted {
        return None;
    }
    config.cleanup = Cleanup { delete: random.one_in(3), compact: true };
    config.durability = *random.pick(&[Durability::Synced, Durability::PageCache]);
    config.delete_retention_ms = *random.pick(&[0, 500, 3000]);
    // Small ones, so that there is something to clean.
    config.segment_bytes = *random.pick(&[7000, 8 * 1024, 9_000]);
    let delete_retention_ms = config.delete_retention_ms;
    Some(Compaction { delete_retention_ms, ..Compaction::default() })
}

impl World {
    /// A formatted disk with empty partitions.
    ///
    /// # Errors
    /// The first thing that went wrong: nothing may.
    pub(crate) fn start(seed: u64, mix: Mix) -> Result<Self, String> {
        let (Mix::Plain(partitions) | Mix::Any(partitions)) = mix;
        let mut random = Seeded::new(seed);
        let disk = SimDisk::new(random.bits());
        let meta = MetaProperties {
            cluster_id: "simulated".to_owned(),
            node_id: NODE,
            directory_id: Some(DirectoryId::from(Uuid(7))),
        };
        LogDir::format(&disk, &root(), &meta, NOW).map_err(|e| e.to_string())?;
        // Whoever formats a disk waits until it is done.
        let disk = disk.crash_with(crate::Fate::Everything, 0);
        let (mut configs, mut models) = (Vec::new(), Vec::new());
        for _ in 0..partitions {
            let mut config = config(&mut random);
            let compaction = compacted(&mut random, mix, &mut config);
            configs.push(config);
            models.push(Model { compaction, ..Model::new() });
        }
        let mut world = Self {
            disk,
            check_random: random.fork(),
            random,
            node: None,
            models,
            configs,
            tickets: Vec::new(),
            story: Vec::new(),
            is_offline: false,
            now_ms: NOW.0,
            tally: CompactionTally::default(),
            doomed: Vec::new(),
            broker_epoch: 1,
            interrupts_openings: true,
            mix,
            is_damaged: false,
        };
        world.restart()?;
        Ok(world)
    }

    /// Openings are not interrupted from now on.
    pub(crate) fn open_in_peace(&mut self) {
        self.interrupts_openings = false;
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        self.story.push(what());
    }

    /// What a call gave; `None` if it failed because it had to. The log must be closed then.
    pub(crate) fn allowed<T>(
        &mut self,
        i: usize,
        result: Result<T, LogError>,
    ) -> Result<Option<T>, String> {
        match result {
            Ok(value) => {
                let is_closed = self.models[i].is_closed;
                ensure(!is_closed, || format!("partition {i} went on after a failure"))?;
                Ok(Some(value))
            }
            Err(_) if self.disk.is_off() => Ok(None),
            // Nothing was done; it may be tried again when there is room.
            Err(LogError::Full { .. }) if self.disk.failed() > 0 => Ok(None),
            Err(LogError::Io { .. }) if self.disk.failed() > 0 => {
                self.say(|| format!("  partition {i}: a call failed"));
                self.models[i].is_closed = true;
                Ok(None)
            }
            Err(error) => Err(format!("partition {i}: {error}")),
        }
    }

    /// Ends the life of the process and begins the next; then everything is checked.
    pub(crate) fn end(&mut self, ending: Ending) -> Finding {
        self.stop(ending)?;
        self.restart()
    }

    /// Ends the life of the process; the disk is as the next one finds it.
    pub(crate) fn stop(&mut self, ending: Ending) -> Finding {
        let changes = self.disk.changes();
        let trace = self.disk.trace();
        for (call, path) in trace.iter().filter(|(call, _)| call.is_change()) {
            self.say(|| format!("    {call:?} {}", path.display()));
        }
        self.say(|| format!("end: {ending:?}, {changes} changes so far"));
        if ending == Ending::Clean && !self.disk.is_off() && !self.is_offline {
            self.close()?;
        }
        self.tickets.clear();
        self.node = None;
        let keeps_cache = match ending {
            Ending::Clean => self.random.one_in(2),
            Ending::Kill => true,
            Ending::Crash => false,
        };
        self.next_disk(keeps_cache && !self.disk.is_off());
        Ok(())
    }

    fn next_disk(&mut self, keeps_cache: bool) {
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
    fn restart(&mut self) -> Finding {
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
        for i in 0..self.models.len() {
            self.adopt(i).map_err(|what| format!("partition {i}: {what}"))?;
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

    /// The model takes over what survived, if it is allowed to have.
    fn adopt(&mut self, i: usize) -> Finding {
        let mut model = self.models[i].clone();
        let adopted = self.adopt_as(i, &mut model);
        self.models[i] = model;
        adopted
    }

    fn adopt_as(&self, i: usize, model: &mut Model) -> Finding {
        let node = self.node.as_ref().ok_or("no node runs")?;
        let log = &node.logs[i];
        let view = Arc::clone(log.view());
        let (start, end) = (view.log_start_offset().0, view.log_end_offset().0);
        if let Interrupted::StartingAnew(offset) = model.interrupted {
            model.interrupted = Interrupted::No;
            let is_fresh = view.segment_bases().first() == Some(&view.log_start_offset());
            let is_empty = start == end && is_fresh && log.producers().is_empty();
            if is_empty && (start == offset || start == model.start_min) {
                model.start_anew(start);
                // Nobody was told, so it may be gone again.
                model.acked = 0;
                return Ok(());
            }
            // Nothing of it was promised any more: any part without a gap may be left.
            model.acked = model.acked.min(end);
            model.start_max = model.start_max.max(end);
        }
        ensure(start >= model.start_min, || {
            format!("the log starts at {start}, although {} was durable", model.start_min)
        })?;
        ensure(start <= model.start_max, || {
            format!("the log starts at {start}, although nobody deleted above {}", model.start_max)
        })?;
        ensure(end >= model.acked, || {
            format!("the log ends at {end}, although {} was acknowledged", model.acked)
        })?;
        ensure(end <= model.end, || {
            format!("the log ends at {end}, although it never went beyond {}", model.end)
        })?;
        model.cut_to(end);
        (model.start, model.start_max) = (start, start);
        ensure(view.synced_offset().0 <= model.synced_max.max(start), || {
            format!("{} counts as synced, and only {} was", view.synced_offset(), model.synced_max)
        })
    }

    /// What is on the disk, for whoever looks at a failing seed.
    fn tell_files(&mut self) {
        for path in self.disk.paths() {
            let len = self.disk.bytes(&path).map_or(0, |bytes| bytes.len());
            self.say(|| format!("  {} {len} bytes", path.display()));
        }
    }

    /// Compares every log with its model.
    pub(crate) fn check(&mut self) -> Finding {
        let Some(node) = &self.node else { return Ok(()) };
        for (i, log) in node.logs.iter().enumerate() {
            check::log(log, &self.models[i], &self.disk, &mut self.check_random)
                .map_err(|what| format!("partition {i}: {what}"))?;
        }
        Ok(())
    }

    /// The orderly end: everything is synced, written down and marked.
    fn close(&mut self) -> Finding {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        let mut is_sound = true;
        for i in 0..self.models.len() {
            let closed = node.logs[i].close_clean();
            match self.allowed(i, closed)? {
                Some(()) => {
                    let model = &mut self.models[i];
                    // The log may claim less: tickets that were lost are believed to be meant.
                    // After a failed sync in the directory nothing in it is promised any more.
                    model.synced_max = model.end;
                    if is_sound {
                        model.acked = model.end;
                    }
                }
                None => is_sound = false,
            }
            if self.disk.failed_syncs() > 0 {
                // Another sync may succeed, and say nothing.
                self.is_offline = true;
                break;
            }
        }
        self.node = Some(node);
        if self.is_offline {
            return Ok(());
        }
        if self.write_checkpoints()? && is_sound {
            let is_marked = self.mark_clean();
            ensure(is_marked || self.disk.is_off() || self.disk.failed() > 0, || {
                "the orderly end cannot be marked".to_owned()
            })?;
        }
        Ok(())
    }

    /// Says how the logs were left, and that all is in order.
    fn mark_clean(&mut self) -> bool {
        self.broker_epoch += 1;
        let Some(node) = &self.node else { return false };
        let closed: Vec<(TopicPartition, TopicId, ClosedLog)> = node
            .logs
            .iter()
            .enumerate()
            .filter_map(|(i, log)| {
                Some((partition_name(i), Uuid(self.models[i].topic_id), log.closed()?))
            })
            .collect();
        let written = node.dir.write_closed(self.broker_epoch, &closed);
        written.and_then(|()| node.dir.mark_clean(self.broker_epoch)).is_ok()
    }

    /// Writes how far the logs were cleaned; whether it is done.
    pub(crate) fn write_cleaner_offsets(&self) -> bool {
        self.write_cleaner_offsets_but(usize::MAX)
    }

    /// [`World::write_cleaner_offsets`] without a partition whose topic was deleted.
    pub(crate) fn write_cleaner_offsets_but(&self, deleted: usize) -> bool {
        let Some(node) = &self.node else { return false };
        let entry = |(i, log): (usize, &Log)| Some((partition_name(i), log.cleaned_to()?));
        let logs = node.logs.iter().enumerate().filter(|(i, _)| *i != deleted);
        let entries: Vec<_> = logs.filter_map(entry).collect();
        cleaner_offsets().write(&self.disk, &entries).is_ok()
    }

    /// Writes how far all partitions have come; whether it is done.
    pub(crate) fn write_checkpoints(&mut self) -> Result<bool, String> {
        self.write_checkpoints_but(usize::MAX)
    }

    /// [`World::write_checkpoints`] without a partition whose topic was deleted.
    pub(crate) fn write_checkpoints_but(&mut self, deleted: usize) -> Result<bool, String> {
        let Some(node) = &self.node else { return Ok(false) };
        let mut entries: Vec<FoundPartition> = Vec::new();
        for (i, log) in node.logs.iter().enumerate().filter(|(i, _)| *i != deleted) {
            entries.push(FoundPartition {
                partition: partition_name(i),
                topic_id: Some(Uuid(self.models[i].topic_id)),
                dir: log.dir().to_owned(),
                recovery_point: log.recovery_point(),
                log_start_offset: log.log_start_offset(),
                high_watermark: log.view().synced_offset(),
                mark: log.mark(),
                closed: None,
            });
        }
        let written = node.dir.write_checkpoints(&entries);
        match written {
            Ok(()) => {
                for entry in &entries {
                    let i =
                        usize::try_from(entry.partition.partition).map_err(|e| e.to_string())?;
                    self.models[i].start_min = entry.log_start_offset.0;
                    let Some(mark) = entry.mark else { continue };
                    let result = self.log(i)?.on_mark_written(mark);
                    if !self.models[i].is_closed {
                        self.allowed(i, result)?;
                    }
                }
                Ok(true)
            }
            Err(_) if self.disk.is_off() || self.disk.failed() > 0 => {
                // A directory in which a sync failed is not used any more.
                self.is_offline |= self.disk.failed_syncs() > 0;
                Ok(false)
            }
            Err(error) => Err(format!("checkpoints: {error}")),
        }
    }

    /// Where a log is, for messages.
    pub(crate) fn log(&mut self, i: usize) -> Result<&mut Log, String> {
        self.node.as_mut().map(|node| &mut node.logs[i]).ok_or_else(|| "no node runs".to_owned())
    }

    /// What the log says is durable is promised from now on.
    pub(crate) fn acknowledge(&mut self, i: usize) -> Finding {
        let synced = self.log(i)?.view().synced_offset();
        let model = &mut self.models[i];
        ensure(synced <= Offset(model.end), || format!("{synced} is synced of {}", model.end))?;
        model.acked = model.acked.max(synced.0);
        model.synced_max = model.synced_max.max(synced.0);
        Ok(())
    }
}
