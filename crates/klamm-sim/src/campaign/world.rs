//! A directory of logs over a simulated disk, the models of its partitions, and the lives of the
//! process that works on them.
//!
//! ```text
//! start ──> opened ──steps──> ended: closed in order, killed, or the power went
//!              ^                 │
//!              └──── restart ────┘   an opening may be interrupted itself, and begins again
//! ```

use std::path::PathBuf;

use klamm_log::{Log, LogConfig, LogDir, LogError, MetaProperties, SyncTicket};
use klamm_model::{DirectoryId, Offset, Uuid};

use super::check;
use super::finding::{Finding, ensure};
use super::mix::{Mix, compacted, config};
use super::model::Model;
use super::place::{NODE, root};
use super::stored::NOW;
use super::tally::CompactionTally;
use crate::disk::SimDisk;
use crate::random::Seeded;

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
    /// By the clock that the cleaner goes by.
    pub(crate) now_ms: i64,
    /// What the cleaner came to.
    pub(crate) tally: CompactionTally,
    /// Directories of deleted topics that wait for their removal.
    pub(crate) doomed: Vec<PathBuf>,
    /// Of the life that runs, or ran last.
    pub(super) broker_epoch: i64,
    pub(super) interrupts_openings: bool,
    pub(crate) mix: Mix,
    /// Somebody has damaged files: they may say less than was durable.
    pub(crate) is_damaged: bool,
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

    /// Compares every log with its model.
    pub(crate) fn check(&mut self) -> Finding {
        let Some(node) = &self.node else { return Ok(()) };
        for (i, log) in node.logs.iter().enumerate() {
            check::log(log, &self.models[i], &self.disk, &mut self.check_random)
                .map_err(|what| format!("partition {i}: {what}"))?;
        }
        Ok(())
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
