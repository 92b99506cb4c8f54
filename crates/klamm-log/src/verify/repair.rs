//! Indexes written anew from the batches: offset index and time index of every segment, and where
//! they are wrong the transaction index and the producers' snapshot at its start. Each file is
//! written aside, synced and renamed, so that a crash leaves the old one or the new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, OpenMode, durable};
use klamm_model::Offset;

use super::aborts::Aborts;
use super::walk::{WalkEnd, walk_batches};
use super::{Progress, VerifyError};
use crate::error::LogError;
use crate::names::{
    INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX,
    base_offset, segment_file,
};
use crate::producers::snapshot::{decode_snapshot, encode_snapshot};
use crate::producers::state::ProducerState;
use crate::segment::Segment;
use crate::segment::indexes::IndexInterval;
use crate::segment::transaction_index::AbortedTransaction;

const FILE_BYTES_MAX: u64 = 1 << 31;

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Files that are not what they were.
    pub written: Vec<PathBuf>,
    /// Files that were right already.
    pub unchanged: u64,
    /// Segments with batches that are damaged: their indexes were left alone.
    pub damaged: Vec<(PathBuf, u64)>,
}

/// Writes the indexes of the partition in `dir` anew, of one segment or of all. Nobody else may use
/// the directory meanwhile.
///
/// # Errors
/// The disk failed, or it was stopped: every file is then the old one or the new one.
pub fn repair_indexes(
    disk: &Arc<dyn Disk>,
    (dir, only): (&Path, Option<Offset>),
    index_interval_bytes: u64,
    progress: &mut dyn Progress,
) -> Result<Repaired, VerifyError> {
    let entries = disk.list(dir).map_err(LogError::io(dir))?;
    let mut bases: Vec<Offset> =
        entries.iter().filter_map(|entry| base_offset(&entry.name, LOG_SUFFIX)).collect();
    bases.sort_unstable();
    let mut repair = Repair {
        disk,
        dir,
        index_interval_bytes,
        producers: ProducerState::default(),
        are_producers_known: false,
        done: Repaired::default(),
    };
    for (i, base) in bases.iter().enumerate() {
        let is_meant = only.is_none_or(|only| only == *base);
        repair.snapshot((*base, i == 0), is_meant)?;
        repair.segment(*base, is_meant, progress)?;
    }
    Ok(repair.done)
}

struct Repair<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    index_interval_bytes: u64,
    producers: ProducerState,
    /// Every batch since the first segment, or since a snapshot, was read.
    are_producers_known: bool,
    done: Repaired,
}

impl Repair<'_> {
    fn path(&self, base: Offset, suffix: &str) -> PathBuf {
        self.dir.join(segment_file(base, suffix))
    }

    fn replace(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), VerifyError> {
        let disk = self.disk.as_ref();
        let before = durable::read(disk, &path, FILE_BYTES_MAX).map_err(LogError::io(&path))?;
        if before.as_deref() == Some(bytes) {
            self.done.unchanged += 1;
            return Ok(());
        }
        durable::replace(disk, &path, bytes).map_err(LogError::io(&path))?;
        self.done.written.push(path);
        Ok(())
    }

    /// The snapshot at a segment's start is believed if it can be read, and else written anew if
    /// the batches before it say all.
    fn snapshot(
        &mut self,
        (base, is_first): (Offset, bool),
        is_meant: bool,
    ) -> Result<(), VerifyError> {
        let path = self.path(base, SNAPSHOT_SUFFIX);
        let bytes = durable::read(self.disk.as_ref(), &path, FILE_BYTES_MAX);
        match bytes.map_err(LogError::io(&path))?.map(|bytes| decode_snapshot(&bytes)) {
            Some(Ok(state)) => {
                self.producers = state;
                self.are_producers_known = true;
            }
            Some(Err(_)) if is_meant && (self.are_producers_known || base == Offset::ZERO) => {
                self.replace(path, &encode_snapshot(&self.producers))?;
            }
            Some(Err(_)) if is_meant => {
                // Nobody knows any more what was in it: without it a start replays what there is.
                self.disk.remove_file(&path).map_err(LogError::io(&path))?;
                self.disk.sync_dir(self.dir).map_err(LogError::io(self.dir))?;
                self.done.written.push(path);
            }
            _ => self.are_producers_known |= is_first && base == Offset::ZERO,
        }
        Ok(())
    }

    fn segment(
        &mut self,
        base: Offset,
        is_meant: bool,
        progress: &mut dyn Progress,
    ) -> Result<(), VerifyError> {
        let path = self.path(base, LOG_SUFFIX);
        let file = self.disk.open(&path, OpenMode::Read).map_err(LogError::io(&path))?;
        let len = file.len().map_err(LogError::io(&path))?;
        let segment = Segment::new(self.disk, self.dir, base, len);
        let (mut interval, mut damaged) = (IndexInterval::default(), None);
        let (mut aborted, mut next_offset) = (Aborts::default(), base);
        let ended = walk_batches((&path, file.as_ref()), len, progress, &mut |found| {
            let header = found.batch.header();
            if found.checksum.is_err() || header.base_offset < next_offset {
                damaged.get_or_insert(found.position);
            }
            if damaged.is_some() {
                return;
            }
            next_offset = header.next_offset();
            segment.note_timestamp(header);
            if interval.is_due(header.size_in_bytes() as u64, self.index_interval_bytes) {
                segment.index_batch(header, found.position);
            }
            aborted.note(&found.batch, &mut self.producers);
        })?;
        if let WalkEnd::NotABatch { position, .. } = ended {
            damaged.get_or_insert(position);
        }
        if let Some(position) = damaged {
            self.are_producers_known = false;
            if is_meant {
                self.done.damaged.push((path, position));
            }
            return Ok(());
        }
        if !is_meant {
            return Ok(());
        }
        segment.index_max_timestamp();
        let (offsets, times) = segment.index_bytes();
        self.replace(self.path(base, INDEX_SUFFIX), &offsets)?;
        self.replace(self.path(base, TIME_INDEX_SUFFIX), &times)?;
        self.transaction_index(base, &aborted)
    }

    /// What the file knows of transactions whose marker is there stays: they may have begun before
    /// all that there is, or compaction has taken their records.
    fn transaction_index(&mut self, base: Offset, aborted: &Aborts) -> Result<(), VerifyError> {
        let path = self.path(base, TRANSACTION_INDEX_SUFFIX);
        let bytes = durable::read(self.disk.as_ref(), &path, FILE_BYTES_MAX);
        let bytes = bytes.map_err(LogError::io(&path))?;
        let known = AbortedTransaction::decode(bytes.as_deref().unwrap_or_default());
        let mut all = aborted.transactions.clone();
        let ends = |t: &AbortedTransaction| (t.producer_id, t.last_offset);
        let is_new = |k: &&AbortedTransaction| {
            let is_there = aborted.transactions.iter().any(|t| ends(t) == ends(k));
            aborted.markers.contains(&ends(k)) && !is_there
        };
        all.extend(known.iter().filter(is_new).copied());
        all.sort_by_key(|transaction| transaction.last_offset);
        // What is the same in all that matters stays as it is.
        let is_same = known.len() == all.len()
            && known.iter().zip(&all).all(|(k, t)| {
                (k.producer_id, k.first_offset, k.last_offset)
                    == (t.producer_id, t.first_offset, t.last_offset)
            });
        let is_whole = bytes.as_ref().is_none_or(|b| {
            b.len() == known.len() * crate::segment::transaction_index::ENTRY_BYTES
        });
        if is_same && is_whole {
            self.done.unchanged += 1;
            return Ok(());
        }
        let new: Vec<u8> = all.iter().flat_map(|t| t.to_bytes()).collect();
        self.replace(path, &new)
    }
}
