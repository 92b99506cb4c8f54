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

use klamm_log::{
    Cleanup, FoundPartition, Log, LogConfig, LogDir, LogError, MetaProperties, Opening, SyncTicket,
    names,
};
use klamm_model::{DirectoryId, NodeId, Offset, TopicId, TopicPartition, Uuid};

use super::check::{self, Finding, ensure};
use super::model::{Interrupted, Model};
use super::stored::NOW;
use crate::disk::SimDisk;
use crate::random::Seeded;

const NODE: NodeId = NodeId(1);
const TOPIC: &str = "t";
const TOPIC_ID: TopicId = Uuid(0x5eed);

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
    interrupts_openings: bool,
    /// Somebody has damaged files: they may say less than was durable.
    pub(crate) is_damaged: bool,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn partition_path(i: usize) -> PathBuf {
    root().join(names::partition_dir(TOPIC, partition_index(i)))
}

fn partition_index(i: usize) -> i32 {
    i32::try_from(i).expect("there are few partitions")
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

impl World {
    /// A formatted disk with `partitions` empty partitions.
    ///
    /// # Errors
    /// The first thing that went wrong: nothing may.
    pub(crate) fn start(seed: u64, partitions: usize) -> Result<Self, String> {
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
        let configs = (0..partitions).map(|_| config(&mut random)).collect();
        let mut world = Self {
            disk,
            check_random: random.fork(),
            random,
            node: None,
            models: vec![Model::new(); partitions],
            configs,
            tickets: Vec::new(),
            story: Vec::new(),
            is_offline: false,
            interrupts_openings: true,
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
        self.models.iter_mut().for_each(|model| model.is_closed = false);
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
        let found = dir.partitions().map_err(|e| e.to_string())?;
        let mut logs = Vec::new();
        for i in 0..self.models.len() {
            let of_partition =
                found.iter().find(|found| found.partition.partition == partition_index(i));
            let config = self.configs[i].clone();
            let log = match of_partition {
                Some(found) => {
                    let may_be_lost = self.is_damaged || self.models[i].acked == 0;
                    let is_known = found.topic_id == Some(TOPIC_ID) || may_be_lost;
                    ensure(is_known, || format!("the topic id of partition {i} is gone"))?;
                    let opening = Opening {
                        was_clean: dir.was_clean(),
                        recovery_point: found.recovery_point,
                        log_start_offset: found.log_start_offset,
                        mark: found.mark,
                    };
                    Log::open(&disk, &found.dir, config, opening, NOW).and_then(|(mut log, _)| {
                        if found.topic_id.is_none() {
                            log.assign_topic_id(TOPIC_ID)?;
                        }
                        Ok(log)
                    })
                }
                None => {
                    let may_be_lost = self.is_damaged || self.models[i].acked == 0;
                    ensure(may_be_lost, || format!("partition {i} is gone"))?;
                    Log::create(&disk, &partition_path(i), Some(TOPIC_ID), config, NOW)
                }
            };
            logs.push(log.map_err(|e| format!("partition {i}: {e}"))?);
        }
        Ok(Node { dir, logs })
    }

    /// The model takes over what survived, if it is allowed to have.
    fn adopt(&mut self, i: usize) -> Finding {
        let node = self.node.as_ref().ok_or("no node runs")?;
        let view = Arc::clone(node.logs[i].view());
        let (start, end) = (view.log_start_offset().0, view.log_end_offset().0);
        let model = &mut self.models[i];
        if let Interrupted::StartingAnew(offset) = model.interrupted {
            model.interrupted = Interrupted::No;
            let is_fresh = view.segment_bases().first() == Some(&view.log_start_offset());
            let is_empty = start == end && is_fresh && node.logs[i].producers().is_empty();
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
        }
        self.node = Some(node);
        if self.write_checkpoints()? && is_sound {
            let marked = self.node.as_ref().map(|node| node.dir.mark_clean(1));
            let is_marked = marked.is_some_and(|marked| marked.is_ok());
            ensure(is_marked || self.disk.is_off() || self.disk.failed() > 0, || {
                "the orderly end cannot be marked".to_owned()
            })?;
        }
        Ok(())
    }

    /// Writes how far all partitions have come; whether it is done.
    pub(crate) fn write_checkpoints(&mut self) -> Result<bool, String> {
        let Some(node) = &self.node else { return Ok(false) };
        let mut entries: Vec<FoundPartition> = Vec::new();
        for (i, log) in node.logs.iter().enumerate() {
            entries.push(FoundPartition {
                partition: TopicPartition::new(TOPIC, partition_index(i)),
                topic_id: Some(TOPIC_ID),
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
                for (model, entry) in self.models.iter_mut().zip(&entries) {
                    model.start_min = entry.log_start_offset.0;
                }
                for (i, mark) in entries.iter().map(|entry| entry.mark).enumerate() {
                    let Some(mark) = mark else { continue };
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
