//! Passes over the sealed segments of all partitions, and what they found. A thread calls
//! [`LogScrub::pass`]; it never waits but as its pace asks. Damage takes nothing offline: it is
//! told, and whoever reads what is damaged finds it as before.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use klamm_env::{Env, Moment};
use klamm_log::verify::Progress;
use klamm_log::{LogOwner, Scrubbed, SealedSegment, Stopped};

use crate::partition::Partition;
use crate::partitions::Partitions;

/// Figures for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    /// Bytes that were read since the start.
    pub bytes: u64,
    /// Segments that were looked at to their end.
    pub segments: u64,
    /// Segments that were damaged when they were looked at last.
    pub damaged: usize,
    /// Since the last pass ended; `None` before the first has.
    pub since_last_pass: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    segments: u64,
    damaged: BTreeSet<PathBuf>,
    last_pass: Option<Moment>,
}

/// Looks at the logs of one broker.
#[derive(Debug)]
pub struct LogScrub {
    env: Env,
    partitions: Arc<Partitions>,
    state: Mutex<State>,
}

/// Counts what is read, before it is slowed down.
struct Counted<'a> {
    scrub: &'a LogScrub,
    pace: &'a mut dyn Progress,
}

impl Progress for Counted<'_> {
    fn read(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.scrub.state().bytes += bytes;
        self.pace.read(bytes)
    }
}

impl LogScrub {
    /// A scrub of these partitions.
    #[must_use]
    pub fn new(env: Env, partitions: Arc<Partitions>) -> Self {
        Self { env, partitions, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// Looks at every segment that is sealed by now.
    ///
    /// # Errors
    /// It was stopped.
    pub fn pass(&self, pace: &mut dyn Progress) -> Result<(), Stopped> {
        let mut damaged = BTreeSet::new();
        for partition in self.partitions.all() {
            let sealed = match partition.is_unopened() {
                true => Vec::new(),
                false => partition.with_log(|log| log.sealed_segments()),
            };
            for segment in sealed {
                if self.scrub(&partition, &segment, pace)? {
                    damaged.insert(segment.path());
                }
            }
        }
        let now = self.env.clock.now();
        let mut state = self.state();
        // Segments that are gone, or mended, are not counted any more.
        state.damaged = damaged;
        state.last_pass = Some(now);
        Ok(())
    }

    /// Whether the segment is damaged.
    fn scrub(
        &self,
        partition: &Partition,
        segment: &SealedSegment,
        pace: &mut dyn Progress,
    ) -> Result<bool, Stopped> {
        let outcome = segment.scrub(&mut Counted { scrub: self, pace })?;
        let mut state = self.state();
        match outcome {
            Scrubbed::Gone => return Ok(false),
            Scrubbed::Sound => {
                state.segments += 1;
                state.damaged.remove(&segment.path());
                return Ok(false);
            }
            Scrubbed::Damaged(finding) => {
                state.segments += 1;
                state.damaged.insert(segment.path());
                drop(state);
                let position = finding.position.unwrap_or(0);
                tracing::error!(partition = %partition.name(), file = %finding.path.display(), position, what = %finding.what, cure = finding.cure, "a sealed segment is damaged");
            }
        }
        Ok(true)
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> ScrubFigures {
        let now = self.env.clock.now();
        let state = self.state();
        ScrubFigures {
            bytes: state.bytes,
            segments: state.segments,
            damaged: state.damaged.len(),
            since_last_pass: state.last_pass.map(|at| now.since(at)),
        }
    }
}
