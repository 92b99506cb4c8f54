//! Tells a torn tail from damage, before anything is cut.
//!
//! Every batch of the metadata log is synced before the next is written, but for the few that
//! begin an epoch. So what a crash can tear is the last batch; a broken batch with a whole one
//! behind it was committed and got damaged later, and cutting there would lose what was promised.

use std::path::Path;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_log::names::{LOG_SUFFIX, base_offset};
use klamm_records::{BatchView, layout};

use crate::RaftError;

/// Bytes that are looked at together: twice the largest batch that Kafka or we write here, so
/// that one that begins in the first half is whole. A larger one counts as broken.
const WINDOW_BYTES: usize = 2 * (8 * 1024 * 1024 + 1024);

/// Refuses a log that is broken elsewhere than at its end.
pub(crate) fn check(disk: &dyn Disk, dir: &Path) -> Result<(), RaftError> {
    let entries = disk.list(dir).map_err(RaftError::io(dir))?;
    let names: Vec<_> =
        entries.iter().filter(|e| base_offset(&e.name, LOG_SUFFIX).is_some()).collect();
    for (i, entry) in names.iter().enumerate() {
        let path = dir.join(&entry.name);
        let file = disk.open(&path, OpenMode::Read).map_err(RaftError::io(&path))?;
        let check = || -> std::io::Result<Option<u64>> {
            let whole = whole_bytes(file.as_ref())?;
            let is_last = i + 1 == names.len();
            let is_whole = whole == file.len()?;
            let is_torn = is_last && !has_batch(file.as_ref(), whole + 1)?;
            Ok((!is_whole && !is_torn).then_some(whole))
        };
        if let Some(at) = check().map_err(RaftError::io(&path))? {
            let what = format!(
                "the batch at byte {at} is damaged and committed ones follow; nothing was \
                 changed: restore the file, or use a newer snapshot of another node"
            );
            return Err(RaftError::damaged(&path, what));
        }
    }
    Ok(())
}

/// A part of a file; shorter than the window only at the file's end.
fn window(file: &dyn DiskFile, at: u64) -> std::io::Result<Vec<u8>> {
    let rest = usize::try_from(file.len()?.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; rest.min(WINDOW_BYTES)];
    let n = file.read_at(&mut bytes, at)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Bytes up to the first batch that is not whole.
fn whole_bytes(file: &dyn DiskFile) -> std::io::Result<u64> {
    let mut whole = 0;
    loop {
        let bytes = window(file, whole)?;
        let mut at = 0;
        while let Ok(batch) = BatchView::parse(&bytes[at..]) {
            if batch.check_crc().is_err() {
                return Ok(whole + at as u64);
            }
            at += batch.bytes().len();
        }
        whole += at as u64;
        if at == 0 || bytes.len() < WINDOW_BYTES {
            return Ok(whole);
        }
    }
}

/// Whether a whole batch begins anywhere from `from` on. The magic byte rules out nearly every
/// place at once.
fn has_batch(file: &dyn DiskFile, from: u64) -> std::io::Result<bool> {
    let magic = layout::MAGIC_V2 as u8;
    let mut from = from;
    loop {
        let bytes = window(file, from)?;
        let begins = |at: &usize| {
            bytes.get(at + layout::MAGIC) == Some(&magic)
                && BatchView::parse(&bytes[*at..]).is_ok_and(|batch| batch.check_crc().is_ok())
        };
        if (0..bytes.len().min(WINDOW_BYTES / 2)).any(|at| begins(&at)) {
            return Ok(true);
        }
        if bytes.len() < WINDOW_BYTES {
            // The second half of the last window is behind the last step.
            return Ok((WINDOW_BYTES / 2..bytes.len()).any(|at| begins(&at)));
        }
        from += (WINDOW_BYTES / 2) as u64;
    }
}
