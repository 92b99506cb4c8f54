//! What has to happen now and then: retention, checkpoints, syncs by time, removing what was deleted. One thread
//! that sleeps in between, on an idle node for a minute.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use klamm_config::BrokerConfig;
use klamm_env::net::BoundListener;
use klamm_env::{Env, Moment, task};
use klamm_metrics::Registry;
use klamm_replication::Partitions;
use tokio::sync::watch;

use crate::http;
use crate::reporter::Reporter;

/// How often renamed files and directories are looked at, and idle producers, if the configuration
/// does not ask for them more often.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(60);

/// Shortest time between two recovery checkpoints that logs ask for, however fast they grow.
const MARKS_INTERVAL: Duration = Duration::from_millis(200);

/// What the thread takes care of.
pub(crate) struct Housekeeping {
    pub(crate) env: Env,
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Vec<BoundListener>,
}

impl Housekeeping {
    /// Starts the thread, which also runs the reporter; it ends when `stopped` changes.
    pub(crate) fn start(
        self,
        reporter: Reporter,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<JoinHandle<()>> {
        task::spawn_thread("housekeeping", move || {
            let run = async {
                task::spawn_local(reporter.run());
                self.run(stopped).await;
            };
            if let Err(error) = task::run_worker(run) {
                tracing::error!(%error, "housekeeping could not start");
            }
        })
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        for listener in std::mem::take(&mut self.metrics) {
            task::spawn_local(http::serve(listener, Arc::clone(&self.registry)));
        }
        let retention = Duration::from_millis(self.config.log.retention_check_interval_ms.max(1));
        let producers_ms = self.config.log.producer_id_expiration_check_interval_ms.max(1);
        let removal = REMOVAL_INTERVAL.min(Duration::from_millis(producers_ms));
        // Both are columns of the same checkpoint.
        let log = &self.config.log;
        let checkpoint_ms = log
            .flush_offset_checkpoint_interval_ms
            .min(log.flush_start_offset_checkpoint_interval_ms);
        let checkpoint = Duration::from_millis(checkpoint_ms.max(1));
        let flush = interval(self.config.log.flush_scheduler_interval_ms);
        let start = self.env.clock.now();
        let mut due = Due {
            flush: flush.map(|flush| start + flush),
            retention: start + retention,
            checkpoint: start + checkpoint,
            removal: start + removal,
            marks: start,
        };
        let marks_changed = Arc::clone(self.partitions.directories().marks_changed());
        loop {
            let now = self.env.clock.now();
            let next = due.retention.min(due.checkpoint).min(due.removal);
            let next = due.flush.map_or(next, |flush| flush.min(next));
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = marks_changed.notified() => {
                    task::sleep(due.marks.since(self.env.clock.now())).await;
                    match self.partitions.has_outdated_checkpoints() {
                        true => self.partitions.write_checkpoints(),
                        false => self.partitions.write_new_marks(),
                    }
                    due.marks = self.env.clock.now() + MARKS_INTERVAL;
                }
                () = task::sleep(next.since(now)) => {}
            }
            let now = self.env.clock.now();
            if due.retention <= now || due.removal <= now {
                self.clean_up();
                due.removal = now + removal;
            }
            if due.retention <= now {
                due.retention = now + retention;
            }
            if due.flush.is_some_and(|flush| flush <= now) {
                self.partitions.flush_by_time(self.env.clock.wall());
                due.flush = flush.map(|flush| now + flush);
            }
            if due.checkpoint <= now {
                self.partitions.prepare_checkpoints();
                self.partitions.write_checkpoints();
                due.checkpoint = now + checkpoint;
            }
        }
    }

    fn clean_up(&self) {
        let wall = self.env.clock.wall();
        for partition in self.partitions.all() {
            match partition.clean_up(wall) {
                Ok(0) => {}
                Ok(segments) => {
                    tracing::info!(partition = %partition.name(), segments, "old segments were deleted");
                }
                Err(error) => {
                    tracing::error!(partition = %partition.name(), %error, "retention failed");
                }
            }
        }
        if self.partitions.has_doomed() {
            self.partitions.remove_doomed();
        }
    }
}

/// An interval that a clock can count; `None` for Kafka's "never" and the like.
fn interval(ms: i64) -> Option<Duration> {
    /// A century.
    const LONGEST_MS: i64 = 100 * 366 * 24 * 3_600_000;
    let ms = u64::try_from(ms).ok().filter(|_| ms < LONGEST_MS)?;
    Some(Duration::from_millis(ms.max(1)))
}

struct Due {
    /// When `flush.ms` is looked at; `None` if it never is.
    flush: Option<Moment>,
    retention: Moment,
    checkpoint: Moment,
    removal: Moment,
    /// Not before then.
    marks: Moment,
}
