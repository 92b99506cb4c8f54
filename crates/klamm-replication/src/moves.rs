//! Replicas on their way to another log directory (KIP-113): who asks, what is under way, and what
//! becomes of it. Copies nothing; that is the mover's part.
//!
//! ```text
//! move_to, or a start that finds a copy
//!      ▼         a thread takes it           caught up
//!   WAITING ─────────────────────▶ COPYING ─────────────▶ REPLACED ──synced──▶ gone, the old files too
//!    │   ▲                         │    │ a disk failed, or is full
//!    │   └── asked again ── FAILED ◀────┘ (or the next start)
//!    ▼                        │    ▼
//!  CALLED OFF: asked to stay, or to go elsewhere, or deleted: the copy's files go
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use klamm_env::task::Rests;
use klamm_log::{FoundPartition, Log, LogError, LogOwner, LogView, names};
use klamm_model::{DirectoryId, Offset, TopicPartition, Uuid};

use crate::directory::Directory;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// Directories that are remembered for partitions which do not exist yet.
const PREFERENCES_MAX: usize = 10_000;

const UNPOISONED: &str = "no holder of this lock can panic";

/// Why a replica is not moved.
#[derive(Debug)]
pub enum MoveRefused {
    /// The topic's name leaves no room for the copy's directory.
    NameTooLong,
    /// This node has no such log directory.
    NoSuchDirectory,
    /// The log directory takes no new replicas (KIP-1066).
    Cordoned,
    /// The partition or the log directory is offline.
    Offline,
    /// There is no such partition here. It goes into that directory if it is made.
    UnknownPartition,
    /// An earlier move has just come to its end: it may be asked again.
    Busy,
    /// The copy could not be made.
    Log(LogError),
}

impl fmt::Display for MoveRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong => {
                write!(f, "the topic's name is too long for a directory beside it")
            }
            Self::NoSuchDirectory => write!(f, "the log directory is not one of log.dirs"),
            Self::Cordoned => write!(f, "the log directory is cordoned (cordoned.log.dirs)"),
            Self::Offline => write!(f, "the partition or the log directory is offline"),
            Self::UnknownPartition => write!(f, "the partition is not here; it is made there"),
            Self::Busy => write!(f, "an earlier move is just ending; ask again"),
            Self::Log(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for MoveRefused {}

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
    fn go(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// From here on the move cannot be called off.
    pub(crate) fn begin_replacing(&self) -> bool {
        self.go(COPYING, REPLACED)
    }

    pub(crate) fn is_called_off(&self) -> bool {
        self.stage.load(Ordering::Acquire) == CALLED_OFF
    }

    fn is_replaced(&self) -> bool {
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
    fn take_left(&self) -> Option<PathBuf> {
        self.left.lock().expect(UNPOISONED).take()
    }

    fn checkpoint(&self) -> FoundPartition {
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
}

#[derive(Debug, Default)]
struct State {
    moves: BTreeMap<TopicPartition, Arc<Move>>,
    waiting: VecDeque<Arc<Move>>,
    /// Where partitions are to be made that do not exist yet.
    preferences: HashMap<TopicPartition, DirectoryId>,
    /// Copies that were found at the start, of partitions that the metadata has not named yet.
    found: HashMap<TopicPartition, Vec<(usize, FoundPartition)>>,
    /// Directories with a log that was replaced by one that could not be synced.
    unsettled: Vec<PathBuf>,
}

/// The moves of a node.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    state: Mutex<State>,
    /// Where threads rest that have nothing to move.
    rests: Rests,
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    pub(crate) fn new(found: Vec<(usize, FoundPartition)>) -> Self {
        let this = Self::default();
        let mut state = this.state();
        for (i, found) in found {
            state.found.entry(found.partition.clone()).or_default().push((i, found));
        }
        drop(state);
        this
    }

    pub(crate) fn take_preference(&self, name: &TopicPartition) -> Option<DirectoryId> {
        self.state().preferences.remove(name)
    }

    fn prefer(&self, name: &TopicPartition, directory: DirectoryId) {
        let mut state = self.state();
        if state.preferences.len() < PREFERENCES_MAX || state.preferences.contains_key(name) {
            state.preferences.insert(name.clone(), directory);
        }
    }

    pub(crate) fn take_found(&self, name: &TopicPartition) -> Vec<(usize, FoundPartition)> {
        self.state().found.remove(name).unwrap_or_default()
    }

    pub(crate) fn put_back_found(&self, found: Vec<(usize, FoundPartition)>) {
        let mut state = self.state();
        for (i, found) in found {
            state.found.entry(found.partition.clone()).or_default().push((i, found));
        }
    }

    /// Copies that nobody has asked for in this life.
    pub(crate) fn strays(&self) -> Vec<FoundPartition> {
        self.state().found.values().flatten().map(|(_, found)| found.clone()).collect()
    }

    /// What the checkpoints of a directory say of copies in it.
    pub(crate) fn checkpoints(&self, directory: &Directory) -> Vec<FoundPartition> {
        let state = self.state();
        let here = state.moves.values().filter(|m| std::ptr::eq(&*m.to, directory));
        here.filter(|m| !m.is_replaced()).map(|m| m.checkpoint()).collect()
    }

    /// Directories that are not as an orderly stop should leave them.
    pub(crate) fn unsettled(&self) -> Vec<PathBuf> {
        self.state().unsettled.clone()
    }

    fn of(&self, name: &TopicPartition) -> Option<Arc<Move>> {
        self.state().moves.get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Move>> {
        self.state().moves.values().cloned().collect()
    }

    fn forget(&self, done: &Arc<Move>) {
        let mut state = self.state();
        let name = done.partition.name();
        if state.moves.get(name).is_some_and(|known| Arc::ptr_eq(known, done)) {
            state.moves.remove(name);
        }
    }

    /// The next that waits, for a thread that copies it.
    pub(crate) fn next(&self) -> Option<Arc<Move>> {
        loop {
            let next = self.state().waiting.pop_front()?;
            if next.go(WAITING, COPYING) {
                return Some(next);
            }
        }
    }

    /// A thread gives a move back: it goes on later.
    pub(crate) fn give_back(&self, unfinished: &Arc<Move>, log: Log) {
        unfinished.put_back(log);
        if unfinished.go(COPYING, WAITING) {
            self.state().waiting.push_back(Arc::clone(unfinished));
        }
    }

    /// A move came to nothing; its files stay for who asks again, or for the next start.
    pub(crate) fn on_failed(&self, failed: &Arc<Move>, log: Log) {
        failed.put_back(log);
        // One that was called off meanwhile has no files to keep, and nobody else removes them.
        if !failed.go(COPYING, FAILED) {
            failed.go(REPLACED, FAILED);
        }
    }
}

impl Partitions {
    /// Has a replica moved to the log directory at `path`, in the background. Where it is already,
    /// a move elsewhere is called off (Kafka: `ReplicaManager.alterReplicaLogDirs`).
    ///
    /// # Errors
    /// See [`MoveRefused`].
    pub fn move_to(&self, name: &TopicPartition, path: &str) -> Result<(), MoveRefused> {
        if names::future_dir(&name.topic, name.partition, Uuid::ZERO).is_none() {
            return Err(MoveRefused::NameTooLong);
        }
        let to = self.destination(path)?;
        let Some(partition) = self.by_name(&name.topic, name.partition) else {
            self.moves().prefer(name, to.dir.directory_id());
            return Err(MoveRefused::UnknownPartition);
        };
        if partition.is_offline() {
            return Err(MoveRefused::Offline);
        }
        if let Some(under_way) = self.moves().of(name) {
            if Arc::ptr_eq(&under_way.to, &to) {
                self.retry(&under_way);
                return Ok(());
            }
            self.call_off(&under_way)?;
        }
        if Arc::ptr_eq(&partition.directory(), &to) {
            return Ok(());
        }
        self.begin_move(&partition, &to)
    }

    fn destination(&self, path: &str) -> Result<Arc<Directory>, MoveRefused> {
        let directories = self.directories();
        let Some(to) = directories.all().iter().find(|d| d.dir.path() == Path::new(path)) else {
            let is_failed = directories.failed().iter().any(|failed| failed == Path::new(path));
            let offline = || MoveRefused::Offline;
            return Err(if is_failed { offline() } else { MoveRefused::NoSuchDirectory });
        };
        match to {
            to if to.is_offline() => Err(MoveRefused::Offline),
            to if to.is_cordoned() => Err(MoveRefused::Cordoned),
            to => Ok(Arc::clone(to)),
        }
    }

    fn retry(&self, failed: &Arc<Move>) {
        if failed.go(FAILED, WAITING) {
            self.moves().state().waiting.push_back(Arc::clone(failed));
            self.moves().rests.wake();
        }
    }

    fn begin_move(
        &self,
        partition: &Arc<Partition>,
        to: &Arc<Directory>,
    ) -> Result<(), MoveRefused> {
        let name = partition.name();
        let future = names::future_dir(&name.topic, name.partition, self.env().random.uuid());
        let dir = to.dir.path().join(future.ok_or(MoveRefused::NameTooLong)?);
        let (config, cleaned_to) =
            partition.with_log(|log| (log.config().clone(), log.cleaned_to()));
        let (topic_id, wall) = (Some(partition.topic_id()), self.env().clock.wall());
        let created = Log::create(&self.directories().disk, &dir, topic_id, config, wall);
        let log = created.map_err(|error| {
            if let LogError::Io { .. } = &error {
                to.fail(&error);
            }
            MoveRefused::Log(error)
        })?;
        self.register_move(partition, to, log, cleaned_to)
    }

    /// A copy that an earlier life began, or that was just made, is worked at from now on.
    pub(crate) fn register_move(
        &self,
        partition: &Arc<Partition>,
        to: &Arc<Directory>,
        mut log: Log,
        cleaned_to: Option<Offset>,
    ) -> Result<(), MoveRefused> {
        log.bound_open_files(to.open_files());
        let paused = partition.with_log(|log| log.pause_compaction());
        if let Err(error) = paused {
            partition.fail(&error);
            return Err(MoveRefused::Log(error));
        }
        let begun = Arc::new(Move {
            partition: Arc::clone(partition),
            to: Arc::clone(to),
            dir: log.dir().to_owned(),
            cleaned_to,
            view: Arc::clone(log.view()),
            log: Mutex::new(Some(log)),
            stage: AtomicU8::new(WAITING),
            left: Mutex::default(),
        });
        let mut state = self.moves().state();
        if state.moves.contains_key(partition.name()) {
            // Two asked at once: the first has it.
            drop(state);
            self.drop_copy(&begun);
            return Err(MoveRefused::Busy);
        }
        state.moves.insert(partition.name().clone(), Arc::clone(&begun));
        state.waiting.push_back(begun);
        drop(state);
        self.moves().rests.wake();
        Ok(())
    }

    fn call_off(&self, under_way: &Arc<Move>) -> Result<(), MoveRefused> {
        let is_idle = under_way.go(WAITING, CALLED_OFF) || under_way.go(FAILED, CALLED_OFF);
        // A thread that copies sees it at its next step, and removes the files itself.
        if !is_idle && !under_way.go(COPYING, CALLED_OFF) {
            return Err(MoveRefused::Busy);
        }
        self.moves().forget(under_way);
        under_way.partition.with_log(|log| log.resume_compaction());
        if is_idle {
            self.drop_copy(under_way);
        }
        Ok(())
    }

    /// The copy is not wanted any more.
    pub(crate) fn drop_copy(&self, called_off: &Arc<Move>) {
        drop(called_off.take_log());
        if let Err(error) = self.doom(&called_off.dir, called_off.partition.name()) {
            tracing::warn!(%error, "a copy that is not wanted any more could not be removed");
        }
    }

    /// The partition's topic is gone: its log is closed already.
    pub(crate) fn on_deleted(&self, partition: &Partition) {
        let Some(under_way) = self.moves().of(partition.name()) else { return };
        // One that was replaced just now: nobody else removes its files before a topic of the same
        // name may have others there.
        if self.call_off(&under_way).is_err() {
            self.doom_left(&under_way);
        }
    }

    fn doom_left(&self, replaced: &Move) {
        let Some(left) = replaced.take_left() else { return };
        let name = replaced.partition.name();
        let disk = &self.directories().disk;
        let gone = self.doom(&left, name).and_then(|()| {
            let parent = left.parent().unwrap_or(&left);
            disk.sync_dir(parent).map_err(|error| LogError::Io { path: left.clone(), error })
        });
        if let Err(error) = gone {
            tracing::error!(partition = %name, %error, "the files that a replica has left could not be removed: the next start compares them with those in use, and removes them");
        }
    }

    /// The copy is the log now: it is synced, and the old files go.
    pub(crate) fn finish_move(&self, replaced: &Arc<Move>) {
        let partition = &replaced.partition;
        match partition.sync_whole() {
            Ok(()) => {
                self.doom_left(replaced);
                self.write_checkpoints();
                if replaced.cleaned_to.is_some() {
                    self.write_cleaner_checkpoints();
                }
                self.note_directory(partition, None);
                tracing::info!(partition = %partition.name(), dir = %replaced.to.dir.path().display(), "a replica was moved");
            }
            // The partition is offline. The next start finds both, and takes the one that
            // reaches further.
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error, "a replica that was moved could not be synced");
                let left = replaced.take_left();
                let unsettled = left.as_deref().and_then(Path::parent).map(Path::to_owned);
                self.moves().state().unsettled.extend(unsettled);
            }
        }
        self.moves().forget(replaced);
    }

    /// The replicas on their way.
    #[must_use]
    pub fn futures(&self) -> Vec<FutureReplica> {
        let moves = self.moves().all();
        let under_way = moves.iter().filter(|m| !m.is_replaced());
        under_way
            .map(|m| FutureReplica {
                partition: m.partition.name().clone(),
                directory: m.to.dir.path().to_owned(),
                size_bytes: m.view.size_bytes(),
                offset_lag: m.partition.view().log_end_offset().0 - m.view.log_end_offset().0,
            })
            .collect()
    }

    /// Where threads rest while there is nothing to move.
    #[must_use]
    pub fn mover_rests(&self) -> &Rests {
        &self.moves().rests
    }

    /// Closes the copies in order; gives the directories in which that failed.
    pub(crate) fn close_moves(&self) -> Vec<PathBuf> {
        let mut failed = self.moves().unsettled();
        for unfinished in self.moves().all() {
            let Some(mut log) = unfinished.take_log() else { continue };
            if let Err(error) = log.close_clean() {
                tracing::error!(partition = %unfinished.partition.name(), %error, "a copy could not be closed in order");
                failed.push(unfinished.to.dir.path().to_owned());
            }
        }
        failed
    }
}
