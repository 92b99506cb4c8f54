//! Small files that are never seen half-written: write aside, sync, rename, sync the directory.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, OpenMode};

/// Suffix of the file that is written aside; a leftover one is garbage.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Replaces the file at `path` by `bytes`, durably and as a whole.
///
/// # Errors
/// The first failed call; the old file is then still in place, or the new one is.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_aside(disk, path, bytes)?.sync().map_err(|error| failed_sync(&error))?;
    take_aside(disk, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir).map_err(|error| failed_sync(&error)),
        None => Ok(()),
    }
}

/// A sync that fails for want of room has lost pages or names all the same: whoever would write
/// again when there is room must not take it for a write that found none.
fn failed_sync(error: &io::Error) -> io::Error {
    io::Error::other(format!("a sync failed: {error}"))
}

/// The first step of [`replace`] alone, for whoever syncs many files at once: `bytes` are written
/// aside and not synced.
///
/// # Errors
/// The first failed call; the old file is still in place.
pub fn write_aside(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
) -> io::Result<std::sync::Arc<dyn crate::DiskFile>> {
    let file = disk.open(&temporary(path), OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    Ok(file)
}

/// The second step: what was written aside, and is synced, takes its place. The directory is not
/// synced.
///
/// # Errors
/// Those of `rename(2)`.
pub fn take_aside(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.rename(&temporary(path), path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// The whole of a small file; `None` if there is none.
///
/// # Errors
/// The file is longer than `len_max` (`InvalidData`), or cannot be read.
pub fn read(disk: &dyn Disk, path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len > len_max {
        let text = format!("{} has {len} bytes, more than {len_max}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = vec![0; usize::try_from(len).expect("len is at most len_max")];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}
