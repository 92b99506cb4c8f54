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
    base_offset, segment_file,
};
use crate::segment::Segment;
use crate::segment::transaction_index::AbortedTransaction;

/// A segment that is being written by the cleaner.
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
/// A segment that is about to replace others.
pub(crate) const SWAP_SUFFIX: &str = ".swap";
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
    let is_leftover =
        |entry: &DirEntry| LEFTOVER_SUFFIXES.iter().any(|suffix| entry.name.ends_with(suffix));
    if entries.iter().any(is_leftover) {
        // A kill may have come between a rename and its sync. Once the leftover is gone nobody
        // could tell, and after a power cut the file would be there again under its old name.
        disk.sync_dir(dir).map_err(LogError::io(dir))?;
    }
    let mut segments = Vec::new();
    for entry in &entries {
        if is_leftover(entry) {
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
        let contents = contents(disk, &dir.join(&swap.name), swap.len)?;
        let next = contents.next_offset.unwrap_or(base);
        for entry in entries {
            let replaced = SEGMENT_SUFFIXES.iter().find_map(|s| base_offset(&entry.name, s));
            if replaced.is_some_and(|offset| offset > base && offset < next) {
                remove(disk, &dir.join(&entry.name))?;
            }
        }
        let has_index = |entry: &&&DirEntry| {
            base_behind(&entry.name, SWAP_SUFFIX) == Some(base)
                && entry.name.contains(TRANSACTION_INDEX_SUFFIX)
        };
        if !swaps.iter().any(|entry| has_index(&entry)) {
            drop_stale_aborted(disk, (dir, base), &contents.markers)?;
        }
    }
    // No old file may come back beside a new one that has its name.
    disk.sync_dir(dir).map_err(LogError::io(dir))?;
    for swap in swaps {
        let from = dir.join(&swap.name);
        let to = dir.join(swap.name.strip_suffix(SWAP_SUFFIX).unwrap_or_default());
        disk.rename(&from, &to).map_err(LogError::io(&from))?;
    }
    disk.sync_dir(dir).map_err(LogError::io(dir))
}

/// A swap without a transaction index finds the old segment's, or its own that got its name
/// already. An aborted transaction whose marker is not in the new segment must not stay: nothing
/// would end it, and readers would skip what its producer wrote next.
fn drop_stale_aborted(
    disk: &dyn Disk,
    (dir, base): (&Path, Offset),
    markers: &[Offset],
) -> Result<(), LogError> {
    let path = dir.join(segment_file(base, TRANSACTION_INDEX_SUFFIX));
    let bytes = durable::read(disk, &path, 1 << 31).map_err(LogError::io(&path))?;
    let Some(bytes) = bytes else { return Ok(()) };
    let is_marked =
        |transaction: &AbortedTransaction| markers.binary_search(&transaction.last_offset).is_ok();
    let entries = AbortedTransaction::decode(&bytes);
    let kept: Vec<u8> =
        entries.into_iter().filter(is_marked).flat_map(AbortedTransaction::to_bytes).collect();
    if kept == bytes {
        return Ok(());
    }
    durable::replace(disk, &path, &kept).map_err(LogError::io(&path))
}

/// What the whole batches of a file say: where they end, and which are control batches.
fn contents(disk: &dyn Disk, path: &Path, len: u64) -> Result<Contents, LogError> {
    let file = disk.open(path, klamm_env::OpenMode::Read).map_err(LogError::io(path))?;
    let mut header = [0; klamm_records::layout::HEADER_LEN];
    let mut position = 0;
    let mut found = Contents { next_offset: None, markers: Vec::new() };
    loop {
        let n = file.read_at(&mut header, position).map_err(LogError::io(path))?;
        let Ok(batch) = BatchHeader::parse(&header[..n]) else { return Ok(found) };
        position += batch.size_in_bytes() as u64;
        if position > len {
            return Ok(found);
        }
        found.next_offset = Some(batch.next_offset());
        if batch.attributes.is_control() {
            found.markers.push(batch.base_offset);
        }
    }
}

struct Contents {
    next_offset: Option<Offset>,
    markers: Vec<Offset>,
}
