//! What `klamm log verify` and `repair-index` are to look at: log directories, partitions in them,
//! or single files; and the locks that say whether a node uses them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use klamm_env::{Disk, DiskLock};
use klamm_log::verify::Progress;
use klamm_log::{DirError, LogDir, Stopped, names};

use crate::commands::Failure;

/// Where `klamm start` without a configuration keeps its files.
const DEFAULT_DIR: &str = "klamm-data";

/// One partition's directory, or what of it is meant.
#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    /// Only what is told of these files; empty: of all.
    pub(super) files: Vec<PathBuf>,
}

/// Everything that is meant.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Log directories of which everything is meant.
    pub(super) roots: Vec<PathBuf>,
    /// Partitions, by directory.
    pub(super) partitions: BTreeMap<PathBuf, Partition>,
    /// Bytes of the logs in them.
    pub(super) bytes: u64,
}

fn told(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::CannotRun(format!("{}: {error}", path.display()))
}

impl Targets {
    /// What the arguments mean; without any, the directory of `klamm start`.
    pub(super) fn find(disk: &dyn Disk, paths: &[PathBuf]) -> Result<Self, Failure> {
        let default = [PathBuf::from(DEFAULT_DIR)];
        let mut targets = Self::default();
        for path in if paths.is_empty() { &default[..] } else { paths } {
            let kind = std::fs::metadata(path).map_err(|error| told(path, &error))?;
            match kind.is_dir() {
                true => targets.add_dir(disk, path)?,
                false => targets.add_file(path)?,
            }
        }
        for dir in targets.partitions.keys() {
            let entries = disk.list(dir).map_err(|error| told(dir, &error))?;
            let logs = entries.iter().filter(|entry| entry.name.ends_with(names::LOG_SUFFIX));
            targets.bytes += logs.map(|entry| entry.len).sum::<u64>();
        }
        Ok(targets)
    }

    fn add_dir(&mut self, disk: &dyn Disk, path: &Path) -> Result<(), Failure> {
        let entries = disk.list(path).map_err(|error| told(path, &error))?;
        let is_partition =
            entries.iter().any(|entry| !entry.is_dir && is_of_partition(&entry.name));
        if is_partition {
            self.partitions.entry(path.to_owned()).or_default().files.clear();
            return Ok(());
        }
        let is_root = entries.iter().any(|entry| entry.name == "meta.properties");
        let partitions = entries
            .iter()
            .filter(|entry| entry.is_dir && names::parse_partition_dir(&entry.name).is_some());
        let before = self.partitions.len();
        for entry in partitions {
            self.partitions.entry(path.join(&entry.name)).or_default().files.clear();
        }
        if !is_root && self.partitions.len() == before {
            return Err(told(path, &"it is neither a log directory nor a partition's"));
        }
        self.roots.push(path.to_owned());
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new(".")).to_owned();
        if !is_of_partition(name) {
            let what = "expected a file of a partition: .log, .index, .timeindex, .txnindex, \
                .snapshot, leader-epoch-checkpoint or partition.metadata; the others are looked at \
                with their log directory";
            return Err(told(path, &what));
        }
        let file = dir.join(name);
        match self.partitions.get_mut(&dir) {
            // All of it is meant already.
            Some(partition) if partition.files.is_empty() => {}
            Some(partition) => partition.files.push(file),
            None => drop(self.partitions.insert(dir, Partition { files: vec![file] })),
        }
        Ok(())
    }

    /// The locks of all log directories that have one; a node that runs holds it.
    pub(super) fn lock(&self, disk: &dyn Disk, mode: Locking) -> Result<Vec<Held>, Failure> {
        let of_partitions = self.partitions.keys().filter_map(|dir| dir.parent());
        let mut roots: Vec<&Path> =
            self.roots.iter().map(PathBuf::as_path).chain(of_partitions).collect();
        roots.sort_unstable();
        roots.dedup();
        let mut held = Vec::new();
        for root in roots {
            let lock = root.join(".lock");
            if !matches!(disk.file_len(&lock), Ok(Some(_))) {
                continue;
            }
            match LogDir::lock(disk, root) {
                Ok(lock) => held.push(Held { _lock: lock }),
                Err(error @ DirError::InUse(_)) => {
                    return Err(Failure::CannotRun(format!(
                        "{error}; files that are written to cannot be judged"
                    )));
                }
                // A copy that may only be read.
                Err(DirError::Io { error, .. })
                    if mode == Locking::IfPossible && is_refused(&error) => {}
                Err(error) => return Err(Failure::CannotRun(error.to_string())),
            }
        }
        Ok(held)
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether a directory is locked that cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    IfPossible,
    Always,
}

/// A lock, until the command ends.
#[derive(Debug)]
pub(super) struct Held {
    _lock: Box<dyn DiskLock>,
}

/// Whether a file of this name lies in a partition's directory.
fn is_of_partition(name: &str) -> bool {
    let suffixes = [
        names::LOG_SUFFIX,
        names::INDEX_SUFFIX,
        names::TIME_INDEX_SUFFIX,
        names::TRANSACTION_INDEX_SUFFIX,
        names::SNAPSHOT_SUFFIX,
    ];
    [names::LEADER_EPOCHS, names::PARTITION_METADATA].contains(&name)
        || suffixes.iter().any(|suffix| names::base_offset(name, suffix).is_some())
}

/// A bar for people who wait.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(bytes: u64) -> Result<Self, Failure> {
        use std::io::IsTerminal;
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::new(bytes),
            false => ProgressBar::hidden(),
        };
        let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).map_err(|e| e.to_string())?);
        Ok(Self(bar))
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn read(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.0.inc(bytes);
        Ok(())
    }
}

/// The machine's disk.
pub(super) fn disk() -> Arc<dyn Disk> {
    klamm_env::real::env().disk
}
