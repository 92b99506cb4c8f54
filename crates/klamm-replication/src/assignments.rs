//! Which partitions are in which log directories, as far as the controller does not know it
//! (KIP-858).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use klamm_model::{DirectoryId, TopicIdPartition};

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    untold: Mutex<BTreeMap<TopicIdPartition, DirectoryId>>,
}

impl Assignments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicIdPartition, DirectoryId>> {
        self.untold.lock().expect("no holder of this lock can panic")
    }

    /// It is there now.
    pub(crate) fn note(&self, partition: TopicIdPartition, directory: DirectoryId) {
        self.lock().insert(partition, directory);
    }

    /// Some of them, at most `count_max`.
    pub(crate) fn take(&self, count_max: usize) -> Vec<(TopicIdPartition, DirectoryId)> {
        let mut untold = self.lock();
        std::iter::from_fn(|| untold.pop_first()).take(count_max).collect()
    }

    /// The controller could not be told.
    pub(crate) fn put_back(&self, untold: Vec<(TopicIdPartition, DirectoryId)>) {
        let mut newer = self.lock();
        for (partition, directory) in untold {
            // What was said since then is newer.
            newer.entry(partition).or_insert(directory);
        }
    }
}
