//! Which files there are that say what was known of producers as of an offset (Kafka:
//! `ProducerStateManager`): at the start of segments, the newest, and inside of segments while a
//! mark needs them.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use klamm_env::{Disk, OpenMode, durable};
use klamm_model::Offset;

use crate::error::LogError;
use crate::names::{SNAPSHOT_SUFFIX, base_offset, segment_file};
use crate::producers::snapshot::{SnapshotError, decode_snapshot, encode_snapshot};
use crate::producers::state::ProducerState;

/// One producer has 46 bytes in it.
const SNAPSHOT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a log knows of its snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// The offset of the newest file.
    pub(crate) newest: Option<Offset>,
    /// Those inside of segments that a later one has replaced.
    strays: Vec<Offset>,
}

impl Snapshots {
    /// A newer one has taken the place of the snapshot at `replaced`, which a mark may still need.
    pub(crate) fn on_replaced(&mut self, replaced: Option<Offset>) {
        if replaced != self.newest {
            self.strays.extend(replaced);
        }
    }

    /// Takes out the strays before `snapshot`, which no mark needs any more.
    pub(crate) fn take_strays_before(&mut self, snapshot: Offset) -> Vec<Offset> {
        let (gone, kept) =
            std::mem::take(&mut self.strays).into_iter().partition(|offset| *offset < snapshot);
        self.strays = kept;
        gone
    }
}

/// The snapshot files in a log's directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotFiles<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
}

impl SnapshotFiles<'_> {
    /// All of them, oldest first.
    pub(crate) fn list(self) -> Result<Vec<(Offset, PathBuf)>, LogError> {
        let entries = self.disk.list(self.dir).map_err(LogError::io(self.dir))?;
        let offset =
            |name: &str| base_offset(name, SNAPSHOT_SUFFIX).map(|o| (o, self.dir.join(name)));
        Ok(entries.iter().filter_map(|entry| offset(&entry.name)).collect())
    }

    /// What one says; inside is the error if that is nothing.
    pub(crate) fn read(
        self,
        path: &Path,
    ) -> Result<Result<ProducerState, SnapshotError>, LogError> {
        let bytes =
            durable::read(self.disk, path, SNAPSHOT_BYTES_MAX).map_err(LogError::io(path))?;
        Ok(decode_snapshot(&bytes.unwrap_or_default()))
    }

    /// Writes the producers as of `offset`; syncs nothing.
    pub(crate) fn write(
        self,
        offset: Offset,
        producers: &ProducerState,
    ) -> Result<PathBuf, LogError> {
        let path = self.dir.join(segment_file(offset, SNAPSHOT_SUFFIX));
        let bytes = encode_snapshot(producers);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(&[IoSlice::new(&bytes)], 0)
        };
        write().map_err(LogError::growth(&path))?;
        Ok(path)
    }

    pub(crate) fn remove(self, path: &Path) -> Result<(), LogError> {
        self.disk.remove_file(path).map_err(LogError::io(path))
    }
}
