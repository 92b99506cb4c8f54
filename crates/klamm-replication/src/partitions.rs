//! Finds partitions by name and by topic id. Only looks up, opens and closes; what a partition
//! does is its own business.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use klamm_env::Env;
use klamm_log::{DirError, FoundPartition, Log, LogConfig, LogDir, LogError, Opening, names};
use klamm_model::{
    DirectoryId, LeaderEpoch, PartitionIndex, Timestamp, TopicId, TopicIdPartition, TopicPartition,
};
use klamm_records::Rules;
use klamm_stdx::Str;

use crate::cleaner_checkpoints::CleanerCheckpoints;
use crate::close::{self, Ended};
use crate::directory::{Directories, Directory, OpenError};
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
    found: Mutex<HashMap<TopicPartition, (usize, FoundPartition)>>,
    /// Partition directories of deleted topics, which are removed in the background.
    doomed: Mutex<Vec<PathBuf>>,
    /// Partitions of deleted topics that the checkpoints may still speak of.
    outdated: Mutex<HashSet<TopicPartition>>,
    cleaner_checkpoints: CleanerCheckpoints,
}

impl Partitions {
    /// Reads what is on the disk; no log is opened before the metadata names it.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn open(env: Env, directories: Directories) -> Result<Self, OpenError> {
        let found = directories.found()?;
        let cleaner_checkpoints = CleanerCheckpoints::read(&directories)?;
        let names: HashSet<&TopicPartition> = found.iter().map(|(_, f)| &f.partition).collect();
        let mut outdated = cleaner_checkpoints.names();
        for dir in directories.dirs() {
            outdated.extend(dir.checkpointed()?);
        }
        outdated.retain(|name| !names.contains(name));
        let found =
            found.into_iter().map(|(i, found)| (found.partition.clone(), (i, found))).collect();
        Ok(Self {
            env,
            directories,
            index: ArcSwap::default(),
            found: Mutex::new(found),
            doomed: Mutex::default(),
            outdated: Mutex::new(outdated),
            cleaner_checkpoints,
        })
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
    pub fn directory_of<'a>(&self, partition: &'a Partition) -> Option<&'a Arc<LogDir>> {
        (!partition.is_unopened()).then(|| partition.directory().log_dir())
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
            let epoch = wanted.leader_epoch;
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
            if found.get(&wanted.name).is_some_and(|(_, f)| f.topic_id.is_some_and(is_other)) {
                found.remove(&wanted.name);
                has_namesake = true;
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

    /// Opens or makes a partition. One that cannot be opened is offline, and its directory's files
    /// stay as they are.
    fn open_partition(&self, wanted: NewPartition) -> (Arc<Partition>, Option<LogError>) {
        let known = self.take_found(&wanted.name);
        let (i, opened) = match &known {
            Some((i, found)) => (*i, self.open_log(*i, found, &wanted)),
            None => match self.choose_directory(&wanted) {
                Ok(i) => (i, self.create_log(i, &wanted)),
                Err(missing) => (0, Err(missing)),
            },
        };
        let directory = Arc::clone(&self.directories.directories[i]);
        let (name, topic_id) = (wanted.name, wanted.topic_id);
        match opened {
            Ok(mut log) => {
                let cleaned_to = self.cleaner_checkpoints.take(&name).filter(|_| known.is_some());
                if let Some(offset) = cleaned_to {
                    log.resume_cleaning_at(offset);
                }
                (Partition::new(name, topic_id, log, wanted.rules, directory), None)
            }
            Err(error) => {
                let found = known.map(|(_, found)| found);
                let dir = found.as_ref().map(|found| found.dir.clone()).unwrap_or_default();
                let log = Log::unopened(&self.directories.disk, &dir, wanted.config);
                (Partition::unopened((name, topic_id), log, found, directory), Some(error))
            }
        }
    }

    /// What was found of a partition at the start. The room of the last goes with it.
    fn take_found(&self, name: &TopicPartition) -> Option<(usize, FoundPartition)> {
        let mut found = self.found.lock().expect("no holder of this lock can panic");
        let known = found.remove(name);
        if found.is_empty() {
            found.shrink_to_fit();
        }
        known
    }

    fn open_log(
        &self,
        i: usize,
        found: &FoundPartition,
        wanted: &NewPartition,
    ) -> Result<Log, LogError> {
        let (wall, config) = (self.env.clock.wall(), wanted.config.clone());
        if let Some(closed) = &found.closed {
            let disk = &self.directories.disk;
            let mut log = Log::asleep(disk, &found.dir, config, closed, wall);
            log.keep_mark(found.mark);
            log.keep_topic_id(found.topic_id);
            return Ok(log);
        }
        let opening = Opening {
            was_clean: self.directories.directories[i].dir.was_clean(),
            recovery_point: found.recovery_point,
            log_start_offset: found.log_start_offset,
            mark: found.mark,
            cleaned_to: self.cleaner_checkpoints.of(&wanted.name),
        };
        let (mut log, report) =
            Log::open(&self.directories.disk, &found.dir, config, opening, wall)?;
        if found.topic_id.is_none() {
            log.assign_topic_id(wanted.topic_id)?;
        }
        if report.segments_checked > 0 {
            tracing::info!(partition = %found.partition, ?report, "log recovered");
        }
        Ok(log)
    }

    fn create_log(&self, i: usize, wanted: &NewPartition) -> Result<Log, LogError> {
        let name = names::partition_dir(&wanted.name.topic, wanted.name.partition);
        let dir = self.directories.directories[i].dir.path().join(name);
        // A directory of a deleted topic of the same name makes room first.
        self.make_room(&dir, &wanted.name)?;
        let (topic_id, wall) = (Some(wanted.topic_id), self.env.clock.wall());
        Log::create(&self.directories.disk, &dir, topic_id, wanted.config.clone(), wall)
    }

    /// Where a partition that was not found is made: in the directory that the metadata names, or
    /// the one with the fewest partitions. Nowhere, if it may be in a directory that failed
    /// (Kafka: `LogManager.getOrCreateLog`): an empty one in its place would be taken for it.
    fn choose_directory(&self, wanted: &NewPartition) -> Result<usize, LogError> {
        let dirs = self.directories.all();
        let failed = self.directories.failed();
        if let Some(named) = wanted.directory {
            let here = dirs.iter().position(|d| d.dir.directory_id() == named);
            return here.ok_or_else(|| LogError::Unreadable {
                path: failed.first().cloned().unwrap_or_default(),
                what: format!("the partition is in log directory {named}, which is not among those in use; mend it or put it back (log.dirs), and start again"),
            });
        }
        if let Some(path) = failed.first().filter(|_| wanted.age == Age::Old) {
            let what = "the partition is in none of the other log directories, so it may be in this one, which failed; mend it and start again".to_owned();
            return Err(LogError::Unreadable { path: path.clone(), what });
        }
        let usable = (0..dirs.len()).filter(|i| !dirs[*i].is_offline());
        // Where all are cordoned the controller does not ask, if it was so at the start.
        let order = |i: &usize| (dirs[*i].is_cordoned(), dirs[*i].partition_count());
        Ok(usable.min_by_key(order).unwrap_or(0))
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
    fn doom(&self, dir: &std::path::Path, name: &TopicPartition) -> Result<(), LogError> {
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
            let Some(checkpoint) = partition.checkpoint() else { continue };
            if let Err(error) = self.doom(&checkpoint.dir, partition.name()) {
                tracing::error!(partition = %partition.name(), %error, "a deleted partition's directory could not be renamed");
            }
        }
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
        found.values().map(|(_, found)| found.clone()).collect()
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
        self.outdated.lock().expect("no holder of this lock can panic").clear();
        for directory in self.directories.all().iter().filter(|d| !d.is_offline()) {
            directory.take_new_marks();
            self.write_to(directory, LogDir::write_checkpoints);
        }
    }

    /// Writes the recovery checkpoints of directories whose logs can vouch for more by now.
    pub fn write_new_marks(&self) {
        for directory in self.directories.all().iter().filter(|d| !d.is_offline()) {
            if directory.take_new_marks() {
                self.write_to(directory, LogDir::write_marks);
            }
        }
    }

    fn write_to(
        &self,
        directory: &Directory,
        write: fn(&LogDir, &[FoundPartition]) -> Result<(), DirError>,
    ) {
        let partitions = self.all();
        let here = partitions.iter().filter(|p| std::ptr::eq(&**p.directory(), directory));
        let (here, mut found): (Vec<&Arc<Partition>>, Vec<FoundPartition>) =
            here.filter_map(|partition| Some((partition, partition.checkpoint()?))).unzip();
        let of_partitions = found.len();
        let path = directory.dir.path();
        found.extend(self.strays().into_iter().filter(|found| found.dir.parent() == Some(path)));
        match write(&directory.dir, &found) {
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
        let all = self.all();
        let here = |directory: &Arc<Directory>| -> Vec<&Arc<Partition>> {
            let is_here = |p: &&Arc<Partition>| std::ptr::eq(&**p.directory(), &**directory);
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
            let closed: Vec<_> = here(directory).iter().filter_map(|p| p.closed()).collect();
            let written = directory.dir.write_closed(broker_epoch, &closed);
            if let Err(error) = written.and_then(|()| directory.dir.mark_clean(broker_epoch)) {
                tracing::error!(%error, "the clean shutdown could not be marked: the next start recovers");
            }
        }
    }
}
