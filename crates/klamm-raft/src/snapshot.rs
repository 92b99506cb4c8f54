//! Snapshots of the metadata: `%020d-%010d.checkpoint`, end offset and epoch. Written aside,
//! synced, renamed; a file without its footer is no snapshot.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use klamm_codec::{EncodeError, Message};
use klamm_env::{Disk, durable};
use klamm_metadata::Provenance;
use klamm_model::{LeaderEpoch, Offset, Timestamp};
use klamm_persisted::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use klamm_records::{ControlRecordType, batches};

use crate::batch::{self, BATCH_BYTES_MAX, Place, RECORD_OVERHEAD_BYTES};
use crate::files;
use crate::replay::Replay;
use crate::{RaftError, Voter};

const SUFFIX: &str = ".checkpoint";
/// A snapshot that is being written; garbage after a crash.
const PART_SUFFIX: &str = ".part";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;
/// Largest snapshot that is read: some ten million partitions.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Which part of the log a snapshot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The first offset that it does not contain.
    pub end_offset: Offset,
    /// The epoch of the last batch that it contains.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The snapshot that formatting writes, before there is a log.
    pub const BOOTSTRAP: Self = Self { end_offset: Offset(0), epoch: LeaderEpoch(0) };

    pub(crate) fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset.0, self.epoch.0)
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_id = offset.len() == OFFSET_DIGITS && epoch.len() == EPOCH_DIGITS;
        if !is_id || !is_number(offset) || !is_number(epoch) {
            return None;
        }
        let (end_offset, epoch) = (offset.parse().ok()?, epoch.parse().ok()?);
        Some(Self { end_offset: Offset(end_offset), epoch: LeaderEpoch(epoch) })
    }
}

/// A snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) id: SnapshotId,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
}

/// The snapshots in `dir`, oldest first; what a crash left half-written is removed.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotFile>, RaftError> {
    let mut found = Vec::new();
    for entry in disk.list(dir).map_err(RaftError::io(dir))? {
        let path = dir.join(&entry.name);
        if let Some(id) = SnapshotId::from_file_name(&entry.name) {
            found.push(SnapshotFile { id, path, len: entry.len });
        } else if entry.name.ends_with(".checkpoint.part") {
            disk.remove_file(&path).map_err(RaftError::io(&path))?;
        }
    }
    found.sort_by_key(|file| file.id);
    Ok(found)
}

/// Reads a whole snapshot.
pub(crate) fn read(disk: &dyn Disk, file: &SnapshotFile) -> Result<Replay, RaftError> {
    let path = &file.path;
    let replay = read_file(disk, path)?;
    let replay = replay.ok_or_else(|| RaftError::damaged(path, "the file is gone"))?;
    Ok(replay)
}

/// Reads a file in the format of a snapshot, such as `bootstrap.checkpoint`; `None` if there is
/// none.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Replay>, RaftError> {
    let bytes = durable::read(disk, path, FILE_BYTES_MAX).map_err(RaftError::io(path))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let damaged = |what: String| RaftError::damaged(path, format!("{what}; restore it"));
    let mut replay = Replay::new();
    let (mut is_first, mut has_footer) = (true, false);
    for batch in batches(&bytes) {
        let batch = batch.map_err(|e| damaged(e.to_string()))?;
        batch.check_crc().map_err(|e| damaged(e.to_string()))?;
        if has_footer {
            return Err(damaged("something follows the footer".to_owned()));
        }
        let seen = replay.batch(&batch).map_err(|e| damaged(e.to_string()))?;
        if is_first != seen.header {
            return Err(damaged("it does not begin with its one header".to_owned()));
        }
        is_first = false;
        has_footer = seen.footer;
    }
    if has_footer { Ok(Some(replay)) } else { Err(damaged("it has no footer".to_owned())) }
}

/// What a snapshot is made of.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) epoch: LeaderEpoch,
    /// When the last batch in it was appended.
    pub(crate) last_timestamp: Timestamp,
    /// The voters, if they are in the log (kraft.version 1).
    pub(crate) voters: Option<&'a [Voter]>,
    pub(crate) frames: &'a [Bytes],
    pub(crate) wall: Timestamp,
}

/// The bytes of a snapshot.
pub(crate) fn encode(contents: &Contents<'_>) -> Result<Vec<u8>, EncodeError> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: contents.last_timestamp.0,
    };
    let mut first = vec![(ControlRecordType::SnapshotHeader, header.to_bytes(0)?)];
    if let Some(voters) = contents.voters {
        first.extend(batch::voter_set(voters)?);
    }
    let mut next =
        Place { base_offset: Offset(0), epoch: contents.epoch, timestamp: contents.wall };
    let mut bytes = batch::control(next, &first);
    next.base_offset = next.base_offset.plus(first.len() as i64);
    let mut rest = contents.frames;
    while !rest.is_empty() {
        let n = fitting(rest);
        bytes.extend(batch::data(next, &rest[..n]));
        next.base_offset = next.base_offset.plus(n as i64);
        rest = &rest[n..];
    }
    let footer = SnapshotFooterRecord { version: 0 }.to_bytes(0)?;
    bytes.extend(batch::control(next, &[(ControlRecordType::SnapshotFooter, footer)]));
    Ok(bytes)
}

/// How many frames fit a batch, at least one.
fn fitting(frames: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |frame: &&Bytes| {
        bytes += frame.len() + RECORD_OVERHEAD_BYTES;
        bytes <= BATCH_BYTES_MAX
    };
    frames.iter().take_while(fits).count().max(1)
}

/// Writes a snapshot durably.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    provenance: Provenance,
    bytes: &[u8],
) -> Result<SnapshotFile, RaftError> {
    let id = SnapshotId { end_offset: provenance.next_offset, epoch: provenance.epoch };
    let path = dir.join(id.file_name());
    let part = files::with_suffix(&path, PART_SUFFIX);
    let write = || {
        files::write(disk, &part, bytes)?.sync()?;
        disk.rename(&part, &path)?;
        disk.sync_dir(dir)
    };
    write().map_err(RaftError::io(&path))?;
    Ok(SnapshotFile { id, path, len: bytes.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: Offset(42), epoch: LeaderEpoch(7) };
        assert_eq!(id.file_name(), "00000000000000000042-0000000007.checkpoint");
        assert_eq!(SnapshotId::from_file_name(&id.file_name()), Some(id));
        for name in [
            "bootstrap.checkpoint",
            "00000000000000000042-0000000007.checkpoint.part",
            "0000000000000000042-0000000007.checkpoint",
            "+0000000000000000042-0000000007.checkpoint",
            "99999999999999999999-0000000007.checkpoint",
        ] {
            assert_eq!(SnapshotId::from_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_batch_takes_what_fits_and_at_least_one() {
        let frame = |len| Bytes::from(vec![0; len]);
        assert_eq!(fitting(&[frame(BATCH_BYTES_MAX * 2), frame(1)]), 1);
        assert_eq!(fitting(&[frame(1), frame(1), frame(BATCH_BYTES_MAX)]), 2);
    }
}
