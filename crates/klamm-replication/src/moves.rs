//! The moves of a node: which are under way and which wait for a thread; and what was found of
//! earlier ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use klamm_env::task::Rests;
use klamm_log::{FoundPartition, Log};
use klamm_model::{DirectoryId, TopicPartition};

use crate::directory::Directory;
use crate::replica_move::Move;

/// Directories that are remembered for partitions which do not exist yet.
const PREFERENCES_MAX: usize = 10_000;

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
        self.state.lock().expect("no holder of this lock can panic")
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

    /// Where a partition is to be made.
    pub(crate) fn prefer(&self, name: &TopicPartition, directory: DirectoryId) {
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

    pub(crate) fn of(&self, name: &TopicPartition) -> Option<Arc<Move>> {
        self.state().moves.get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Move>> {
        self.state().moves.values().cloned().collect()
    }

    pub(crate) fn forget(&self, done: &Arc<Move>) {
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
            if next.begin_copying() {
                return Some(next);
            }
        }
    }

    /// A thread gives a move back: it goes on later.
    pub(crate) fn give_back(&self, unfinished: &Arc<Move>, log: Log) {
        if unfinished.wait_again(log) {
            self.state().waiting.push_back(Arc::clone(unfinished));
        }
    }

    /// A move waits for a thread, and one is woken.
    pub(crate) fn enqueue(&self, waiting: &Arc<Move>) {
        self.state().waiting.push_back(Arc::clone(waiting));
        self.rests.wake();
    }

    /// A move begins, unless there is one of the same partition.
    pub(crate) fn begin(&self, begun: &Arc<Move>) -> bool {
        let name = begun.partition.name();
        let mut state = self.state();
        if state.moves.contains_key(name) {
            return false;
        }
        state.moves.insert(name.clone(), Arc::clone(begun));
        state.waiting.push_back(Arc::clone(begun));
        drop(state);
        self.rests.wake();
        true
    }

    /// A directory is not as an orderly stop should leave it.
    pub(crate) fn note_unsettled(&self, path: Option<PathBuf>) {
        self.state().unsettled.extend(path);
    }

    /// Where threads rest that have nothing to move.
    pub(crate) fn rests(&self) -> &Rests {
        &self.rests
    }
}
