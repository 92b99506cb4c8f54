//! One segment: a file of batches and its indexes. Its owner appends; readers share it.
//!
//! The files are opened when somebody needs them. What readers see is `size`: the bytes below it
//! are written and never change until the segment is cut.

pub(crate) mod active;
pub(crate) mod index;
pub(crate) mod indexes;
pub(crate) mod open_files;
pub(crate) mod search;
pub(crate) mod transaction_index;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use klamm_env::{Disk, DiskFile, OpenMode, Patience};
use klamm_model::{Offset, Timestamp};
use klamm_records::BatchHeader;

use crate::error::LogError;
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, segment_file};
use crate::segment::index::{
    IndexEntry, TimeIndexEntry, decode_index, decode_time_index, floor, floor_in_file, relative,
    time_floor,
};
use crate::segment::indexes::Indexes;
use crate::segment::open_files::{Slot, Use};

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
    pub(crate) first_timestamp: OnceLock<Timestamp>,
    /// Another segment has taken its place: its files are found by their names no more.
    is_retired: AtomicBool,
    /// `None` while the indexes are only in their files.
    indexes: RwLock<Option<Indexes>>,
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
        let indexes = self.take_indexes();
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

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
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

    /// Where to start looking for the batch that holds `offset`, as the index says.
    pub(crate) fn indexed_position(&self, offset: Offset, patience: Patience) -> io::Result<u64> {
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

    /// Up to this offset no record has a timestamp of `timestamp` or more, as the time index says.
    pub(crate) fn indexed_offset_before(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<Offset>, LogError> {
        let entry = match &*self.indexes.read().expect("no holder of this lock can panic") {
            Some(indexes) => time_floor(&indexes.times, timestamp),
            None => time_floor(&self.read_time_index()?, timestamp),
        };
        let entry = entry.filter(|_| !self.is_retired());
        Ok(entry.map(|entry| self.base_offset.plus(i64::from(entry.relative_offset))))
    }

    /// Where the last entry of the index in memory points; 0 without one.
    pub(crate) fn last_index_position(&self) -> u64 {
        let last = self.with_indexes(|indexes| indexes.offsets.last().copied()).flatten();
        last.map_or(0, |entry| u64::from(entry.position))
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

    /// Writes the index entries that are not in their files yet, or all.
    pub(crate) fn save_indexes(&self, how: SaveIndexes) -> Result<(), LogError> {
        let mut guard = self.indexes.write().expect("no holder of this lock can panic");
        let Some(indexes) = guard.as_mut() else { return Ok(()) };
        if how == SaveIndexes::Whole {
            indexes.forget_saved();
        }
        self.append_to_index(INDEX_SUFFIX, &indexes.unsaved_offsets())?;
        self.append_to_index(TIME_INDEX_SUFFIX, &indexes.unsaved_times())?;
        indexes.on_saved();
        Ok(())
    }

    fn append_to_index(
        &self,
        suffix: &str,
        (position, bytes): &(usize, Vec<u8>),
    ) -> Result<(), LogError> {
        let path = self.path(suffix);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            if !bytes.is_empty() {
                file.write_all_at(&[IoSlice::new(bytes)], *position as u64)?;
            }
            file.set_len((position + bytes.len()) as u64)
        };
        write().map_err(LogError::growth(&path))
    }

    /// Entries for a batch at `position`, in memory.
    pub(crate) fn index_batch(&self, header: &BatchHeader, position: u64) {
        let max_timestamp = self.max_timestamp();
        let mut indexes = self.indexes.write().expect("no holder of this lock can panic");
        let indexes = indexes.get_or_insert_default();
        indexes.add_entries(self.base_offset, (header, position), max_timestamp);
    }

    /// An entry for the largest timestamp so far, if it has none.
    pub(crate) fn index_max_timestamp(&self) {
        let max_timestamp = self.max_timestamp();
        let mut indexes = self.indexes.write().expect("no holder of this lock can panic");
        indexes.get_or_insert_default().add_time_entry(self.base_offset, max_timestamp);
    }

    /// Asks the indexes in memory, if they are there.
    pub(crate) fn with_indexes<T>(&self, ask: impl FnOnce(&Indexes) -> T) -> Option<T> {
        let indexes = self.indexes.read().expect("no holder of this lock can panic");
        indexes.as_ref().map(ask)
    }

    /// All entries in memory, as they are in files: of the offset index and of the time index.
    pub(crate) fn index_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        self.with_indexes(|indexes| {
            let offsets = indexes.offsets.iter().flat_map(|e| e.to_bytes()).collect();
            let times = indexes.times.iter().flat_map(|e| e.to_bytes()).collect();
            (offsets, times)
        })
        .unwrap_or_default()
    }

    /// From now on these are its indexes in memory.
    pub(crate) fn put_indexes(&self, indexes: Indexes) {
        *self.indexes.write().expect("no holder of this lock can panic") = Some(indexes);
    }

    /// Takes the indexes out of memory.
    pub(crate) fn take_indexes(&self) -> Option<Indexes> {
        self.indexes.write().expect("no holder of this lock can panic").take()
    }

    /// Forgets the indexes in memory: they are in their files, and nothing more will be added.
    pub(crate) fn drop_indexes(&self) {
        drop(self.take_indexes());
    }
}

/// How to write the indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaveIndexes {
    New,
    Whole,
}
