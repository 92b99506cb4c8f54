//! The checkpoints of all directories: how far each partition has come. Never believed of a new
//! topic what they said of a deleted one of its name.

use std::collections::HashSet;
use std::sync::Arc;

use klamm_log::FoundPartition;
use klamm_model::{TopicId, TopicPartition};

use crate::checkpoint_turns::Checkpoints;
use crate::directory::Directory;
use crate::new_partition::NewPartition;
use crate::partition::Partition;
use crate::partitions::Partitions;

impl Partitions {
    /// What the checkpoints say of a deleted topic must not be believed of a new one with its name:
    /// below a recovery point a restart checks nothing.
    pub(crate) fn forget_namesakes(&self, new: &[NewPartition]) {
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
            self.cleaner_checkpoints().take(&wanted.name);
            has_namesake = true;
        }
        drop(outdated);
        if has_namesake {
            self.write_checkpoints();
            self.write_cleaner_checkpoints();
        }
    }

    /// Writes how far the logs were cleaned. A directory in which that fails is told of; its logs
    /// are cleaned again after the next start.
    pub fn write_cleaner_checkpoints(&self) {
        self.cleaner_checkpoints().write(self.directories(), &self.all());
    }

    /// Has synced what the next checkpoints should vouch for; nothing is waited for.
    pub fn prepare_checkpoints(&self) {
        self.all().iter().for_each(|partition| partition.prepare_checkpoint());
    }

    /// Writes how far every partition has come. A directory that cannot take it is offline from
    /// then on; one without room keeps what was written before.
    pub fn write_checkpoints(&self) {
        let outdated = self.outdated.lock().expect("no holder of this lock can panic").clone();
        for directory in self.directories().all().iter().filter(|d| !d.is_offline()) {
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
        for directory in self.directories().all().iter().filter(|d| !d.is_offline()) {
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
        found.extend(self.moves().checkpoints(directory));
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
}
