//! What is in a log's directory, and what of it is left over from half-done work (Kafka:
//! `LogLoader.removeTempFilesAndCollectSwapFiles`).
//!
//! Kafka's cleaner replaces segments in two steps: the new ones are written as `.cleaned`, all of
//! them are renamed to `.swap`, then the old ones go and the new ones get their names. While a
//! `.cleaned` file exists nothing was replaced, and the new files are dropped. When only `.swap`
//! files exist the old ones may be gone already, so the replacement is finished.

use std::io;
use std::path::Path;
use std::sync::Arc;

use klamm_env::{DirEntry, Disk, durable};
use klamm_model::Offset;
use klamm_records::BatchHeader;

use crate::error::LogError;
use crate::names::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX,
    base_offset,
};
use crate::segment::Segment;

/// A segment that is being written by the cleaner.
const CLEANED_SUFFIX: &str = ".cleaned";
/// A segment that is about to replace others.
const SWAP_SUFFIX: &str = ".swap";
/// Files of half-done work that hold nothing of value.
const LEFTOVER_SUFFIXES: [&str; 3] = [DELETED_SUFFIX, CLEANED_SUFFIX, durable::TEMPORARY_SUFFIX];
/// What a segment consists of.
pub(crate) const SEGMENT_SUFFIXES: [&str; 4] =
    [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX];

/// The segments in a directory, oldest first; leftovers of half-done work are removed.
pub(crate) fn list_segments(
    disk: &Arc<dyn Disk>,
    dir: &Path,
) -> Result<Vec<Arc<Segment>>, LogError> {
    let mut entries = disk.list(dir).map_err(LogError::io(dir))?;
    if entries.iter().any(|entry| entry.name.ends_with(SWAP_SUFFIX)) {
        finish_swaps(disk.as_ref(), dir, &entries)?;
        entries = disk.list(dir).map_err(LogError::io(dir))?;
    }
    let mut segments = Vec::new();
    for entry in &entries {
        if LEFTOVER_SUFFIXES.iter().any(|suffix| entry.name.ends_with(suffix)) {
            remove(disk.as_ref(), &dir.join(&entry.name))?;
        } else if let Some(base) = base_offset(&entry.name, LOG_SUFFIX) {
            segments.push(Arc::new(Segment::new(disk, dir, base, entry.len)));
        }
    }
    segments.sort_by_key(|segment| segment.base_offset);
    for entry in &entries {
        let orphan = SEGMENT_SUFFIXES[1..].iter().find_map(|s| base_offset(&entry.name, s));
        let has_log = |base| segments.binary_search_by_key(&base, |s| s.base_offset).is_ok();
        if orphan.is_some_and(|base| !has_log(base)) {
            remove(disk.as_ref(), &dir.join(&entry.name))?;
        }
    }
    Ok(segments)
}

/// Removes a segment that no reader has.
pub(crate) fn remove_files(disk: &dyn Disk, segment: &Segment) -> Result<(), LogError> {
    SEGMENT_SUFFIXES.iter().try_for_each(|suffix| remove(disk, &segment.path(suffix)))
}

pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io(path)(error)),
        _ => Ok(()),
    }
}

/// The offset in `name`, which is a segment's file with another suffix behind its own.
fn base_behind(name: &str, suffix: &str) -> Option<Offset> {
    let stem = name.strip_suffix(suffix)?;
    SEGMENT_SUFFIXES.iter().find_map(|own| base_offset(stem, own))
}

fn finish_swaps(disk: &dyn Disk, dir: &Path, entries: &[DirEntry]) -> Result<(), LogError> {
    let first_cleaned =
        entries.iter().filter_map(|entry| base_behind(&entry.name, CLEANED_SUFFIX)).min();
    let mut swaps: Vec<&DirEntry> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.name.ends_with(SWAP_SUFFIX)) {
        let Some(base) = base_behind(&entry.name, SWAP_SUFFIX) else { continue };
        // Not all were renamed to `.swap`, so none has replaced anything.
        if first_cleaned.is_some_and(|cleaned| base >= cleaned) {
            remove(disk, &dir.join(&entry.name))?;
        } else {
            swaps.push(entry);
        }
    }
    for swap in &swaps {
        let stem = swap.name.strip_suffix(SWAP_SUFFIX).unwrap_or_default();
        let Some(base) = base_offset(stem, LOG_SUFFIX) else { continue };
        let next = next_offset(disk, &dir.join(&swap.name), swap.len)?.unwrap_or(base);
        for entry in entries {
            let replaced = SEGMENT_SUFFIXES.iter().find_map(|s| base_offset(&entry.name, s));
            if replaced.is_some_and(|offset| offset > base && offset < next) {
                remove(disk, &dir.join(&entry.name))?;
            }
        }
    }
    for swap in swaps {
        let from = dir.join(&swap.name);
        let to = dir.join(swap.name.strip_suffix(SWAP_SUFFIX).unwrap_or_default());
        disk.rename(&from, &to).map_err(LogError::io(&from))?;
    }
    disk.sync_dir(dir).map_err(LogError::io(dir))
}

/// The offset after the last whole batch of a file.
fn next_offset(disk: &dyn Disk, path: &Path, len: u64) -> Result<Option<Offset>, LogError> {
    let file = disk.open(path, klamm_env::OpenMode::Read).map_err(LogError::io(path))?;
    let mut header = [0; klamm_records::layout::HEADER_LEN];
    let (mut position, mut next) = (0, None);
    loop {
        let n = file.read_at(&mut header, position).map_err(LogError::io(path))?;
        let Ok(found) = BatchHeader::parse(&header[..n]) else { return Ok(next) };
        position += found.size_in_bytes() as u64;
        if position > len {
            return Ok(next);
        }
        next = Some(found.next_offset());
    }
}
