//! Partition directories that nobody uses any more: renamed at once, so that their names are free,
//! and removed in the background, which is slow.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use klamm_env::Disk;
use klamm_log::{LogError, names};
use klamm_model::{TopicPartition, Uuid};

/// Those that are renamed and not removed.
#[derive(Debug, Default)]
pub(crate) struct Doomed {
    dirs: Mutex<Vec<PathBuf>>,
}

impl Doomed {
    /// Renames the directory of a partition, with an id that no other has.
    pub(crate) fn add(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        (name, id): (&TopicPartition, Uuid),
    ) -> Result<(), LogError> {
        let to = dir.with_file_name(names::doomed_dir(&name.topic, name.partition, id));
        disk.rename(dir, &to).map_err(|error| LogError::Io { path: dir.to_owned(), error })?;
        self.dirs.lock().expect("no holder of this lock can panic").push(to);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.lock().expect("no holder of this lock can panic").is_empty()
    }

    /// Removes them. One that stays is removed by the next start.
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        let doomed =
            std::mem::take(&mut *self.dirs.lock().expect("no holder of this lock can panic"));
        for dir in doomed {
            if let Err(error) = disk.remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a deleted partition's directory could not be removed");
            }
        }
    }
}
