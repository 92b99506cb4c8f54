//! Which partition is cleaned next, and what is said of those that cannot be (Kafka:
//! `LogCleaner`, `LogCleanerManager`). Threads call [`LogCleaner::turn`]; it never waits but as
//! their pace asks.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use klamm_env::{Env, Moment};
use klamm_log::{
    Assessment, Candidate, CleanError, CleanReport, Cleaner, CleanerOptions, KeySecret, LogError,
    LogOwner, Pace, filthiest,
};
use klamm_model::TopicIdPartition;

use crate::partition::Partition;
use crate::partitions::Partitions;

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A log was cleaned; there may be another.
    Cleaned,
    /// There is nothing to clean now.
    Idle,
    /// The thread is to end.
    Stopped,
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanerFigures {
    /// The largest dirty part of a log, from 0 to 1.
    pub max_dirty_ratio: f64,
    /// The longest that something has been dirty beyond its lag.
    pub max_overdue_ms: i64,
    /// Since something was last looked for.
    pub since_last_turn: Duration,
    /// Of the last run of each thread: bytes written for bytes read.
    pub recopy_ratio: f64,
    /// How long the longest of them took.
    pub max_clean_time: Duration,
    /// How full the fullest table of keys was.
    pub max_keys_utilization: f64,
}

#[derive(Debug, Default)]
struct State {
    in_progress: HashSet<TopicIdPartition>,
    /// Partitions on which cleaning failed, with their log directories.
    uncleanable: BTreeMap<TopicIdPartition, PathBuf>,
    max_dirty_ratio: f64,
    max_overdue_ms: i64,
    last_turn: Option<Moment>,
    /// Of each thread: its last run.
    last_runs: BTreeMap<usize, (CleanReport, Duration)>,
}

/// Cleans the logs of one broker.
#[derive(Debug)]
pub struct LogCleaner {
    env: Env,
    partitions: Arc<Partitions>,
    secret: KeySecret,
    state: Mutex<State>,
}

/// A log that could be cleaned.
struct Dirty {
    partition: Arc<Partition>,
    id: TopicIdPartition,
    log: Candidate,
}

impl LogCleaner {
    /// A cleaner of these partitions.
    #[must_use]
    pub fn new(env: Env, partitions: Arc<Partitions>) -> Self {
        let secret = KeySecret::new(env.random.as_ref());
        Self { env, partitions, secret, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// Cleans the filthiest log, if one is due.
    pub fn turn(&self, thread: usize, options: CleanerOptions, pace: &mut dyn Pace) -> Turn {
        let Some((dirty, plan)) = self.grab() else { return Turn::Idle };
        let started = self.env.clock.now();
        let now = self.env.clock.wall();
        let mut cleaner = Cleaner::new(self.secret.clone(), options);
        let result = cleaner.clean(dirty.partition.as_ref(), (&dirty.log, &plan), now, pace);
        let took = self.env.clock.now().since(started);
        let turn = match result {
            Ok(report) => {
                self.on_cleaned(&dirty, &report, took);
                self.state().last_runs.insert(thread, (report, took));
                Turn::Cleaned
            }
            Err(CleanError::Stopped) => Turn::Stopped,
            Err(CleanError::Disturbed) => Turn::Idle,
            // A log that moved to another directory has taken its files along.
            Err(CleanError::Log(_)) if dirty.log.is_disturbed() => Turn::Idle,
            Err(CleanError::Log(error)) => {
                self.on_failed(&dirty, &error);
                Turn::Idle
            }
        };
        self.state().in_progress.remove(&dirty.id);
        turn
    }

    /// The filthiest log that is due and that no other thread has.
    fn grab(&self) -> Option<(Dirty, Assessment)> {
        let (mut dirty, mut plans) = (Vec::new(), Vec::new());
        let all = self.partitions.all();
        self.forget_gone(&all);
        for partition in &all {
            if let Some((candidate, plan)) = self.look_at(partition) {
                dirty.push(candidate);
                plans.push(plan);
            }
        }
        let now = self.env.clock.now();
        let mut state = self.state();
        state.last_turn = Some(now);
        state.max_dirty_ratio = plans.iter().map(Assessment::ratio).fold(0.0, f64::max);
        state.max_overdue_ms = plans.iter().map(|plan| plan.overdue_ms).max().unwrap_or(0);
        // Another thread may have been quicker.
        loop {
            let i = filthiest(&plans)?;
            let (candidate, plan) = (dirty.swap_remove(i), plans.swap_remove(i));
            if state.in_progress.insert(candidate.id) {
                return Some((candidate, plan));
            }
        }
    }

    /// A partition, if there is anything dirty in it.
    fn look_at(&self, partition: &Arc<Partition>) -> Option<(Dirty, Assessment)> {
        // Most partitions are done with here, without a lock.
        let is_possible = partition.is_compacted()
            && partition.view().segment_count() > 1
            && !partition.is_offline();
        if !is_possible {
            return None;
        }
        let id = id(partition);
        let is_taken =
            |state: &State| state.in_progress.contains(&id) || state.uncleanable.contains_key(&id);
        if is_taken(&self.state()) {
            return None;
        }
        let log = partition.with_log(|log| log.compaction_candidate())?;
        let dirty = Dirty { partition: Arc::clone(partition), id, log };
        match dirty.log.assess(partition.last_stable_offset(), self.env.clock.wall()) {
            Ok(plan) => Some((dirty, plan)),
            Err(error) => {
                self.on_failed(&dirty, &error);
                None
            }
        }
    }

    fn on_cleaned(&self, dirty: &Dirty, report: &CleanReport, took: Duration) {
        tracing::info!(
            partition = %dirty.partition.name(),
            cleaned_to = %report.cleaned_to,
            bytes_before = report.bytes_before,
            bytes_after = report.bytes_after,
            records_before = report.records_before,
            records_after = report.records_after,
            without_key = report.without_key,
            took_ms = took.as_millis() as u64,
            "a log was compacted"
        );
        self.partitions.write_cleaner_checkpoints();
    }

    fn on_failed(&self, dirty: &Dirty, error: &LogError) {
        let partition = dirty.partition.name();
        if let LogError::Full { .. } = error {
            tracing::warn!(%partition, %error, "no room to compact a log; it is tried again");
            return;
        }
        if dirty.partition.with_log(|log| log.is_closed_for_writing()) {
            dirty.partition.fail(error);
        }
        tracing::error!(%partition, %error, "a log cannot be compacted; it is left as it is until the next start");
        let dir = dirty.partition.with_log(|log| log.dir().parent().map(Path::to_owned));
        self.state().uncleanable.insert(dirty.id, dir.unwrap_or_default());
    }

    /// Deleted partitions are not uncleanable any more.
    fn forget_gone(&self, all: &[Arc<Partition>]) {
        let mut state = self.state();
        if !state.uncleanable.is_empty() {
            let there: HashSet<TopicIdPartition> = all.iter().map(|p| id(p)).collect();
            state.uncleanable.retain(|id, _| there.contains(id));
        }
    }

    /// How many partitions in a log directory cannot be cleaned.
    #[must_use]
    pub fn uncleanable_count(&self, dir: &Path) -> usize {
        self.state().uncleanable.values().filter(|found| found.as_path() == dir).count()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> CleanerFigures {
        let now = self.env.clock.now();
        let state = self.state();
        let runs = || state.last_runs.values();
        let read: u64 = runs().map(|(report, _)| report.bytes_before).sum();
        let written: u64 = runs().map(|(report, _)| report.bytes_after).sum();
        CleanerFigures {
            max_dirty_ratio: state.max_dirty_ratio,
            max_overdue_ms: state.max_overdue_ms,
            since_last_turn: state.last_turn.map_or(Duration::ZERO, |at| now.since(at)),
            recopy_ratio: if read == 0 { 0.0 } else { written as f64 / read as f64 },
            max_clean_time: runs().map(|(_, took)| *took).max().unwrap_or_default(),
            max_keys_utilization: runs().map(|(r, _)| r.keys_utilization).fold(0.0, f64::max),
        }
    }
}

fn id(partition: &Partition) -> TopicIdPartition {
    TopicIdPartition { topic_id: partition.topic_id(), partition: partition.name().partition }
}
