//! A machine's disk in memory: page cache, device, names, and everything that goes wrong there.
//!
//! What it promises is what POSIX promises and no more: bytes and lengths are on the device after
//! a sync of the file, names after a sync of the directory; before that any part of them may be,
//! in any order, torn at sectors of 512 bytes. After a failed sync the next one succeeds and the
//! pages are gone. Every call is counted; the same seed and the same calls give the same disk.
//!
//! It never sleeps and never touches the real disk.

mod faults;
mod file;
mod inode;
mod names;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use klamm_env::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, Space};

pub use faults::Call;
use file::SimFile;
use inode::Inode;
pub use inode::{DeviceFault, Fate, PAGE_BYTES, SECTOR_BYTES};
use names::Node;
use state::{State, not_found};

use crate::random::Seeded;

/// What `space` says of a disk without a limit.
const TOTAL_BYTES: u64 = 1 << 40;

/// A simulated disk. Copies of the handle are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk; `seed` decides what the kernel writes by itself, and when.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(State::new(seed))
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// The same disk as what the log takes.
    #[must_use]
    pub fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The disk that the machine finds when the power is back. `seed` decides what survived.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = Seeded::new(seed);
        let fates = [Fate::Nothing, Fate::Everything, Fate::Something, Fate::Something];
        let (names, bytes) = (*random.pick(&fates), *random.pick(&fates));
        Self::of(self.lock().after_crash(names, bytes, &mut random))
    }

    /// [`SimDisk::crash`] with the same fate for all that was not synced.
    #[must_use]
    pub fn crash_with(&self, fate: Fate, seed: u64) -> Self {
        Self::of(self.lock().after_crash(fate, fate, &mut Seeded::new(seed)))
    }

    /// The disk that the next process finds after this one was killed: the page cache is still
    /// there, its locks are not. After a failed sync the cache shows what the device does not
    /// have, and no process can tell: only a restart of the machine brings out the truth.
    #[must_use]
    pub fn kill(&self) -> Self {
        Self::of(self.lock().after_kill())
    }

    /// The power goes after so many more changing calls; every later call fails. Calls that only
    /// ask change nothing: a crash after one is a crash before it.
    pub fn power_off_after(&self, changes: u64) {
        self.lock().faults.power_off_after(changes);
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().faults.is_off()
    }

    /// The `nth` call of a kind from now on fails (1 is the next). A failed write has written a
    /// part; a failed sync has lost pages.
    pub fn fail(&self, call: Call, nth: u64, kind: io::ErrorKind) {
        self.lock().faults.fail(call, nth, kind);
    }

    /// The `nth` changing call from now on fails (1 is the next).
    pub fn fail_change(&self, nth: u64) {
        self.lock().faults.fail_change(nth);
    }

    /// The `nth` page that goes to the device from now on goes wrong there (1 is the next).
    pub fn fail_page_write(&self, nth: u64, fault: DeviceFault) {
        self.lock().faults.fail_page_write(nth, fault);
    }

    /// Files may grow by so many bytes together, then the disk is full.
    pub fn fill_after(&self, bytes: u64) {
        let mut state = self.lock();
        let used = state.used_bytes();
        state.faults.capacity_bytes = Some(used + bytes);
    }

    /// How many calls failed because they were told to.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.lock().faults.failed()
    }

    /// How many syncs among them.
    #[must_use]
    pub fn failed_syncs(&self) -> u64 {
        self.lock().faults.failed_syncs()
    }

    /// How many calls of a kind there were.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.lock().faults.count(call)
    }

    /// How many changing calls there were.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().faults.changes()
    }

    /// How many pages went to the device.
    #[must_use]
    pub fn page_writes(&self) -> u64 {
        self.lock().faults.page_writes()
    }

    /// Calls are written down from now on.
    pub fn record(&self) {
        self.lock().trace = Some(Vec::new());
    }

    /// What was called since [`SimDisk::record`].
    #[must_use]
    pub fn trace(&self) -> Vec<(Call, PathBuf)> {
        self.lock().trace.clone().unwrap_or_default()
    }

    /// Every file, by its path.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().paths()
    }

    /// The bytes of a file, as a process reads them.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().file(path).map(|inode| inode.bytes().to_vec())
    }

    /// Puts bytes into a file, made if it does not exist, as if they had always been there.
    ///
    /// # Errors
    /// The directory does not exist.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let name = file_name(path)?;
        let node = state.new_file(Inode::stored(bytes.to_vec()));
        let dir = state.dir(path.parent().ok_or_else(not_found)?)?;
        dir.link(name, node);
        dir.sync();
        Ok(())
    }

    /// Removes a file, as if it had never been there.
    ///
    /// # Errors
    /// It does not exist.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let dir = state.dir(path.parent().ok_or_else(not_found)?)?;
        dir.unlink(file_name(path)?).ok_or_else(not_found)?;
        dir.sync();
        Ok(())
    }
}

fn file_name(path: &Path) -> io::Result<&str> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(not_found)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let file = |id| -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(SimFile::new(Arc::clone(&self.state), id, path)))
        };
        let found = state.node(path);
        let makes = matches!(mode, OpenMode::Create | OpenMode::CreateNew) && found.is_none();
        let call = if makes { Call::Create } else { Call::Open };
        state.begin_simple(call, path)?;
        match found {
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) if mode == OpenMode::CreateNew => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Some(Node::File(id)) => file(id),
            None if !makes => Err(not_found()),
            None => {
                let name = file_name(path)?;
                let node = state.new_file(Inode::default());
                state.dir(parent(path))?.link(name, node);
                state.write_back_names(parent(path));
                let Node::File(id) = node else { return Err(not_found()) };
                file(id)
            }
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let call = if state.node(path).is_some() { Call::Stat } else { Call::MakeDir };
        state.begin_simple(call, path)?;
        state.make_dirs(path).map(drop)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.lock();
        state.begin_simple(Call::List, dir)?;
        let nodes: Vec<(String, Node)> =
            state.dir(dir)?.nodes().map(|(name, node)| (name.clone(), node)).collect();
        let entry = |(name, node): (String, Node)| match node {
            Node::Dir(_) => DirEntry { name, is_dir: true, len: 0 },
            Node::File(id) => {
                let len = state.files.get(&id).map_or(0, |inode| inode.bytes().len() as u64);
                DirEntry { name, is_dir: false, len }
            }
        };
        Ok(nodes.into_iter().map(entry).collect())
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut state = self.lock();
        state.begin_simple(Call::Stat, path)?;
        Ok(state.file(path).map(|inode| inode.bytes().len() as u64))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_simple(Call::Rename, from)?;
        if parent(from) != parent(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let dir = state.dir(parent(from))?;
        dir.rename(file_name(from)?, file_name(to)?).ok_or_else(not_found)?;
        state.write_back_names(parent(from));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_simple(Call::Unlink, path)?;
        state.dir(parent(path))?.unlink(file_name(path)?).ok_or_else(not_found)?;
        state.write_back_names(parent(path));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_simple(Call::Unlink, path)?;
        let inside: Vec<String> = state.dir(path)?.nodes().map(|(name, _)| name.clone()).collect();
        for name in inside {
            state.dir(path)?.unlink(&name);
        }
        state.dir(parent(path))?.unlink(file_name(path)?);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let verdict = state.begin(Call::SyncDir, dir)?;
        let mut random = state.random.fork();
        let dir = state.dir(dir)?;
        match verdict {
            faults::Verdict::Goes => {
                dir.sync();
                Ok(())
            }
            faults::Verdict::Fails(kind) => {
                dir.fail_sync(&mut random);
                Err(kind.into())
            }
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = SimDisk::lock(self);
        state.begin_simple(Call::Lock, path)?;
        if state.node(path).is_none() {
            let node = state.new_file(Inode::default());
            state.dir(parent(path))?.link(file_name(path)?, node);
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { state: Arc::clone(&self.state), path: path.to_owned() }))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let mut state = self.lock();
        state.begin_simple(Call::Space, dir)?;
        let total_bytes = state.faults.capacity_bytes.unwrap_or(TOTAL_BYTES);
        Ok(Space { total_bytes, usable_bytes: total_bytes.saturating_sub(state.used_bytes()) })
    }
}

#[derive(Debug)]
struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.locks.remove(&self.path);
        }
    }
}
