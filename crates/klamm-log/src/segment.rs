//! One segment: a file of batches and its indexes. Its owner appends; readers share it.
//!
//! The files are opened when somebody needs them. What readers see is `size`: the bytes below it
//! are written and never change until the segment is cut.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use klamm_env::{Disk, DiskFile, OpenMode, Patience};
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, layout};

use crate::error::LogError;
use crate::index::{
    IndexEntry, TimeIndexEntry, decode_index, decode_time_index, floor, floor_in_file, relative,
    time_floor,
};
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, segment_file};
use crate::open_files::{Slot, Use};

/// Bytes read at once while batch headers are looked for.
const SCAN_BYTES: usize = 8 * 1024;

/// A segment of few large batches has no index entry; beyond this one is missed.
const UNINDEXED_INTERVALS_MAX: u64 = 2;

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
    pub(crate) slot: Arc<Slot>,
    size: AtomicU64,
    /// One lock for both: a reader must not see one batch's time with another's offset.
    max_timestamp: Mutex<(Timestamp, Offset)>,
    /// Of the first batch, once somebody has asked.
    first_timestamp: OnceLock<Timestamp>,
    /// Another segment has taken its place: its files are found by their names no more.
    is_retired: AtomicBool,
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
            slot: Arc::default(),
            size: AtomicU64::new(size),
            max_timestamp: Mutex::new((Timestamp(-1), Offset(-1))),
            first_timestamp: OnceLock::new(),
            is_retired: AtomicBool::new(false),
            indexes: RwLock::new(None),
        }
    }

    /// The same segment after its directory got another name. Nobody uses this one any more.
    pub(crate) fn renamed(&self, dir: &Path) -> Self {
        let indexes = self.indexes.write().expect("no holder of this lock can panic").take();
        Self {
            base_offset: self.base_offset,
            dir: dir.to_owned(),
            disk: Arc::clone(&self.disk),
            slot: Arc::clone(&self.slot),
            size: AtomicU64::new(self.size()),
            max_timestamp: Mutex::new(self.max_timestamp()),
            first_timestamp: self.first_timestamp.clone(),
            is_retired: AtomicBool::new(false),
            indexes: RwLock::new(indexes),
        }
    }

    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(segment_file(self.base_offset, suffix))
    }

    /// The batches' file, to be read. It is never made here: a reader that comes late must not
    /// bring a deleted segment back to life.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.opened(Use::Read, OpenMode::ReadWrite)
    }

    /// The batches' file, to be written: it stays open until it is synced.
    pub(crate) fn file_to_write(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.opened(Use::Write, OpenMode::ReadWrite)
    }

    /// The batches' file, made if it does not exist; for the owner.
    pub(crate) fn create(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.opened(Use::Write, OpenMode::Create)
    }

    fn opened(&self, what_for: Use, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.slot.file(what_for, || match self.is_retired() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => self.disk.open(&self.path(LOG_SUFFIX), mode),
        })
    }

    /// Takes a file that is open already and has, or will have, another name.
    pub(crate) fn adopt(&self, file: Arc<dyn DiskFile>) {
        self.slot.adopt(file);
    }

    /// Another segment takes its place. Whoever holds it still reads the file that is open.
    pub(crate) fn retire(&self) {
        // Held from now on: its name will mean another file.
        if let Err(error) = self.file_to_write() {
            tracing::warn!(file = %self.path(LOG_SUFFIX).display(), %error, "readers of a replaced segment have to ask again");
        }
        self.is_retired.store(true, Ordering::SeqCst);
    }

    /// Asked after an index was looked at: its name may have meant the successor's.
    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::SeqCst)
    }

    /// The largest timestamp of its first batch; `None` while it is empty.
    pub(crate) fn first_timestamp(&self) -> Result<Option<Timestamp>, LogError> {
        if let Some(timestamp) = self.first_timestamp.get() {
            return Ok(Some(*timestamp));
        }
        let Some(first) = HeaderScan::new(self, 0).next()? else { return Ok(None) };
        Ok(Some(*self.first_timestamp.get_or_init(|| first.header.max_timestamp)))
    }

    /// The file, if it is open.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        self.slot.open_file()
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
        *self.max_timestamp.lock().expect("no holder of this lock can panic")
    }

    pub(crate) fn note_timestamp(&self, header: &BatchHeader) {
        let mut max = self.max_timestamp.lock().expect("no holder of this lock can panic");
        // Compaction leaves batches without records.
        if header.max_timestamp > max.0 && header.record_count > 0 {
            *max = (header.max_timestamp, header.last_offset());
        }
    }

    pub(crate) fn publish_timestamp(&self, timestamp: Timestamp, offset: Offset) {
        *self.max_timestamp.lock().expect("no holder of this lock can panic") = (timestamp, offset);
    }

    /// Where to start looking for the batch that holds `offset`.
    fn start_position(&self, offset: Offset, patience: Patience) -> io::Result<u64> {
        let Some(wanted) = relative(offset, self.base_offset) else { return Ok(0) };
        let found = match &*self.indexes.read().expect("no holder of this lock can panic") {
            Some(indexes) => floor(&indexes.offsets, wanted),
            None => match self.disk.open(&self.path(INDEX_SUFFIX), OpenMode::Read) {
                Ok(file) => floor_in_file(file.as_ref(), wanted, patience)?,
                // A missing index makes a search slow, not wrong.
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            },
        };
        // An index is not trusted with positions outside the file.
        let position = found.map_or(0, |entry| u64::from(entry.position));
        Ok(if position < self.size() && !self.is_retired() { position } else { 0 })
    }

    /// The first batch whose last offset is not before `offset`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else than batches there.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Option<Located>, LogError> {
        self.locate_with(offset, Patience::Waits)
    }

    /// As [`Self::locate`]; without patience it may fail with `WouldBlock`.
    pub(crate) fn locate_with(
        &self,
        offset: Offset,
        patience: Patience,
    ) -> Result<Option<Located>, LogError> {
        let start = self.start_position(offset, patience).map_err(LogError::io(&self.dir))?;
        let mut headers = self.scan_checked(start, offset, patience)?;
        headers.find(|header| header.last_offset() >= offset)
    }

    /// A scan from `start` if a batch begins there that is not behind `offset`, else from the
    /// segment's start: an index is a hint, and a wrong one makes a search slow, never wrong.
    fn scan_checked(
        &self,
        start: u64,
        offset: Offset,
        patience: Patience,
    ) -> Result<HeaderScan<'_>, LogError> {
        let mut headers = HeaderScan::new(self, start).with(patience);
        if start == 0 {
            return Ok(headers);
        }
        let is_right = match headers.next() {
            Ok(found) => found.is_some_and(|found| found.header.base_offset <= offset),
            Err(LogError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        headers.position = if is_right { start } else { 0 };
        Ok(headers)
    }

    /// The first batch from `position` on that `is_wanted`.
    pub(crate) fn scan_from(
        &self,
        position: u64,
        is_wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        HeaderScan::new(self, position).find(is_wanted)
    }

    /// A position from which every batch with a timestamp of at least `timestamp` can be reached.
    pub(crate) fn position_before(&self, timestamp: Timestamp) -> Result<u64, LogError> {
        let path = self.path(TIME_INDEX_SUFFIX);
        let entry = match &*self.indexes.read().expect("no holder of this lock can panic") {
            Some(indexes) => time_floor(&indexes.times, timestamp),
            None => time_floor(&self.read_time_index()?, timestamp),
        };
        match entry.filter(|_| !self.is_retired()) {
            Some(entry) => {
                let offset = self.base_offset.plus(i64::from(entry.relative_offset));
                let start =
                    self.start_position(offset, Patience::Waits).map_err(LogError::io(&path))?;
                Ok(self.scan_checked(start, offset, Patience::Waits)?.position)
            }
            None => Ok(0),
        }
    }

    /// The last entry of the time index's file; `None` if the file is no whole index.
    pub(crate) fn last_time_entry(&self) -> Result<Option<TimeIndexEntry>, LogError> {
        let bytes = self.last_entry::<{ crate::index::TIME_ENTRY_BYTES }>(TIME_INDEX_SUFFIX)?;
        let entry = bytes.as_ref().and_then(|bytes| decode_time_index(bytes).first().copied());
        Ok(entry.filter(|entry| entry.timestamp.0 >= 0))
    }

    /// Whether the index's file is whole and its last entry is in the segment. A small segment
    /// has no entries, and needs none.
    pub(crate) fn has_plausible_index(&self, interval_bytes: u64) -> Result<bool, LogError> {
        let bytes = self.last_entry::<{ crate::index::ENTRY_BYTES }>(INDEX_SUFFIX)?;
        let entry = bytes.as_ref().and_then(|bytes| decode_index(bytes).first().copied());
        let is_needed = self.size() > interval_bytes.saturating_mul(UNINDEXED_INTERVALS_MAX);
        Ok(entry.map_or(!is_needed, |entry| u64::from(entry.position) < self.size()))
    }

    /// Whether the index in memory has no entry: few large batches need none.
    pub(crate) fn index_is_empty(&self) -> bool {
        let indexes = self.indexes.read().expect("no holder of this lock can panic");
        indexes.as_ref().is_none_or(|indexes| indexes.offsets.is_empty())
    }

    /// Where the last entry of the index in memory points; 0 without one.
    pub(crate) fn last_index_position(&self) -> u64 {
        let indexes = self.indexes.read().expect("no holder of this lock can panic");
        let last = indexes.as_ref().and_then(|indexes| indexes.offsets.last().copied());
        last.map_or(0, |entry| u64::from(entry.position))
    }

    fn last_entry<const LEN: usize>(&self, suffix: &str) -> Result<Option<[u8; LEN]>, LogError> {
        let path = self.path(suffix);
        let file = match self.disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LogError::io(&path)(e)),
        };
        let mut bytes = [0; LEN];
        let mut read = || {
            let len = file.len()?;
            if len == 0 || len % LEN as u64 != 0 {
                return Ok(0);
            }
            file.read_at(&mut bytes, len - LEN as u64)
        };
        let n = read().map_err(LogError::io(&path))?;
        Ok((n == LEN).then_some(bytes))
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

    /// Writes the index entries that are not in their files yet, or all; gives the files.
    pub(crate) fn save_indexes(
        &self,
        how: SaveIndexes,
    ) -> Result<Vec<Arc<dyn DiskFile>>, LogError> {
        let mut guard = self.indexes.write().expect("no holder of this lock can panic");
        let Some(indexes) = guard.as_mut() else { return Ok(Vec::new()) };
        if how == SaveIndexes::Whole {
            indexes.offsets_saved = 0;
            indexes.times_saved = 0;
        }
        let from = indexes.offsets_saved;
        let bytes: Vec<u8> = indexes.offsets[from..].iter().flat_map(|e| e.to_bytes()).collect();
        let offsets =
            self.append_to_index(INDEX_SUFFIX, from * crate::index::ENTRY_BYTES, &bytes)?;
        let from = indexes.times_saved;
        let bytes: Vec<u8> = indexes.times[from..].iter().flat_map(|e| e.to_bytes()).collect();
        let times =
            self.append_to_index(TIME_INDEX_SUFFIX, from * crate::index::TIME_ENTRY_BYTES, &bytes)?;
        indexes.offsets_saved = indexes.offsets.len();
        indexes.times_saved = indexes.times.len();
        Ok(vec![offsets, times])
    }

    fn append_to_index(
        &self,
        suffix: &str,
        position: usize,
        bytes: &[u8],
    ) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.path(suffix);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            if !bytes.is_empty() {
                file.write_all_at(&[IoSlice::new(bytes)], position as u64)?;
            }
            file.set_len((position + bytes.len()) as u64)?;
            Ok(file)
        };
        write().map_err(LogError::growth(&path))
    }

    /// Whether entries are in memory only.
    pub(crate) fn has_unsaved_indexes(&self) -> bool {
        let indexes = self.indexes.read().expect("no holder of this lock can panic");
        indexes.as_ref().is_some_and(|indexes| {
            indexes.offsets.len() > indexes.offsets_saved
                || indexes.times.len() > indexes.times_saved
        })
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
    patience: Patience,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> HeaderScan<'a> {
    pub(crate) fn new(segment: &'a Segment, position: u64) -> Self {
        Self { segment, position, patience: Patience::Waits, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The same, which waits for the device or not.
    fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The first batch from here on that `is_wanted`.
    fn find(
        &mut self,
        mut is_wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        while let Some(located) = self.next()? {
            if is_wanted(&located.header) {
                return Ok(Some(located));
            }
        }
        Ok(None)
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
            let file = self.segment.file()?;
            let read = self.patience.read_at(file.as_ref(), &mut self.buffer, self.position);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from =
            usize::try_from(self.position - self.buffer_at).expect("it is inside the buffer");
        Ok(&self.buffer[from.min(self.buffer.len())..])
    }
}
