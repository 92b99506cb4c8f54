//! Finds partitions by name and by topic id. Only looks up, opens and closes; what a partition
//! does is its own business.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use klamm_env::Env;
use klamm_log::{FoundPartition, LogDir, LogError};
use klamm_model::{
    DirectoryId, PartitionIndex, Timestamp, TopicId, TopicIdPartition, TopicPartition,
};
use klamm_stdx::Str;

use crate::assignments::Assignments;
use crate::cleaner_checkpoints::CleanerCheckpoints;
use crate::close::{self, Ended};
use crate::directories::{Directories, OpenError};
use crate::directory::Directory;
use crate::doomed::Doomed;
use crate::index::{Index, OfTopic};
use crate::moves::Moves;
use crate::new_partition::NewPartition;
use crate::partition::Partition;

/// The partitions of this broker.
#[derive(Debug)]
pub struct Partitions {
    env: Env,
    directories: Directories,
    index: ArcSwap<Index>,
    /// Directories found at the start whose partitions the metadata has not named yet.
    pub(crate) found: Mutex<HashMap<TopicPartition, Vec<(usize, FoundPartition)>>>,
    /// Partition directories of deleted topics, which are removed in the background.
    doomed: Doomed,
    /// Partitions of deleted topics that the checkpoints may still speak of.
    pub(crate) outdated: Mutex<HashSet<TopicPartition>>,
    cleaner_checkpoints: CleanerCheckpoints,
    moves: Moves,
    /// Where partitions are, as far as the metadata does not know it.
    assignments: Assignments,
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
            doomed: Doomed::default(),
            outdated: Mutex::new(outdated),
            cleaner_checkpoints,
            moves,
            assignments: Assignments::default(),
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
        self.index.load().by_name(topic, partition)
    }

    /// A partition by topic id.
    #[must_use]
    pub fn by_id(&self, topic_id: TopicId, partition: PartitionIndex) -> Option<Arc<Partition>> {
        self.index.load().by_id(topic_id, partition)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.index.load().all()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.load().len()
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
        self.assignments.note(partition, id);
        self.directories.news().notify_one();
    }

    /// Some of the log directories that the controller does not know of, at most `count_max`.
    #[must_use]
    pub fn take_assignments(&self, count_max: usize) -> Vec<(TopicIdPartition, DirectoryId)> {
        self.assignments.take(count_max)
    }

    /// The controller could not be told.
    pub fn put_back_assignments(&self, untold: Vec<(TopicIdPartition, DirectoryId)>) {
        self.assignments.put_back(untold);
    }

    /// Opens or makes partitions that the metadata has given to this broker; those that are open
    /// already only hear who leads. Gives the ones that failed.
    #[must_use]
    pub fn assign(&self, new: Vec<NewPartition>) -> Vec<(TopicIdPartition, LogError)> {
        self.forget_namesakes(&new);
        let mut index = Index::clone(&self.index.load());
        let mut failed = Vec::new();
        let mut changed: HashMap<Str, OfTopic> = HashMap::new();
        for wanted in new {
            let (epoch, directory) = (wanted.leader_epoch, wanted.directory);
            let id =
                TopicIdPartition { topic_id: wanted.topic_id, partition: wanted.name.partition };
            let name = &wanted.name.topic;
            let topic = changed.entry(name.clone()).or_insert_with(|| index.copy_of(name));
            index.name(wanted.topic_id, name);
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
        index.put(changed);
        self.index.store(Arc::new(index));
        failed
    }

    /// Renames a partition's directory so that its name is free at once; its removal is slow and
    /// happens in [`Partitions::remove_doomed`].
    pub(crate) fn doom(&self, dir: &Path, name: &TopicPartition) -> Result<(), LogError> {
        let id = self.env.random.uuid();
        self.doomed.add(self.directories.disk.as_ref(), dir, (name, id))
    }

    /// A topic was deleted.
    pub fn delete_topic(&self, topic: &str, topic_id: TopicId) {
        let mut index = Index::clone(&self.index.load());
        let partitions = index.remove(topic, topic_id);
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

    /// Whether directories wait for their removal.
    #[must_use]
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Removes the directories of deleted partitions.
    pub fn remove_doomed(&self) {
        self.doomed.remove(self.directories.disk.as_ref());
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
