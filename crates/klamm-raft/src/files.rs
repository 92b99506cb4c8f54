//! Writing several small files with as few syncs as safety allows: write all, sync each once,
//! then each directory once.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode, durable::TEMPORARY_SUFFIX};

/// Replaces a file as a whole without making it durable: after a power failure the old one, the
/// new one, or an empty one is there.
pub(crate) fn replace_unsynced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, TEMPORARY_SUFFIX);
    write(disk, &temporary, bytes)?;
    disk.rename(&temporary, path)
}

/// A path with something after its last name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(crate) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    Ok(file)
}

/// Files that are written but not durable yet.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles {
    files: Vec<(Arc<dyn DiskFile>, PathBuf)>,
}

impl WrittenFiles {
    /// Writes a file aside; it gets its name when all are synced.
    pub(crate) fn write(&mut self, disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = write(disk, &with_suffix(path, TEMPORARY_SUFFIX), bytes)?;
        self.files.push((file, path.to_owned()));
        Ok(())
    }

    /// Makes all files durable, in the order in which they were written: a later one never
    /// exists without the earlier ones.
    pub(crate) fn finish(self, disk: &dyn Disk) -> io::Result<()> {
        for (file, _) in &self.files {
            file.sync()?;
        }
        let mut dirs: Vec<&Path> = Vec::new();
        for (_, path) in &self.files {
            disk.rename(&with_suffix(path, TEMPORARY_SUFFIX), path)?;
            if let Some(dir) = path.parent().filter(|dir| !dirs.contains(dir)) {
                dirs.push(dir);
            }
        }
        dirs.into_iter().try_for_each(|dir| disk.sync_dir(dir))
    }
}
