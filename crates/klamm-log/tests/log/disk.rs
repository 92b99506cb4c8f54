//! A disk in memory that knows what was synced. It counts calls, can fail any one of them, and
//! after a crash holds what a disk may hold: all that was synced, and of the rest a part.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use klamm_env::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, Space};

/// How often each kind of call was made.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) opens: AtomicU64,
    /// Nothing is in memory for who does not want to wait.
    pub(crate) is_cold: AtomicBool,
    /// Changing calls until one fails; negative: none will.
    until_failure: AtomicI64,
    failures: AtomicU64,
    /// Growing calls until the disk is full; negative: it has room.
    until_full: AtomicI64,
}

impl Counts {
    fn change(&self) -> io::Result<()> {
        if self.until_failure.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the device failed"));
        }
        Ok(())
    }

    /// A change that needs room.
    fn grow(&self) -> io::Result<()> {
        self.change()?;
        if self.until_full.load(Ordering::SeqCst) < 0 {
            return Ok(());
        }
        if self.until_full.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.until_full.store(0, Ordering::SeqCst);
        self.failures.fetch_add(1, Ordering::SeqCst);
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(crate) fn of(&self, counter: impl Fn(&Self) -> &AtomicU64) -> u64 {
        counter(self).load(Ordering::SeqCst)
    }
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug)]
struct MemoryFile {
    content: Mutex<Content>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Names {
    now: BTreeMap<PathBuf, Arc<MemoryFile>>,
    synced: BTreeMap<PathBuf, Arc<MemoryFile>>,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    names: Mutex<Names>,
    pub(crate) counts: Arc<Counts>,
}

impl MemoryDisk {
    pub(crate) fn new() -> Arc<Self> {
        let disk = Self::default();
        disk.fail_never();
        disk.give_room();
        Arc::new(disk)
    }

    /// The disk is full after `n` growing calls, until it is given room.
    pub(crate) fn full_after(&self, n: i64) {
        self.counts.until_full.store(n, Ordering::SeqCst);
    }

    pub(crate) fn give_room(&self) {
        self.counts.until_full.store(-1, Ordering::SeqCst);
    }

    pub(crate) fn fail_never(&self) {
        self.counts.until_failure.store(-1, Ordering::SeqCst);
    }

    /// The changing call after `n` others fails, once.
    pub(crate) fn fail_after(&self, n: i64) {
        self.counts.until_failure.store(n, Ordering::SeqCst);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.counts.failures.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.names.lock().unwrap();
        names.now.keys().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.names.lock().unwrap().now.get(path).cloned()?;
        let bytes = file.content.lock().unwrap().now.clone();
        Some(bytes)
    }

    /// Puts bytes into a file, as if they had always been there.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let content = Content { now: bytes.to_vec(), synced: bytes.to_vec() };
        let file =
            Arc::new(MemoryFile { content: Mutex::new(content), counts: Arc::clone(&self.counts) });
        let mut names = self.names.lock().unwrap();
        names.now.insert(path.to_owned(), Arc::clone(&file));
        names.synced.insert(path.to_owned(), file);
    }

    pub(crate) fn remove(&self, path: &Path) {
        let mut names = self.names.lock().unwrap();
        names.now.remove(path);
        names.synced.remove(path);
    }

    /// A disk with the same bytes, all of them synced.
    pub(crate) fn copy(&self) -> Arc<Self> {
        self.after(|content| content.now.clone())
    }

    fn after(&self, survives: impl FnMut(&Content) -> Vec<u8>) -> Arc<Self> {
        let names = self.names.lock().unwrap();
        Self::of(names.now.iter(), survives)
    }

    fn of<'a>(
        files: impl Iterator<Item = (&'a PathBuf, &'a Arc<MemoryFile>)>,
        mut survives: impl FnMut(&Content) -> Vec<u8>,
    ) -> Arc<Self> {
        let disk = Self::new();
        for (path, file) in files {
            disk.put(path, &survives(&file.content.lock().unwrap()));
        }
        disk
    }

    /// What is there after a crash. Names and bytes that were not synced survive or not, as
    /// `random` says: of a file a part, of which some may be zeros.
    pub(crate) fn crash(&self, mut random: impl FnMut(usize) -> usize) -> Arc<Self> {
        let names = self.names.lock().unwrap();
        let files = if random(2) == 0 { &names.now } else { &names.synced };
        Self::of(files.iter(), |content| {
            let (now, synced) = (&content.now, &content.synced);
            if now.len() <= synced.len() {
                return if random(2) == 0 { now.clone() } else { synced.clone() };
            }
            let mut bytes = now[..synced.len() + random(now.len() - synced.len() + 1)].to_vec();
            if random(4) == 0 {
                bytes[synced.len()..].fill(0);
            }
            bytes
        })
    }

    /// What is there after a crash if each change of a name survives or not by itself, as without
    /// a journal. What was renamed has its old name or its new one; bytes are as they were synced,
    /// at least.
    pub(crate) fn crash_in_part(&self, mut random: impl FnMut(usize) -> usize) -> Arc<Self> {
        let names = self.names.lock().unwrap();
        let name_in = |names: &BTreeMap<PathBuf, Arc<MemoryFile>>, file: &Arc<MemoryFile>| {
            let found = names.iter().find(|(_, other)| Arc::ptr_eq(other, file));
            found.map(|(path, _)| path.clone())
        };
        let (mut kept, mut renamed) = (BTreeMap::new(), BTreeMap::new());
        for file in names.synced.values().chain(names.now.values()) {
            let (old, new) = (name_in(&names.synced, file), name_in(&names.now, file));
            let is_old = old == new || random(2) == 0;
            let into = if is_old { &mut kept } else { &mut renamed };
            let is_known = |of: &BTreeMap<PathBuf, Arc<MemoryFile>>| name_in(of, file).is_some();
            if let Some(path) = if is_old { old } else { new }
                && !is_known(into)
            {
                into.insert(path, Arc::clone(file));
            }
        }
        kept.retain(|_, file| name_in(&renamed, file).is_none());
        // Whoever came to a name later has it.
        kept.extend(renamed);
        Self::of(kept.iter(), |content| match random(2) {
            0 => content.now.clone(),
            _ => content.synced.clone(),
        })
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.counts.opens.fetch_add(1, Ordering::SeqCst);
        let mut names = self.names.lock().unwrap();
        if let Some(file) = names.now.get(path) {
            return Ok(Arc::clone(file) as Arc<dyn DiskFile>);
        }
        if matches!(mode, OpenMode::Read | OpenMode::ReadWrite) {
            return Err(not_found());
        }
        self.counts.grow()?;
        let counts = Arc::clone(&self.counts);
        let file = Arc::new(MemoryFile { content: Mutex::default(), counts });
        names.now.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let names = self.names.lock().unwrap();
        let entry = |(path, file): (&PathBuf, &Arc<MemoryFile>)| {
            let name = path.file_name()?.to_str()?.to_owned();
            let len = file.content.lock().unwrap().now.len() as u64;
            (path.parent() == Some(dir)).then_some(DirEntry { name, is_dir: false, len })
        };
        Ok(names.now.iter().filter_map(entry).collect())
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.bytes(path).map(|bytes| bytes.len() as u64))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.counts.change()?;
        let mut names = self.names.lock().unwrap();
        if let Some(file) = names.now.remove(from) {
            names.now.insert(to.to_owned(), file);
            return Ok(());
        }
        // A directory is what its files' names begin with.
        let below: Vec<PathBuf> =
            names.now.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in &below {
            let file = names.now.remove(path).expect("it was just found");
            names.now.insert(to.join(path.strip_prefix(from).expect("it is below")), file);
        }
        if below.is_empty() { Err(not_found()) } else { Ok(()) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.counts.change()?;
        let removed = self.names.lock().unwrap().now.remove(path);
        removed.map(drop).ok_or_else(not_found)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.counts.change()?;
        self.names.lock().unwrap().now.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.counts.change()?;
        let mut names = self.names.lock().unwrap();
        let Names { now, synced } = &mut *names;
        synced.retain(|path, _| path.parent() != Some(dir));
        let here = now.iter().filter(|(path, _)| path.parent() == Some(dir));
        synced.extend(here.map(|(path, file)| (path.clone(), Arc::clone(file))));
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn DiskLock>> {
        Ok(Box::new(Held))
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 40, usable_bytes: 1 << 40 })
    }
}

#[derive(Debug)]
struct Held;

impl DiskLock for Held {}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().now.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.counts.reads.fetch_add(1, Ordering::SeqCst);
        let content = self.content.lock().unwrap();
        let from = content.now.len().min(usize::try_from(position).unwrap());
        let n = into.len().min(content.now.len() - from);
        into[..n].copy_from_slice(&content.now[from..from + n]);
        self.counts.read_bytes.fetch_add(n as u64, Ordering::SeqCst);
        Ok(n)
    }

    fn read_cached_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        match self.counts.is_cold.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => self.read_at(into, position),
        }
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.counts.writes.fetch_add(1, Ordering::SeqCst);
        let failed = self.counts.grow();
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if failed.is_err() {
            // Half of it is there.
            bytes.truncate(bytes.len() / 2);
        }
        let from = usize::try_from(position).unwrap();
        let now = &mut self.content.lock().unwrap().now;
        now.resize(now.len().max(from + bytes.len()), 0);
        now[from..from + bytes.len()].copy_from_slice(&bytes);
        failed
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::SeqCst);
        self.counts.change()?;
        let mut content = self.content.lock().unwrap();
        content.synced = content.now.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        if len != self.content.lock().unwrap().now.len() {
            self.counts.change()?;
        }
        self.content.lock().unwrap().now.resize(len, 0);
        Ok(())
    }

    fn reserve(&self, _len: u64) -> io::Result<()> {
        self.counts.grow()
    }

    fn is_resident(&self, _position: u64, _len: u64) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
