//! The partitions of a log directory as its checkpoints speak of them, read and written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use klamm_env::{Disk, durable};
use klamm_model::{Offset, TopicId, TopicPartition};

use crate::checkpoint::OffsetCheckpoint;
use crate::closed::ClosedLog;
use crate::directory::error::DirError;
use crate::error::LogError;
use crate::mark::{self, RECOVERY_MARKS, RecoveryMark};

pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

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

type Offsets = HashMap<TopicPartition, Offset>;

/// What the checkpoints of a directory say.
pub(crate) struct Checkpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
    marks: HashMap<TopicPartition, (TopicId, RecoveryMark)>,
}

impl Checkpoints {
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Self, LogError> {
        let read = |name: &str| -> Result<Offsets, LogError> {
            Ok(OffsetCheckpoint::new(path.join(name)).read(disk)?.into_iter().collect())
        };
        Ok(Self {
            recovery_points: read(RECOVERY_POINTS)?,
            log_starts: read(LOG_STARTS)?,
            high_watermarks: read(HIGH_WATERMARKS)?,
            marks: mark::read(disk, &path.join(RECOVERY_MARKS))?,
        })
    }

    /// What they say of the partition in `dir`. A mark counts for the same topic only.
    pub(crate) fn of(
        &self,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        dir: PathBuf,
        closed: Option<ClosedLog>,
    ) -> FoundPartition {
        let at = |map: &Offsets| map.get(&partition).copied().unwrap_or(Offset::ZERO);
        let mark = self.marks.get(&partition).filter(|(id, _)| Some(*id) == topic_id);
        FoundPartition {
            recovery_point: at(&self.recovery_points),
            log_start_offset: at(&self.log_starts),
            high_watermark: at(&self.high_watermarks),
            mark: mark.map(|(_, mark)| *mark),
            closed: closed.map(Box::new),
            partition,
            topic_id,
            dir,
        }
    }
}

/// Writes the checkpoints of the directory at `path` that count offsets.
pub(crate) fn write_offsets(
    disk: &dyn Disk,
    path: &Path,
    partitions: &[FoundPartition],
) -> Result<(), DirError> {
    let column = |name: &str, value: fn(&FoundPartition) -> Offset| {
        let mut entries: Vec<(TopicPartition, Offset)> =
            partitions.iter().map(|found| (found.partition.clone(), value(found))).collect();
        entries.sort();
        OffsetCheckpoint::new(path.join(name)).write(disk, &entries)
    };
    column(RECOVERY_POINTS, |found| found.recovery_point)?;
    column(LOG_STARTS, |found| found.log_start_offset)?;
    column(HIGH_WATERMARKS, |found| found.high_watermark)?;
    Ok(())
}

/// Writes the marks of partitions whose topic is known.
pub(crate) fn write_marks(
    disk: &dyn Disk,
    path: &Path,
    partitions: &[FoundPartition],
) -> Result<(), DirError> {
    let entry =
        |found: &FoundPartition| Some((found.partition.clone(), found.topic_id?, found.mark?));
    let mut marks: Vec<(TopicPartition, TopicId, RecoveryMark)> =
        partitions.iter().filter_map(entry).collect();
    marks.sort_by(|a, b| a.0.cmp(&b.0));
    let path = path.join(RECOVERY_MARKS);
    durable::replace(disk, &path, mark::encode(&marks).as_bytes())
        .map_err(|error| DirError::Io { path, error })
}
