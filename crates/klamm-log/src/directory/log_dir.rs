//! One log directory: its lock, its identity, its checkpoints and the partitions found in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klamm_env::{Disk, DiskLock, durable};
use klamm_model::{DirectoryId, NodeId, Timestamp, TopicId, TopicPartition};

use crate::checkpoint::OffsetCheckpoint;
use crate::closed::{self, CLOSED_LOGS, ClosedLog, ClosedLogs};
use crate::directory::clean_shutdown;
use crate::directory::error::DirError;
use crate::directory::found_partition::{self, Checkpoints, FoundPartition, RECOVERY_POINTS};
use crate::directory::meta_properties::{META_PROPERTIES, MetaProperties};
use crate::names::{is_doomed_dir, parse_future_dir, parse_partition_dir};
use crate::partition_metadata::{PartitionMetadataError, read_partition_metadata};

const LOCK: &str = ".lock";

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
        let was_clean = clean_shutdown::is_there(disk.as_ref(), path).map_err(io)?;
        let mut closed = ClosedLogs::new();
        if was_clean {
            let epoch = clean_shutdown::broker_epoch(disk.as_ref(), path).map_err(|error| {
                DirError::Io { path: path.join(clean_shutdown::CLEAN_SHUTDOWN), error }
            })?;
            if let Some(epoch) = epoch {
                closed = closed::read(disk.as_ref(), &path.join(CLOSED_LOGS), epoch)?;
            }
            clean_shutdown::remove(disk.as_ref(), path).map_err(io)?;
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
        let checkpoints = Checkpoints::read(self.disk.as_ref(), &self.path)?;
        let mut found = Vec::with_capacity(names.len());
        for (name, partition) in names {
            let dir = self.path.join(name);
            let (topic_id, closed) = match closed.remove(&partition) {
                Some((topic_id, closed)) => (Some(topic_id), Some(closed)),
                None => (self.topic_id_in(&dir)?, None),
            };
            found.push(checkpoints.of(partition, topic_id, dir, closed));
        }
        Ok(found)
    }

    fn topic_id_in(&self, dir: &Path) -> Result<Option<TopicId>, DirError> {
        let unreadable = |error: PartitionMetadataError| DirError::Unreadable {
            path: dir.to_owned(),
            what: error.to_string(),
        };
        read_partition_metadata(self.disk.as_ref(), dir).map_err(unreadable)
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
        found_partition::write_offsets(self.disk.as_ref(), &self.path, partitions)?;
        self.write_marks(partitions)
    }

    /// Writes what a restart need not read.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_marks(&self, partitions: &[FoundPartition]) -> Result<(), DirError> {
        found_partition::write_marks(self.disk.as_ref(), &self.path, partitions)
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
        clean_shutdown::write(self.disk.as_ref(), &self.path, broker_epoch)
            .map_err(|error| self.io(error))
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
