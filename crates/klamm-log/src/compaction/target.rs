//! The segment that replaces a group: written aside as `.cleaned`, synced, and handed over.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_model::Offset;
use klamm_records::batches;

use crate::error::LogError;
use crate::listing::{CLEANED_SUFFIX, SEGMENT_SUFFIXES};
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX};
use crate::segment::Segment;
use crate::segment::indexes::IndexInterval;
use crate::segment::transaction_index::AbortedTransaction;

/// A path with another suffix behind it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Target {
    disk: Arc<dyn Disk>,
    segment: Segment,
    file: Arc<dyn DiskFile>,
    written: u64,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    interval: IndexInterval,
    index_interval_bytes: u64,
}

impl Target {
    /// An empty one. A leftover of an earlier run is overwritten.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        (buffer_bytes, index_interval_bytes): (usize, u64),
    ) -> Result<Self, LogError> {
        let segment = Segment::new(disk, dir, base_offset, 0);
        let path = with_suffix(&segment.path(LOG_SUFFIX), CLEANED_SUFFIX);
        let open = || {
            let file = disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            Ok(file)
        };
        let file = open().map_err(LogError::growth(&path))?;
        segment.adopt(Arc::clone(&file));
        Ok(Self {
            disk: Arc::clone(disk),
            segment,
            file,
            written: 0,
            buffer: Vec::new(),
            buffer_bytes,
            interval: IndexInterval::default(),
            index_interval_bytes,
        })
    }

    /// Has `append` put a batch, or none, behind what there is; gives how many bytes it put.
    pub(super) fn append<E: From<LogError>>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let from = self.buffer.len();
        append(&mut self.buffer)?;
        let mut position = self.written + from as u64;
        for batch in batches(&self.buffer[from..]) {
            let batch = batch.expect("whole batches were written");
            self.segment.note_timestamp(&batch);
            let bytes = batch.bytes().len() as u64;
            if self.interval.is_due(bytes, self.index_interval_bytes) {
                self.segment.index_batch(&batch, position);
            }
            position += bytes;
        }
        let appended = (self.buffer.len() - from) as u64;
        if self.buffer.len() >= self.buffer_bytes {
            self.flush()?;
        }
        Ok(appended)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let path = with_suffix(&self.segment.path(LOG_SUFFIX), CLEANED_SUFFIX);
        self.file
            .write_all_at(&[IoSlice::new(&self.buffer)], self.written)
            .map_err(LogError::growth(&path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written > i32::MAX as u64 {
            let what = "compaction would make a segment that no index can point into".to_owned();
            return Err(LogError::Unreadable { path, what });
        }
        Ok(())
    }

    /// Writes and syncs everything; the segment keeps its indexes in memory until it is in place.
    pub(super) fn finish(
        mut self,
        aborted: &[AbortedTransaction],
    ) -> Result<Arc<Segment>, LogError> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        let path = with_suffix(&self.segment.path(LOG_SUFFIX), CLEANED_SUFFIX);
        self.file.sync().map_err(LogError::growth(&path))?;
        self.segment.index_max_timestamp();
        let (offsets, times) = self.segment.index_bytes();
        self.write_aside(INDEX_SUFFIX, &offsets)?;
        self.write_aside(TIME_INDEX_SUFFIX, &times)?;
        // Also without entries: it must replace the one that is there.
        let aborted: Vec<u8> = aborted.iter().flat_map(|t| t.to_bytes()).collect();
        self.write_aside(TRANSACTION_INDEX_SUFFIX, &aborted)?;
        self.segment.publish_size(self.written);
        Ok(Arc::new(self.segment))
    }

    fn write_aside(&self, suffix: &str, bytes: &[u8]) -> Result<(), LogError> {
        let path = with_suffix(&self.segment.path(suffix), CLEANED_SUFFIX);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(&[IoSlice::new(bytes)], 0)?;
            file.sync()
        };
        write().map_err(LogError::growth(&path))
    }
}

/// Removes what was written aside for the segment at `base_offset`, if anything was.
pub(super) fn remove_cleaned(disk: &dyn Disk, dir: &Path, base_offset: Offset) {
    for suffix in SEGMENT_SUFFIXES {
        let path = dir.join(crate::names::segment_file(base_offset, suffix));
        // What stays behind is removed when the log is opened next.
        let _gone_or_left = disk.remove_file(&with_suffix(&path, CLEANED_SUFFIX));
    }
}
