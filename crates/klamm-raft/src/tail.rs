//! Tells a torn tail from damage, before anything is cut.
//!
//! Every batch of the metadata log is synced before the next is written, but for the few that
//! begin an epoch. So what a crash can tear is the last batch; a broken batch with a whole one
//! behind it was committed and got damaged later, and cutting there would lose what was promised.

use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_log::names::{LOG_SUFFIX, base_offset};
use klamm_records::{BatchView, layout};

use crate::RaftError;

/// Largest segment that is read at once; `metadata.log.segment.bytes` cannot be larger.
const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Refuses a log that is broken elsewhere than at its end.
pub(crate) fn check(disk: &dyn Disk, dir: &Path) -> Result<(), RaftError> {
    let entries = disk.list(dir).map_err(RaftError::io(dir))?;
    let names: Vec<_> =
        entries.iter().filter(|e| base_offset(&e.name, LOG_SUFFIX).is_some()).collect();
    for (i, entry) in names.iter().enumerate() {
        let path = dir.join(&entry.name);
        let bytes = durable::read(disk, &path, SEGMENT_BYTES_MAX).map_err(RaftError::io(&path))?;
        let bytes = bytes.unwrap_or_default();
        let whole = whole_bytes(&bytes);
        let is_last = i + 1 == names.len();
        if whole < bytes.len() && (!is_last || has_batch(&bytes[whole + 1..])) {
            let what = format!(
                "the batch at byte {whole} is damaged and committed ones follow; nothing was \
                 changed: restore the file, or use a newer snapshot of another node"
            );
            return Err(RaftError::damaged(&path, what));
        }
    }
    Ok(())
}

/// Bytes up to the first batch that is not whole.
fn whole_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(batch) = BatchView::parse(&bytes[at..]) {
        if batch.check_crc().is_err() {
            break;
        }
        at += batch.bytes().len();
    }
    at
}

/// Whether a whole batch begins anywhere. The magic byte rules out nearly every place at once.
fn has_batch(bytes: &[u8]) -> bool {
    let magic = layout::MAGIC_V2 as u8;
    let begins =
        |at: usize| BatchView::parse(&bytes[at..]).is_ok_and(|batch| batch.check_crc().is_ok());
    let places = 0..bytes.len().saturating_sub(layout::HEADER_LEN);
    places.filter(|at| bytes[at + layout::MAGIC] == magic).any(begins)
}
