//! Finds partitions by name and by topic id. Only looks up, opens and closes; what a partition
//! does is its own business.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use klamm_env::Env;
use klamm_log::{FoundPartition, Log, LogConfig, LogDir, LogError, names};
use klamm_model::{
    DirectoryId, LeaderEpoch, PartitionIndex, Timestamp, TopicId, TopicIdPartition, TopicPartition,
};
use klamm_records::Rules;
use klamm_stdx::Str;

use crate::cleaner_checkpoints::CleanerCheckpoints;
use crate::close::{self, Ended};
use crate::directory::{Checkpoints, Directories, Directory, OpenError};
use crate::moves::Moves;
use crate::partition::Partition;

/// A partition that this broker has a replica of.
#[derive(Debug, Clone)]
pub struct NewPartition {
    /// Its name.
    pub name: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// The directory that the metadata names, if it does.
    pub directory: Option<DirectoryId>,
    /// Its log's configuration.
    pub config: LogConfig,
    /// What its topic asks of batches.
    pub rules: Rules,
    /// The epoch in which this broker leads it; `None` if another does.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whether there may be something of it on the disks.
    pub age: Age,
}

/// When a partition came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Before this node was started: if it is nowhere, it may be in a directory that failed.
    Old,
    /// Just now.
    New,
}

/// Partitions by name: topics first, so that a lookup makes no key.
#[derive(Debug, Clone, Default)]
struct Index {
    by_topic: HashMap<Str, Arc<HashMap<PartitionIndex, Arc<Partition>>>>,
    names: HashMap<TopicId, Str>,
}

/// The partitions of this broker.
#[derive(Debug)]
pub struct Partitions {
    env: Env,
    directories: Directories,
    index: ArcSwap<Index>,
    /// Directories found at the start whose partitions the metadata has not named yet.
    found: Mutex<HashMap<TopicPartition, Vec<(usize, FoundPartition)>>>,
    /// Partition directories of deleted topics, which are removed in the background.
    doomed: Mutex<Vec<PathBuf>>,
    /// Partitions of deleted topics that the checkpoints may still speak of.
    outdated: Mutex<HashSet<TopicPartition>>,
    cleaner_checkpoints: CleanerCheckpoints,
    moves: Moves,
    /// Where partitions are, as far as the metadata does not know it.
    assignments: Mutex<BTreeMap<TopicIdPartition, DirectoryId>>,
    trusts_first_writes: AtomicBool,
}

/// What happens to a producer's first write in a transaction, where its protocol leaves the choice
/// (`transaction.partition.verification.enable`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstWrites {
    /// The coordinator is asked whether the partition is in the transaction.
    Verified,
    /// It is taken.
    Trusted,
}

impl Partitions {
    /// Reads what is on the disk; no log is opened before the metadata names it.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn open(env: Env, directories: Directories) -> Result<Self, OpenError> {
        let mut found: HashMap<TopicPartition, Vec<(usize, FoundPartition)>> = HashMap::new();
        for (i, one) in directories.found()? {
            found.entry(one.partition.clone()).or_default().push((i, one));
        }
        let moves = Moves::new(directories.found_futures()?);
        let cleaner_checkpoints = CleanerCheckpoints::read(&directories)?;
        let mut outdated = cleaner_checkpoints.names();
        for dir in directories.dirs() {
            outdated.extend(dir.checkpointed()?);
        }
        outdated.retain(|name| !found.contains_key(name));
        Ok(Self {
            env,
            directories,
            index: ArcSwap::default(),
            found: Mutex::new(found),
            doomed: Mutex::default(),
            outdated: Mutex::new(outdated),
            cleaner_checkpoints,
            moves,
            assignments: Mutex::default(),
            trusts_first_writes: AtomicBool::new(false),
        })
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// The directories.
    #[must_use]
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// A partition by name.
    #[must_use]
    pub fn by_name(&self, topic: &str, partition: PartitionIndex) -> Option<Arc<Partition>> {
        self.index.load().by_topic.get(topic)?.get(&partition).cloned()
    }

    /// A partition by topic id.
    #[must_use]
    pub fn by_id(&self, topic_id: TopicId, partition: PartitionIndex) -> Option<Arc<Partition>> {
        let index = self.index.load();
        index.by_topic.get(index.names.get(&topic_id)?)?.get(&partition).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.index.load().by_topic.values().flat_map(|topic| topic.values().cloned()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.load().by_topic.values().map(|topic| topic.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The directory that a partition is in.
    #[must_use]
    pub fn directory_of(&self, partition: &Partition) -> Option<Arc<LogDir>> {
        (!partition.is_unopened()).then(|| Arc::clone(partition.directory().log_dir()))
    }

    /// The log directory of a partition is told to the controller, unless it is `known` there
    /// (KIP-858).
    pub(crate) fn note_directory(&self, partition: &Partition, known: Option<DirectoryId>) {
        let directory = partition.directory();
        let id = directory.log_dir().directory_id();
        if partition.is_unopened() || directory.is_offline() || known == Some(id) {
            return;
        }
        let (topic_id, name) = (partition.topic_id(), partition.name());
        let partition = TopicIdPartition { topic_id, partition: name.partition };
        let mut assignments = self.assignments.lock().expect("no holder of this lock can panic");
        assignments.insert(partition, id);
        drop(assignments);
        self.directories.news().notify_one();
    }

    /// Some of the log directories that the controller does not know of, at most `count_max`.
    #[must_use]
    pub fn take_assignments(&self, count_max: usize) -> Vec<(TopicIdPartition, DirectoryId)> {
        let mut assignments = self.assignments.lock().expect("no holder of this lock can panic");
        std::iter::from_fn(|| assignments.pop_first()).take(count_max).collect()
    }

    /// The controller could not be told.
    pub fn put_back_assignments(&self, untold: Vec<(TopicIdPartition, DirectoryId)>) {
        let mut assignments = self.assignments.lock().expect("no holder of this lock can panic");
        for (partition, directory) in untold {
            // What was said since then is newer.
            assignments.entry(partition).or_insert(directory);
        }
    }

    /// Opens or makes partitions that the metadata has given to this broker; those that are open
    /// already only hear who leads. Gives the ones that failed.
    #[must_use]
    pub fn assign(&self, new: Vec<NewPartition>) -> Vec<(TopicIdPartition, LogError)> {
        self.forget_namesakes(&new);
        let mut index = Index::clone(&self.index.load());
        let mut failed = Vec::new();
        let mut changed: HashMap<Str, HashMap<PartitionIndex, Arc<Partition>>> = HashMap::new();
        for wanted in new {
            let (epoch, directory) = (wanted.leader_epoch, wanted.directory);
            let id =
                TopicIdPartition { topic_id: wanted.topic_id, partition: wanted.name.partition };
            let topic = changed.entry(wanted.name.topic.clone()).or_insert_with(|| {
                index
                    .by_topic
                    .get(&wanted.name.topic)
                    .map(|topic| HashMap::clone(topic))
                    .unwrap_or_default()
            });
            index.names.insert(wanted.topic_id, wanted.name.topic.clone());
            let partition = match topic.get(&id.partition) {
                Some(partition) => Arc::clone(partition),
                None => {
                    let (partition, error) = self.open_partition(wanted);
                    failed.extend(error.map(|error| (id, error)));
                    topic.insert(id.partition, Arc::clone(&partition));
                    partition
                }
            };
            match epoch {
                Some(epoch) => partition.lead(epoch),
                None => partition.resign(),
            }
            self.note_directory(&partition, directory);
        }
        index
            .by_topic
            .extend(changed.into_iter().map(|(topic, partitions)| (topic, Arc::new(partitions))));
        self.index.store(Arc::new(index));
        failed
    }

    /// What the checkpoints say of a deleted topic must not be believed of a new one with its name:
    /// below a recovery point a restart checks nothing.
    fn forget_namesakes(&self, new: &[NewPartition]) {
        let mut found = self.found.lock().expect("no holder of this lock can panic");
        let mut has_namesake = false;
        for wanted in new {
            let is_other = |id: TopicId| id != wanted.topic_id;
            if let Some(known) = found.get_mut(&wanted.name) {
                let before = known.len();
                known.retain(|(_, found)| !found.topic_id.is_some_and(is_other));
                has_namesake |= known.len() < before;
                if known.is_empty() {
                    found.remove(&wanted.name);
                }
            }
        }
        drop(found);
        let outdated = self.outdated.lock().expect("no holder of this lock can panic");
        for wanted in new.iter().filter(|wanted| outdated.contains(&wanted.name)) {
            self.cleaner_checkpoints.take(&wanted.name);
            has_namesake = true;
        }
        drop(outdated);
        if has_namesake {
            self.write_checkpoints();
            self.write_cleaner_checkpoints();
        }
    }

    pub(crate) fn create_log(&self, i: usize, wanted: &NewPartition) -> Result<Log, LogError> {
        let name = names::partition_dir(&wanted.name.topic, wanted.name.partition);
        let dir = self.directories.directories[i].dir.path().join(name);
        // A directory of a deleted topic of the same name makes room first.
        self.make_room(&dir, &wanted.name)?;
        let (topic_id, wall) = (Some(wanted.topic_id), self.env.clock.wall());
        Log::create(&self.directories.disk, &dir, topic_id, wanted.config.clone(), wall)
    }

    fn make_room(&self, dir: &std::path::Path, name: &TopicPartition) -> Result<(), LogError> {
        let io = |error| LogError::Io { path: dir.to_owned(), error };
        match self.directories.disk.list(dir) {
            Ok(_) => self.doom(dir, name),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io(e)),
        }
    }

    /// Renames a partition's directory so that its name is free at once; its removal is slow and
    /// happens in [`Partitions::remove_doomed`].
    pub(crate) fn doom(
        &self,
        dir: &std::path::Path,
        name: &TopicPartition,
    ) -> Result<(), LogError> {
        let doomed = names::doomed_dir(&name.topic, name.partition, self.env.random.uuid());
        let to = dir.with_file_name(doomed);
        self.directories
            .disk
            .rename(dir, &to)
            .map_err(|error| LogError::Io { path: dir.to_owned(), error })?;
        self.doomed.lock().expect("no holder of this lock can panic").push(to);
        Ok(())
    }

    /// A topic was deleted.
    pub fn delete_topic(&self, topic: &str, topic_id: TopicId) {
        let mut index = Index::clone(&self.index.load());
        let partitions = index.by_topic.remove(topic);
        index.names.remove(&topic_id);
        self.index.store(Arc::new(index));
        let mut was_cleaned = false;
        for partition in partitions.iter().flat_map(|partitions| partitions.values()) {
            partition.resign();
            was_cleaned |= partition.close_for_deletion();
            let mut outdated = self.outdated.lock().expect("no holder of this lock can panic");
            outdated.insert(partition.name().clone());
            drop(outdated);
            self.on_deleted(partition);
            let Some(checkpoint) = partition.checkpoint() else { continue };
            if let Err(error) = self.doom(&checkpoint.dir, partition.name()) {
                tracing::error!(partition = %partition.name(), %error, "a deleted partition's directory could not be renamed");
            }
        }
        self.directories.marks_changed().notify_one();
        // A topic of the same name begins dirty.
        if was_cleaned {
            self.write_cleaner_checkpoints();
        }
    }

    /// Writes how far the logs were cleaned. A directory in which that fails is told of; its logs
    /// are cleaned again after the next start.
    pub fn write_cleaner_checkpoints(&self) {
        self.cleaner_checkpoints.write(&self.directories, &self.all());
    }

    /// Whether directories wait for their removal.
    #[must_use]
    pub fn has_doomed(&self) -> bool {
        !self.doomed.lock().expect("no holder of this lock can panic").is_empty()
    }

    /// Removes the directories of deleted partitions.
    pub fn remove_doomed(&self) {
        let doomed =
            std::mem::take(&mut *self.doomed.lock().expect("no holder of this lock can panic"));
        for dir in doomed {
            if let Err(error) = self.directories.disk.remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a deleted partition's directory could not be removed");
            }
        }
    }

    /// Directories that the metadata does not know: their topics were deleted while this broker
    /// was down. They are kept, and named in the log.
    #[must_use]
    pub fn strays(&self) -> Vec<FoundPartition> {
        let found = self.found.lock().expect("no holder of this lock can panic");
        let partitions = found.values().flatten().map(|(_, found)| found.clone());
        partitions.chain(self.moves.strays()).collect()
    }

    /// What was found of a partition at the start, in the directories with these numbers.
    pub(crate) fn take_found(&self, name: &TopicPartition) -> Vec<(usize, FoundPartition)> {
        let mut found = self.found.lock().expect("no holder of this lock can panic");
        let known = found.remove(name).unwrap_or_default();
        // The room of the last goes with it.
        if found.is_empty() {
            found.shrink_to_fit();
        }
        known
    }

    pub(crate) fn cleaner_checkpoints(&self) -> &CleanerCheckpoints {
        &self.cleaner_checkpoints
    }

    /// What happens to first writes in transactions from now on.
    pub fn on_first_writes(&self, rule: FirstWrites) {
        self.trusts_first_writes.store(rule == FirstWrites::Trusted, Ordering::Relaxed);
    }

    /// What happens to first writes in transactions.
    #[must_use]
    pub fn first_writes(&self) -> FirstWrites {
        match self.trusts_first_writes.load(Ordering::Relaxed) {
            true => FirstWrites::Trusted,
            false => FirstWrites::Verified,
        }
    }

    /// Has synced what `flush.ms` asks for by now; nothing is waited for.
    pub fn flush_by_time(&self, wall: Timestamp) {
        self.all().iter().for_each(|partition| partition.flush_by_time(wall));
    }

    /// Has synced what the next checkpoints should vouch for; nothing is waited for.
    pub fn prepare_checkpoints(&self) {
        self.all().iter().for_each(|partition| partition.prepare_checkpoint());
    }

    /// Writes how far every partition has come. A directory that cannot take it is offline from
    /// then on; one without room keeps what was written before.
    pub fn write_checkpoints(&self) {
        let outdated = self.outdated.lock().expect("no holder of this lock can panic").clone();
        for directory in self.directories.all().iter().filter(|d| !d.is_offline()) {
            directory.take_new_marks();
            self.write_to(directory, Checkpoints::All);
        }
        // Not before: whoever makes a topic of the same name must know that they are written.
        let mut now = self.outdated.lock().expect("no holder of this lock can panic");
        now.retain(|name| !outdated.contains(name));
    }

    /// Whether the checkpoints may speak of topics that were deleted: then they are worth writing
    /// before a topic of the same name has to wait for it.
    #[must_use]
    pub fn has_outdated_checkpoints(&self) -> bool {
        !self.outdated.lock().expect("no holder of this lock can panic").is_empty()
    }

    /// Writes the recovery checkpoints of directories whose logs can vouch for more by now.
    pub fn write_new_marks(&self) {
        for directory in self.directories.all().iter().filter(|d| !d.is_offline()) {
            if directory.take_new_marks() {
                self.write_to(directory, Checkpoints::Marks);
            }
        }
    }

    fn write_to(&self, directory: &Directory, which: Checkpoints) {
        let path = directory.dir.path();
        let turn = directory.checkpoint_turns().next();
        let partitions = self.all();
        let here = partitions.iter().filter(|p| std::ptr::eq(&*p.directory(), directory));
        let (here, mut found): (Vec<&Arc<Partition>>, Vec<FoundPartition>) = here
            .filter_map(|partition| Some((partition, partition.checkpoint()?)))
            // One that has just moved out is in the other directory's checkpoints.
            .filter(|(partition, found)| {
                partition.is_unopened() || found.dir.parent() == Some(path)
            })
            .unzip();
        let of_partitions = found.len();
        found.extend(self.moves.checkpoints(directory));
        let is_told: HashSet<TopicPartition> =
            found.iter().map(|found| found.partition.clone()).collect();
        let strays = self.strays().into_iter().filter(|found| found.dir.parent() == Some(path));
        found.extend(strays.filter(|stray| !is_told.contains(&stray.partition)));
        let write = || match which {
            Checkpoints::All => directory.dir.write_checkpoints(&found),
            Checkpoints::Marks => directory.dir.write_marks(&found),
        };
        let written = directory.checkpoint_turns().take((turn, which), write);
        match written.unwrap_or(Ok(())) {
            Ok(()) => {
                for (partition, found) in here.iter().zip(&found[..of_partitions]) {
                    found.mark.into_iter().for_each(|mark| partition.on_mark_written(mark));
                }
            }
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "checkpoints are written when there is room");
            }
            Err(error) => directory.fail(&error),
        }
    }

    /// Closes every partition and marks the directories clean. A directory in which anything
    /// failed is not marked: its logs are recovered at the next start.
    pub fn close(&self, broker_epoch: i64) {
        self.directories.stop_flushers();
        let unfinished = self.close_moves();
        let all = self.all();
        let here = |directory: &Arc<Directory>| -> Vec<&Arc<Partition>> {
            let is_here = |p: &&Arc<Partition>| Arc::ptr_eq(&p.directory(), directory);
            all.iter().filter(is_here).collect()
        };
        let directories = self.directories.all();
        let ends: Vec<Ended> = directories
            .iter()
            .map(|directory| close::close_all(directory, &here(directory)))
            .collect();
        self.write_checkpoints();
        for (directory, ended) in directories.iter().zip(ends) {
            if ended == Ended::ToBeRecovered || directory.is_offline() {
                continue;
            }
            if unfinished.iter().any(|path| path == directory.dir.path()) {
                continue;
            }
            let closed: Vec<_> = here(directory).iter().filter_map(|p| p.closed()).collect();
            let written = directory.dir.write_closed(broker_epoch, &closed);
            if let Err(error) = written.and_then(|()| directory.dir.mark_clean(broker_epoch)) {
                tracing::error!(%error, "the clean shutdown could not be marked: the next start recovers");
            }
        }
    }
}
