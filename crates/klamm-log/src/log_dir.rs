//! One log directory: its lock, its identity, its checkpoints and the partitions found in it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klamm_env::{Disk, DiskLock, durable};
use klamm_model::{DirectoryId, NodeId, Offset, Timestamp, TopicId, TopicPartition};

use crate::checkpoint::OffsetCheckpoint;
use crate::closed::{self, CLOSED_LOGS, ClosedLog, ClosedLogs};
use crate::error::{LogError, is_full};
use crate::mark::{self, RECOVERY_MARKS, RecoveryMark};
use crate::meta_properties::{META_PROPERTIES, MetaProperties};
use crate::names::{is_doomed_dir, parse_future_dir, parse_partition_dir};
use crate::partition_metadata::read_partition_metadata;

const LOCK: &str = ".lock";
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DirError {
    /// Another process holds its lock.
    InUse(PathBuf),
    /// It cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// It was never formatted.
    NotFormatted(PathBuf),
    /// It belongs to somebody else.
    Foreign {
        /// Which.
        path: PathBuf,
        /// What differs, and both values.
        what: String,
    },
    /// A small file in it is unreadable.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and the cure.
        what: String,
    },
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "log directory {} is in use by another process; stop it, or give this node a directory of its own (log.dirs)",
                path.display()
            ),
            Self::Io { path, error } => write!(
                f,
                "log directory {} cannot be used: {error}; check that it exists, is writable and has room",
                path.display()
            ),
            Self::NotFormatted(path) => write!(
                f,
                "log directory {} is not formatted; run 'klamm storage format' first",
                path.display()
            ),
            Self::Foreign { path, what } => write!(f, "log directory {}: {what}", path.display()),
            Self::Unreadable { path, what } => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for DirError {}

impl DirError {
    /// Whether nothing but room is wanting.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_full(error))
    }
}

impl From<LogError> for DirError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io { path, error } => Self::Io { path, error },
            LogError::Unreadable { path, what } => Self::Unreadable { path, what },
            other => Self::Unreadable { path: PathBuf::new(), what: other.to_string() },
        }
    }
}

/// A partition's directory, before its log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Which partition.
    pub partition: TopicPartition,
    /// Its topic's id, if the directory says.
    pub topic_id: Option<TopicId>,
    /// Where.
    pub dir: PathBuf,
    /// Everything below is on the disk for certain.
    pub recovery_point: Offset,
    /// Where the log starts, as far as the checkpoint knows.
    pub log_start_offset: Offset,
    /// How far the log was committed.
    pub high_watermark: Offset,
    /// What a restart need not read.
    pub mark: Option<RecoveryMark>,
    /// How an orderly stop has left it: then it need not be opened.
    pub closed: Option<Box<ClosedLog>>,
}

/// A log directory that this process holds.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    meta: MetaProperties,
    was_clean: bool,
    /// What an orderly stop has left, until somebody asks for the partitions.
    closed: Mutex<ClosedLogs>,
    lock: Box<dyn DiskLock>,
}

impl LogDir {
    /// Locks the directory, made if it does not exist.
    ///
    /// # Errors
    /// It cannot be made, or another process holds it.
    pub fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskLock>, DirError> {
        let io = |error| DirError::Io { path: path.to_owned(), error };
        disk.create_dir_all(path).map_err(io)?;
        disk.lock(&path.join(LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirError::InUse(path.to_owned()),
            _ => io(error),
        })
    }

    /// Reads what the directory says of itself; `None` if it is not formatted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn meta_properties(
        disk: &dyn Disk,
        path: &Path,
    ) -> Result<Option<MetaProperties>, DirError> {
        MetaProperties::read(disk, path).map_err(|error| DirError::Unreadable {
            path: path.join(META_PROPERTIES),
            what: error.to_string(),
        })
    }

    /// Takes a locked and formatted directory into use: it must belong to this node of this
    /// cluster, where those are known.
    ///
    /// # Errors
    /// It is not formatted, or belongs to somebody else.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        lock: Box<dyn DiskLock>,
        node_id: NodeId,
        cluster_id: Option<&str>,
    ) -> Result<Self, DirError> {
        let meta = Self::meta_properties(disk.as_ref(), path)?;
        let meta = meta.ok_or_else(|| DirError::NotFormatted(path.to_owned()))?;
        let foreign = |what| Err(DirError::Foreign { path: path.to_owned(), what });
        if meta.node_id != node_id {
            return foreign(format!(
                "it belongs to node {} and this is node {node_id} (node.id)",
                meta.node_id
            ));
        }
        if let Some(cluster_id) = cluster_id.filter(|id| *id != meta.cluster_id) {
            return foreign(format!(
                "it belongs to cluster {} and this is cluster {cluster_id}",
                meta.cluster_id
            ));
        }
        let io = |error| DirError::Io { path: path.to_owned(), error };
        let marker = path.join(CLEAN_SHUTDOWN);
        let was_clean = disk.file_len(&marker).map_err(io)?.is_some();
        let mut closed = ClosedLogs::new();
        if was_clean {
            closed = read_closed(disk.as_ref(), path)?;
            // From here on a crash must be seen as one.
            disk.remove_file(&marker).map_err(io)?;
            disk.sync_dir(path).map_err(io)?;
        }
        let (path, disk, closed) = (path.to_owned(), Arc::clone(disk), Mutex::new(closed));
        Ok(Self { path, disk, meta, was_clean, closed, lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    #[must_use]
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Its id; directories from before Kafka 3.7 have none.
    #[must_use]
    pub fn directory_id(&self) -> DirectoryId {
        self.meta.directory_id.unwrap_or(DirectoryId::DIRECTORY_MIGRATING)
    }

    /// Whether the last life ended in order.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// The partitions in it. Directories that waited for their removal are removed. Only the first
    /// answer says how an orderly stop has left them: they go on from there.
    ///
    /// # Errors
    /// The disk failed.
    pub fn partitions(&self) -> Result<Vec<FoundPartition>, DirError> {
        for name in self.directory_names()?.iter().filter(|name| is_doomed_dir(name)) {
            self.disk.remove_dir_all(&self.path.join(name)).map_err(|error| self.io(error))?;
        }
        let is_metadata = |name: &TopicPartition| &*name.topic == klamm_model::METADATA_TOPIC;
        let mut closed =
            std::mem::take(&mut *self.closed.lock().expect("no holder of this lock can panic"));
        let parse = |name: &str| parse_partition_dir(name).filter(|name| !is_metadata(name));
        self.find(parse, &mut closed)
    }

    /// The replicas in it that are about to take the place of those in other directories.
    ///
    /// # Errors
    /// The disk failed.
    pub fn futures(&self) -> Result<Vec<FoundPartition>, DirError> {
        self.find(parse_future_dir, &mut ClosedLogs::new())
    }

    fn io(&self, error: io::Error) -> DirError {
        DirError::Io { path: self.path.clone(), error }
    }

    fn directory_names(&self) -> Result<Vec<String>, DirError> {
        let entries = self.disk.list(&self.path).map_err(|error| self.io(error))?;
        Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
    }

    /// The directories that are a partition's, with what the checkpoints say of them.
    fn find(
        &self,
        parse: impl Fn(&str) -> Option<TopicPartition>,
        closed: &mut ClosedLogs,
    ) -> Result<Vec<FoundPartition>, DirError> {
        let names = self.directory_names()?;
        let names: Vec<(&String, TopicPartition)> =
            names.iter().filter_map(|name| Some((name, parse(name)?))).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let read = |name: &str| -> Result<HashMap<TopicPartition, Offset>, LogError> {
            let entries = OffsetCheckpoint::new(self.path.join(name)).read(self.disk.as_ref())?;
            Ok(entries.into_iter().collect())
        };
        let (recovery, starts) = (read(RECOVERY_POINTS)?, read(LOG_STARTS)?);
        let watermarks = read(HIGH_WATERMARKS)?;
        let marks = mark::read(self.disk.as_ref(), &self.path.join(RECOVERY_MARKS))?;
        let at = |map: &HashMap<TopicPartition, Offset>, partition: &TopicPartition| {
            map.get(partition).copied().unwrap_or(Offset::ZERO)
        };
        let mut found = Vec::with_capacity(names.len());
        for (name, partition) in names {
            let dir = self.path.join(name);
            let closed = closed.remove(&partition);
            let topic_id = match &closed {
                Some((topic_id, _)) => Some(*topic_id),
                None => read_partition_metadata(self.disk.as_ref(), &dir).map_err(|error| {
                    DirError::Unreadable { path: dir.clone(), what: error.to_string() }
                })?,
            };
            found.push(FoundPartition {
                recovery_point: at(&recovery, &partition),
                log_start_offset: at(&starts, &partition),
                high_watermark: at(&watermarks, &partition),
                mark: marks
                    .get(&partition)
                    .filter(|(id, _)| Some(*id) == topic_id)
                    .map(|(_, mark)| *mark),
                closed: closed.map(|(_, closed)| Box::new(closed)),
                partition,
                topic_id,
                dir,
            });
        }
        Ok(found)
    }

    /// The partitions that the recovery points speak of; they may be gone.
    ///
    /// # Errors
    /// The disk failed.
    pub fn checkpointed(&self) -> Result<Vec<TopicPartition>, DirError> {
        let file = OffsetCheckpoint::new(self.path.join(RECOVERY_POINTS));
        Ok(file.read(self.disk.as_ref())?.into_iter().map(|(name, _)| name).collect())
    }

    /// Writes how far the partitions have come.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_checkpoints(&self, partitions: &[FoundPartition]) -> Result<(), DirError> {
        let column = |name: &str, value: fn(&FoundPartition) -> Offset| {
            let mut entries: Vec<(TopicPartition, Offset)> =
                partitions.iter().map(|found| (found.partition.clone(), value(found))).collect();
            entries.sort();
            OffsetCheckpoint::new(self.path.join(name)).write(self.disk.as_ref(), &entries)
        };
        column(RECOVERY_POINTS, |found| found.recovery_point)?;
        column(LOG_STARTS, |found| found.log_start_offset)?;
        column(HIGH_WATERMARKS, |found| found.high_watermark)?;
        self.write_marks(partitions)
    }

    /// Writes what a restart need not read.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_marks(&self, partitions: &[FoundPartition]) -> Result<(), DirError> {
        let entry =
            |found: &FoundPartition| Some((found.partition.clone(), found.topic_id?, found.mark?));
        let mut marks: Vec<(TopicPartition, TopicId, RecoveryMark)> =
            partitions.iter().filter_map(entry).collect();
        marks.sort_by(|a, b| a.0.cmp(&b.0));
        let path = self.path.join(RECOVERY_MARKS);
        durable::replace(self.disk.as_ref(), &path, mark::encode(&marks).as_bytes())
            .map_err(|error| DirError::Io { path, error })
    }

    /// Makes everything durable that was written to its file system, the directories of its
    /// partitions included.
    ///
    /// # Errors
    /// See [`DiskLock::sync_file_system`].
    pub fn sync_file_system(&self) -> io::Result<()> {
        self.lock.sync_file_system()
    }

    /// Writes how the logs were left, for a start after [`LogDir::mark_clean`] by the same epoch.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_closed(
        &self,
        broker_epoch: i64,
        logs: &[(TopicPartition, TopicId, ClosedLog)],
    ) -> Result<(), DirError> {
        let path = self.path.join(CLOSED_LOGS);
        let text = closed::encode(broker_epoch, logs);
        durable::replace(self.disk.as_ref(), &path, text.as_bytes())
            .map_err(|error| DirError::Io { path, error })
    }

    /// Says that everything is in order. The last thing that a node writes.
    ///
    /// # Errors
    /// The disk failed.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), DirError> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        durable::replace(self.disk.as_ref(), &self.path.join(CLEAN_SHUTDOWN), text.as_bytes())
            .map_err(|error| DirError::Io { path: self.path.clone(), error })
    }

    /// Formats a directory: writes `meta.properties`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn format(
        disk: &dyn Disk,
        path: &Path,
        meta: &MetaProperties,
        wall: Timestamp,
    ) -> Result<(), DirError> {
        let io = |error| DirError::Io { path: path.to_owned(), error };
        disk.create_dir_all(path).map_err(io)?;
        durable::replace(disk, &path.join(META_PROPERTIES), meta.to_text(wall).as_bytes())
            .map_err(io)
    }
}

/// What the stop that wrote the clean-shutdown marker has left.
fn read_closed(disk: &dyn Disk, path: &Path) -> Result<ClosedLogs, DirError> {
    /// Kafka's has one short line (`CleanShutdownFileHandler`).
    const MARKER_BYTES_MAX: u64 = 64 * 1024;
    let marker = path.join(CLEAN_SHUTDOWN);
    let io = |error| DirError::Io { path: marker.clone(), error };
    let text = durable::read(disk, &marker, MARKER_BYTES_MAX).map_err(io)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let epoch = text.split_once("\"brokerEpoch\":").and_then(|(_, rest)| {
        let rest = rest.trim_start();
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..len].parse().ok()
    });
    match epoch {
        Some(epoch) => Ok(closed::read(disk, &path.join(CLOSED_LOGS), epoch)?),
        None => Ok(ClosedLogs::new()),
    }
}
