//! One replica on its way to another log directory, from stage to stage. Copies nothing.
//!
//! ```text
//! asked for, or a start that finds a copy
//!      ▼         begin_copying           begin_replacing
//!   WAITING ─────────────────▶ COPYING ─────────────────▶ REPLACED ──synced──▶ gone, the old files too
//!    │   ▲    ◀─wait_again───  │    │ fail: a disk failed, or is full
//!    │   └──── retry ── FAILED ◀────┘ (or the next start)
//!    ▼ call_off          │     ▼
//!  CALLED OFF: asked to stay, or to go elsewhere, or deleted: the copy's files go
//! ```

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use klamm_log::{FoundPartition, Log, LogView};
use klamm_model::{Offset, TopicPartition};

use crate::directory::Directory;
use crate::partition::Partition;

const UNPOISONED: &str = "no holder of this lock can panic";

/// A replica that is about to take another's place.
#[derive(Debug, Clone)]
pub struct FutureReplica {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Where it is.
    pub directory: PathBuf,
    /// Its bytes.
    pub size_bytes: u64,
    /// Offsets that it lacks.
    pub offset_lag: i64,
}

/// Who removes the copy of a move that was called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalledOff {
    /// Whoever called it off.
    Idle,
    /// The thread that copies: it sees it at its next step.
    Copying,
}

const WAITING: u8 = 0;
const COPYING: u8 = 1;
const REPLACED: u8 = 2;
const FAILED: u8 = 3;
const CALLED_OFF: u8 = 4;

/// One replica on its way.
pub(crate) struct Move {
    pub(crate) partition: Arc<Partition>,
    pub(crate) to: Arc<Directory>,
    /// The copy's directory.
    pub(crate) dir: PathBuf,
    pub(crate) cleaned_to: Option<Offset>,
    /// The copy while no thread has it.
    log: Mutex<Option<Log>>,
    view: Arc<LogView>,
    stage: AtomicU8,
    /// Where the log was that was replaced, until its files go.
    left: Mutex<Option<PathBuf>>,
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Move").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Move {
    /// A copy that waits for a thread.
    pub(crate) fn new(
        partition: &Arc<Partition>,
        to: &Arc<Directory>,
        log: Log,
        cleaned_to: Option<Offset>,
    ) -> Arc<Self> {
        Arc::new(Self {
            partition: Arc::clone(partition),
            to: Arc::clone(to),
            dir: log.dir().to_owned(),
            cleaned_to,
            view: Arc::clone(log.view()),
            log: Mutex::new(Some(log)),
            stage: AtomicU8::new(WAITING),
            left: Mutex::default(),
        })
    }

    fn go(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A thread takes it.
    pub(crate) fn begin_copying(&self) -> bool {
        self.go(WAITING, COPYING)
    }

    /// A thread gives it back with its copy; whether it is to go on later.
    pub(crate) fn wait_again(&self, log: Log) -> bool {
        self.put_back(log);
        self.go(COPYING, WAITING)
    }

    /// From here on the move cannot be called off.
    pub(crate) fn begin_replacing(&self) -> bool {
        self.go(COPYING, REPLACED)
    }

    /// It came to nothing; its files stay for who asks again, or for the next start.
    pub(crate) fn fail(&self, log: Log) {
        self.put_back(log);
        // One that was called off meanwhile has no files to keep, and nobody else removes them.
        if !self.go(COPYING, FAILED) {
            self.go(REPLACED, FAILED);
        }
    }

    /// It is asked for again; whether it had failed.
    pub(crate) fn retry(&self) -> bool {
        self.go(FAILED, WAITING)
    }

    /// It is not wanted any more; `None` if it cannot be called off.
    pub(crate) fn call_off(&self) -> Option<CalledOff> {
        if self.go(WAITING, CALLED_OFF) || self.go(FAILED, CALLED_OFF) {
            return Some(CalledOff::Idle);
        }
        self.go(COPYING, CALLED_OFF).then_some(CalledOff::Copying)
    }

    pub(crate) fn is_called_off(&self) -> bool {
        self.stage.load(Ordering::Acquire) == CALLED_OFF
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.stage.load(Ordering::Acquire) == REPLACED
    }

    pub(crate) fn take_log(&self) -> Option<Log> {
        self.log.lock().expect(UNPOISONED).take()
    }

    fn put_back(&self, log: Log) {
        *self.log.lock().expect(UNPOISONED) = Some(log);
    }

    pub(crate) fn note_left(&self, dir: PathBuf) {
        *self.left.lock().expect(UNPOISONED) = Some(dir);
    }

    /// Whoever gets it removes it.
    pub(crate) fn take_left(&self) -> Option<PathBuf> {
        self.left.lock().expect(UNPOISONED).take()
    }

    /// What the checkpoints say of the copy.
    pub(crate) fn checkpoint(&self) -> FoundPartition {
        FoundPartition {
            partition: self.partition.name().clone(),
            topic_id: Some(self.partition.topic_id()),
            dir: self.dir.clone(),
            recovery_point: self.view.synced_offset(),
            log_start_offset: self.view.log_start_offset(),
            high_watermark: self.view.synced_offset(),
            mark: None,
            closed: None,
        }
    }

    /// What is told of the copy.
    pub(crate) fn future(&self) -> FutureReplica {
        FutureReplica {
            partition: self.partition.name().clone(),
            directory: self.to.dir.path().to_owned(),
            size_bytes: self.view.size_bytes(),
            offset_lag: self.partition.view().log_end_offset().0 - self.view.log_end_offset().0,
        }
    }
}
