//! `cleaner-offset-checkpoint` of every log directory: how far each log was cleaned, in Kafka's
//! format (Kafka: `LogCleanerManager.updateCheckpoints`). Logs remember it themselves; this only
//! reads and writes the files.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klamm_log::{LogError, LogOwner, OffsetCheckpoint, names};
use klamm_model::{Offset, TopicPartition};

use crate::directories::Directories;
use crate::partition::Partition;

/// What was read, until the logs are opened, and the right to write.
#[derive(Debug)]
pub(crate) struct CleanerCheckpoints {
    /// Of logs that are not opened yet, with their directory.
    unclaimed: Mutex<HashMap<TopicPartition, (PathBuf, Offset)>>,
    /// One writes at a time. Nobody on the data path waits for it.
    writing: Mutex<()>,
}

fn file(dir: &Path) -> OffsetCheckpoint {
    OffsetCheckpoint::new(dir.join(names::CLEANER_OFFSETS))
}

impl CleanerCheckpoints {
    /// Reads the files of all directories; one that is missing or unreadable says that nothing
    /// was cleaned, which costs work and no data.
    pub(crate) fn read(directories: &Directories) -> Result<Self, LogError> {
        let mut unclaimed = HashMap::new();
        for dir in directories.dirs() {
            for (partition, offset) in file(dir.path()).read(directories.disk.as_ref())? {
                unclaimed.insert(partition, (dir.path().to_owned(), offset));
            }
        }
        Ok(Self { unclaimed: Mutex::new(unclaimed), writing: Mutex::default() })
    }

    /// The partitions that the files speak of.
    pub(crate) fn names(&self) -> HashSet<TopicPartition> {
        let unclaimed = self.unclaimed.lock().expect("no holder of this lock can panic");
        unclaimed.keys().cloned().collect()
    }

    /// What is known of a log that is about to be opened.
    pub(crate) fn of(&self, partition: &TopicPartition) -> Option<Offset> {
        let unclaimed = self.unclaimed.lock().expect("no holder of this lock can panic");
        unclaimed.get(partition).map(|(_, offset)| *offset)
    }

    /// What is known of a log that is being opened.
    pub(crate) fn take(&self, partition: &TopicPartition) -> Option<Offset> {
        let mut unclaimed = self.unclaimed.lock().expect("no holder of this lock can panic");
        unclaimed.remove(partition).map(|(_, offset)| offset)
    }

    /// Writes what the logs say, and what is known of those that are not opened.
    pub(crate) fn write(&self, directories: &Directories, partitions: &[Arc<Partition>]) {
        let mut entries = self.unclaimed.lock().expect("no holder of this lock can panic").clone();
        for partition in partitions {
            let (dir, cleaned_to) =
                partition.with_log(|log| (log.dir().to_owned(), log.cleaned_to()));
            if let (Some(dir), Some(offset)) = (dir.parent(), cleaned_to) {
                entries.insert(partition.name().clone(), (dir.to_owned(), offset));
            }
        }
        let _one_writes = self.writing.lock().expect("no holder of this lock can panic");
        for directory in directories.all().iter().filter(|directory| !directory.is_offline()) {
            let dir = directory.log_dir().path();
            let here = entries.iter().filter(|(_, (found, _))| found == dir);
            let mut lines: Vec<(TopicPartition, Offset)> =
                here.map(|(partition, (_, offset))| (partition.clone(), *offset)).collect();
            lines.sort();
            if let Err(error) = file(dir).write(directories.disk.as_ref(), &lines) {
                tracing::error!(%error, "the cleaner's checkpoint could not be written: the next start cleans again");
            }
        }
    }
}
