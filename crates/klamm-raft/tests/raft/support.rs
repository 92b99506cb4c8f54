//! Temporary directories, a disk that fails, and a formatted node.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use klamm_env::{DirEntry, Disk, DiskFile, DiskLock, Env, OpenMode, Space, real};
use klamm_metadata::MetadataVersion;
use klamm_model::{NodeId, Uuid};
use klamm_persisted::metadata::{MetadataRecord, TopicRecord};
use klamm_raft::{Format, FormatVoters, QuorumOptions, SnapshotRules, VoterEndpoint, format};

/// A directory that goes when the test ends.
pub(crate) struct TempDir(pub(crate) PathBuf);

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl TempDir {
    pub(crate) fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("klamm-raft-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Self(dir)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn endpoint() -> VoterEndpoint {
    VoterEndpoint { listener: "CONTROLLER".into(), host: "localhost".into(), port: 19093 }
}

pub(crate) fn standalone(dir: &Path) -> Format {
    Format {
        cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
        node_id: NodeId(1),
        log_dirs: vec![dir.to_owned()],
        metadata_log_dir: dir.to_owned(),
        metadata_version: MetadataVersion::LATEST_STABLE,
        features: Vec::new(),
        voters: FormatVoters::Standalone(endpoint()),
        scram: Vec::new(),
        ignore_formatted: false,
    }
}

/// A formatted directory and the options to open it with.
pub(crate) fn formatted(dir: &Path) -> QuorumOptions {
    let report = format(&real::env(), &standalone(dir)).expect("an empty directory is formatted");
    options(dir, report.formatted[0].1)
}

pub(crate) fn options(dir: &Path, directory_id: Uuid) -> QuorumOptions {
    QuorumOptions {
        node_id: NodeId(1),
        log_dir: dir.to_owned(),
        directory_id,
        fixed_voters: Vec::new(),
        snapshots: SnapshotRules {
            bytes_between: 20 * 1024 * 1024,
            interval_ms: Some(3_600_000),
            retention_bytes: None,
            retention_ms: None,
        },
        segment_bytes: 1024 * 1024 * 1024,
        segment_ms: 604_800_000,
    }
}

pub(crate) fn topic(n: u32) -> MetadataRecord {
    TopicRecord { name: format!("t{n}").into(), topic_id: Uuid(1000 + u128::from(n)) }.into()
}

pub(crate) fn group(n: u32) -> Vec<Bytes> {
    vec![topic(n).to_frame(0).expect("a topic has version 0")]
}

pub(crate) fn env() -> Env {
    real::env()
}

/// A disk on which everything fails from the nth change on, as when the power goes: what was not
/// synced is then lost too.
#[derive(Debug)]
pub(crate) struct FailingDisk {
    real: Arc<dyn Disk>,
    state: Arc<Failing>,
}

#[derive(Debug)]
pub(crate) struct Failing {
    left: AtomicUsize,
    pub(crate) syncs: AtomicUsize,
    unsynced: Mutex<Vec<(Arc<dyn DiskFile>, u64)>>,
}

impl Failing {
    fn spend(&self) -> io::Result<()> {
        let spent =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        spent.map(drop).map_err(|_| io::Error::other("the power is gone"))
    }

    /// Takes back what was written and not synced.
    pub(crate) fn lose_unsynced(&self) {
        for (file, len) in self.unsynced.lock().expect("no test panics here").drain(..).rev() {
            file.set_len(len).expect("the real disk works");
        }
    }

    pub(crate) fn spent(&self) -> usize {
        usize::MAX / 2 - self.left.load(Ordering::Relaxed)
    }
}

impl FailingDisk {
    pub(crate) fn after(n: usize) -> (Arc<dyn Disk>, Arc<Failing>) {
        let state = Arc::new(Failing {
            left: AtomicUsize::new(n),
            syncs: AtomicUsize::new(0),
            unsynced: Mutex::default(),
        });
        let disk = Self { real: real::env().disk, state: Arc::clone(&state) };
        (Arc::new(disk), state)
    }

    pub(crate) fn counting() -> (Arc<dyn Disk>, Arc<Failing>) {
        Self::after(usize::MAX / 2)
    }
}

#[derive(Debug)]
struct FailingFile {
    real: Arc<dyn DiskFile>,
    state: Arc<Failing>,
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode != OpenMode::Read {
            self.state.spend()?;
        }
        let real = self.real.open(path, mode)?;
        Ok(Arc::new(FailingFile { real, state: Arc::clone(&self.state) }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.spend()?;
        self.real.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.real.list(dir)
    }
    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.real.file_len(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.spend()?;
        self.real.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state.spend()?;
        self.real.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.spend()?;
        self.real.remove_dir_all(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state.spend()?;
        self.state.syncs.fetch_add(1, Ordering::Relaxed);
        self.real.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.real.lock(path)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.real.space(dir)
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.real.read_at(into, position)
    }
    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let len = self.real.len()?;
        let mut unsynced = self.state.unsynced.lock().expect("no test panics here");
        unsynced.push((Arc::clone(&self.real), len));
        if let Err(error) = self.state.spend() {
            // Half of it gets there.
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.real.write_all_at(&[IoSlice::new(&bytes[..bytes.len() / 2])], position)?;
            unsynced.pop();
            return Err(error);
        }
        self.real.write_all_at(parts, position)
    }
    fn sync(&self) -> io::Result<()> {
        self.state.spend()?;
        self.state.syncs.fetch_add(1, Ordering::Relaxed);
        let mut unsynced = self.state.unsynced.lock().expect("no test panics here");
        unsynced.retain(|(file, _)| !Arc::ptr_eq(file, &self.real));
        self.real.sync()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.spend()?;
        self.real.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.real.reserve(len)
    }
    fn is_resident(&self, position: u64, len: u64) -> bool {
        self.real.is_resident(position, len)
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.real.descriptor()
    }
}
