//! One segment: a file of batches and its indexes. Its owner appends; readers share it.
//!
//! The files are opened when somebody needs them. What readers see is `size`: the bytes below it
//! are written and never change until the segment is cut.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, layout};

use crate::error::LogError;
use crate::index::{
    IndexEntry, TimeIndexEntry, decode_index, decode_time_index, floor, floor_in_file, relative,
    time_floor,
};
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, segment_file};

/// Bytes read at once while batch headers are looked for.
const SCAN_BYTES: usize = 8 * 1024;

/// The indexes of a segment that is or was appended to in this life.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    pub(crate) offsets: Vec<IndexEntry>,
    pub(crate) times: Vec<TimeIndexEntry>,
    /// How many of each are in their files.
    pub(crate) offsets_saved: usize,
    pub(crate) times_saved: usize,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    file: OnceLock<Arc<dyn DiskFile>>,
    opening: Mutex<()>,
    size: AtomicU64,
    max_timestamp: AtomicI64,
    offset_of_max_timestamp: AtomicI64,
    /// `None` while the indexes are only in their files.
    pub(crate) indexes: RwLock<Option<Indexes>>,
}

/// A batch found by a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) header: BatchHeader,
    pub(crate) position: u64,
}

impl Segment {
    pub(crate) fn new(disk: &Arc<dyn Disk>, dir: &Path, base_offset: Offset, size: u64) -> Self {
        Self {
            base_offset,
            dir: dir.to_owned(),
            disk: Arc::clone(disk),
            file: OnceLock::new(),
            opening: Mutex::new(()),
            size: AtomicU64::new(size),
            max_timestamp: AtomicI64::new(-1),
            offset_of_max_timestamp: AtomicI64::new(-1),
            indexes: RwLock::new(None),
        }
    }

    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(segment_file(self.base_offset, suffix))
    }

    /// The batches' file, made at the first append.
    pub(crate) fn file(&self) -> io::Result<&Arc<dyn DiskFile>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let _one_opens = self.opening.lock().expect("no holder of this lock can panic");
        if self.file.get().is_none() {
            let file = self.disk.open(&self.path(LOG_SUFFIX), OpenMode::Create)?;
            // Nobody else can have set it: the lock is held.
            drop(self.file.set(file));
        }
        Ok(self.file.get().expect("it was just set"))
    }

    /// Whether the file is open, and so may have unsynced bytes.
    pub(crate) fn open_file(&self) -> Option<&Arc<dyn DiskFile>> {
        self.file.get()
    }

    /// Bytes that readers may see.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn publish_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// The largest timestamp and the last offset of the batch that has it.
    pub(crate) fn max_timestamp(&self) -> (Timestamp, Offset) {
        let offset = self.offset_of_max_timestamp.load(Ordering::Acquire);
        (Timestamp(self.max_timestamp.load(Ordering::Acquire)), Offset(offset))
    }

    pub(crate) fn note_timestamp(&self, header: &BatchHeader) {
        if header.max_timestamp.0 > self.max_timestamp.load(Ordering::Acquire) {
            self.publish_timestamp(header.max_timestamp, header.last_offset());
        }
    }

    pub(crate) fn publish_timestamp(&self, timestamp: Timestamp, offset: Offset) {
        self.max_timestamp.store(timestamp.0, Ordering::Release);
        self.offset_of_max_timestamp.store(offset.0, Ordering::Release);
    }

    /// Appends at `position` and shows it to readers.
    pub(crate) fn append(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.file()?.write_all_at(parts, position)?;
        self.publish_size(position + len as u64);
        Ok(())
    }

    /// Where to start looking for the batch that holds `offset`.
    fn start_position(&self, offset: Offset) -> io::Result<u64> {
        let Some(wanted) = relative(offset, self.base_offset) else { return Ok(0) };
        let found = match &*self.indexes.read().expect("no holder of this lock can panic") {
            Some(indexes) => floor(&indexes.offsets, wanted),
            None => match self.disk.open(&self.path(INDEX_SUFFIX), OpenMode::Read) {
                Ok(file) => floor_in_file(file.as_ref(), wanted)?,
                // A missing index makes a search slow, not wrong.
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            },
        };
        // An index is not trusted with positions outside the file.
        let position = found.map_or(0, |entry| u64::from(entry.position));
        Ok(if position < self.size() { position } else { 0 })
    }

    /// The first batch whose last offset is not before `offset`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else than batches there.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Option<Located>, LogError> {
        let start = self.start_position(offset).map_err(LogError::io(&self.dir))?;
        let found = self.scan_from(start, |header| header.last_offset() >= offset)?;
        match found {
            // A wrong index entry may point behind the batch: then all is searched.
            Some(found) if start > 0 && found.header.base_offset > offset => {
                self.scan_from(0, |header| header.last_offset() >= offset)
            }
            found => Ok(found),
        }
    }

    /// The first batch from `position` on that `is_wanted`.
    pub(crate) fn scan_from(
        &self,
        position: u64,
        mut is_wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        let mut headers = HeaderScan::new(self, position);
        while let Some(located) = headers.next()? {
            if is_wanted(&located.header) {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    /// A position from which every batch with a timestamp of at least `timestamp` can be reached.
    pub(crate) fn position_before(&self, timestamp: Timestamp) -> Result<u64, LogError> {
        let path = self.path(TIME_INDEX_SUFFIX);
        let entry = match &*self.indexes.read().expect("no holder of this lock can panic") {
            Some(indexes) => time_floor(&indexes.times, timestamp),
            None => time_floor(&self.read_time_index()?, timestamp),
        };
        match entry {
            Some(entry) => {
                let offset = self.base_offset.plus(i64::from(entry.relative_offset));
                self.start_position(offset).map_err(LogError::io(&path))
            }
            None => Ok(0),
        }
    }

    pub(crate) fn read_time_index(&self) -> Result<Vec<TimeIndexEntry>, LogError> {
        Ok(decode_time_index(&self.read_whole(TIME_INDEX_SUFFIX)?))
    }

    pub(crate) fn read_index(&self) -> Result<Vec<IndexEntry>, LogError> {
        Ok(decode_index(&self.read_whole(INDEX_SUFFIX)?))
    }

    /// A file of this segment as a whole; empty if there is none.
    pub(crate) fn read_whole(&self, suffix: &str) -> Result<Vec<u8>, LogError> {
        /// `segment.index.bytes` is an i32; no index is larger.
        const INDEX_BYTES_MAX: u64 = 1 << 31;
        let path = self.path(suffix);
        let bytes = klamm_env::durable::read(self.disk.as_ref(), &path, INDEX_BYTES_MAX);
        Ok(bytes.map_err(LogError::io(&path))?.unwrap_or_default())
    }

    /// Writes the index entries that are not in their files yet. With `whole` the files are
    /// rewritten from the start.
    pub(crate) fn save_indexes(&self, how: SaveIndexes) -> Result<(), LogError> {
        let mut guard = self.indexes.write().expect("no holder of this lock can panic");
        let Some(indexes) = guard.as_mut() else { return Ok(()) };
        if how == SaveIndexes::Whole {
            indexes.offsets_saved = 0;
            indexes.times_saved = 0;
        }
        let from = indexes.offsets_saved;
        let bytes: Vec<u8> = indexes.offsets[from..].iter().flat_map(|e| e.to_bytes()).collect();
        self.append_to_index(INDEX_SUFFIX, from * crate::index::ENTRY_BYTES, &bytes)?;
        let from = indexes.times_saved;
        let bytes: Vec<u8> = indexes.times[from..].iter().flat_map(|e| e.to_bytes()).collect();
        self.append_to_index(TIME_INDEX_SUFFIX, from * crate::index::TIME_ENTRY_BYTES, &bytes)?;
        indexes.offsets_saved = indexes.offsets.len();
        indexes.times_saved = indexes.times.len();
        Ok(())
    }

    fn append_to_index(&self, suffix: &str, position: usize, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.path(suffix);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            if !bytes.is_empty() {
                file.write_all_at(&[IoSlice::new(bytes)], position as u64)?;
            }
            file.set_len((position + bytes.len()) as u64)
        };
        write().map_err(LogError::io(&path))
    }

    /// Forgets the indexes in memory: they are in their files, and nothing more will be added.
    pub(crate) fn drop_indexes(&self) {
        *self.indexes.write().expect("no holder of this lock can panic") = None;
    }
}

/// How to write the indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaveIndexes {
    New,
    Whole,
}

/// Walks batch headers through a small buffer: bodies are skipped, not read.
pub(crate) struct HeaderScan<'a> {
    segment: &'a Segment,
    position: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> HeaderScan<'a> {
    pub(crate) fn new(segment: &'a Segment, position: u64) -> Self {
        Self { segment, position, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The next header; `None` at the end of what readers may see.
    pub(crate) fn next(&mut self) -> Result<Option<Located>, LogError> {
        let end = self.segment.size();
        if self.position >= end {
            return Ok(None);
        }
        let path = self.segment.path(LOG_SUFFIX);
        let at = self.position;
        let bytes = self.header_bytes(end).map_err(LogError::io(&path))?;
        let header = BatchHeader::parse(bytes).map_err(|e| LogError::Corrupt {
            path: path.clone(),
            position: at,
            what: e.to_string(),
        })?;
        self.position += header.size_in_bytes() as u64;
        if self.position > end {
            let what =
                format!("a batch of {} bytes reaches beyond the end", header.size_in_bytes());
            return Err(LogError::Corrupt { path, position: at, what });
        }
        Ok(Some(Located { header, position: at }))
    }

    fn header_bytes(&mut self, end: u64) -> io::Result<&[u8]> {
        let is_buffered = self.position >= self.buffer_at
            && self.position + layout::HEADER_LEN as u64
                <= self.buffer_at + self.buffer.len() as u64;
        if !is_buffered {
            let len =
                usize::try_from((end - self.position).min(SCAN_BYTES as u64)).expect("it is small");
            self.buffer.resize(len, 0);
            self.buffer_at = self.position;
            let n = self.segment.file()?.read_at(&mut self.buffer, self.position)?;
            self.buffer.truncate(n);
        }
        let from =
            usize::try_from(self.position - self.buffer_at).expect("it is inside the buffer");
        Ok(&self.buffer[from.min(self.buffer.len())..])
    }
}
