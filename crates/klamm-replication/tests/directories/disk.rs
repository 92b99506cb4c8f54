//! The real disk, which fails as it is told.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use klamm_env::real::RealDisk;
use klamm_env::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, Space};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
    SyncFileSystem,
}

#[derive(Debug, Clone)]
struct Rule {
    call: Call,
    below: PathBuf,
    kind: io::ErrorKind,
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Mutex<Vec<Rule>>,
    space: Mutex<Option<Space>>,
    /// Files that were opened.
    opens: Mutex<Vec<PathBuf>>,
    /// Syncs that were asked for.
    syncs: AtomicU64,
    /// Syncs of everything.
    whole_syncs: AtomicU64,
}

impl Rules {
    fn check(&self, call: Call, path: &Path) -> io::Result<()> {
        let rules = self.rules.lock().unwrap();
        match rules.iter().find(|rule| rule.call == call && path.starts_with(&rule.below)) {
            Some(rule) => Err(rule.kind.into()),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct FailingDisk {
    rules: Arc<Rules>,
}

impl FailingDisk {
    /// From now on every such call in the directory fails.
    pub(crate) fn fail(&self, call: Call, below: &Path, kind: io::ErrorKind) {
        let rule = Rule { call, below: below.to_owned(), kind };
        self.rules.rules.lock().unwrap().push(rule);
    }

    pub(crate) fn mend(&self) {
        self.rules.rules.lock().unwrap().clear();
    }

    pub(crate) fn say_space(&self, total_bytes: u64, usable_bytes: u64) {
        *self.rules.space.lock().unwrap() = Some(Space { total_bytes, usable_bytes });
    }

    pub(crate) fn opens_below(&self, dir: &Path) -> usize {
        let opens = self.rules.opens.lock().unwrap();
        opens.iter().filter(|path| path.starts_with(dir)).count()
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.rules.syncs.load(Ordering::SeqCst)
    }

    pub(crate) fn whole_syncs(&self) -> u64 {
        self.rules.whole_syncs.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    rules: Arc<Rules>,
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.rules.opens.lock().unwrap().push(path.to_owned());
        let (file, rules) = (RealDisk.open(path, mode)?, Arc::clone(&self.rules));
        Ok(Arc::new(FailingFile { file, path: path.to_owned(), rules }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        RealDisk.file_len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rules.check(Call::Write, from)?;
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.rules.syncs.fetch_add(1, Ordering::SeqCst);
        self.rules.check(Call::Sync, dir)?;
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let (lock, rules) = (RealDisk.lock(path)?, Arc::clone(&self.rules));
        Ok(Box::new(FailingLock { _lock: lock, path: path.to_owned(), rules }))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.rules.space.lock().unwrap().map_or_else(|| RealDisk.space(dir), Ok)
    }
}

#[derive(Debug)]
struct FailingLock {
    _lock: Box<dyn DiskLock>,
    path: PathBuf,
    rules: Arc<Rules>,
}

impl DiskLock for FailingLock {
    /// Whatever the file system of the test can: no power is cut.
    fn sync_file_system(&self) -> io::Result<()> {
        self.rules.check(Call::SyncFileSystem, &self.path)?;
        self.rules.whole_syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(into, position)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        if let Err(error) = self.rules.check(Call::Write, &self.path) {
            // The first part is there.
            self.file.write_all_at(&parts[..1], position)?;
            return Err(error);
        }
        self.file.write_all_at(parts, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.rules.syncs.fetch_add(1, Ordering::SeqCst);
        self.rules.check(Call::Sync, &self.path)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn is_resident(&self, position: u64, len: u64) -> bool {
        self.file.is_resident(position, len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}
