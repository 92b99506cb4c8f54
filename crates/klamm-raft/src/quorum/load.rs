//! What the last life left: the newest readable snapshot and the log behind it, replayed.

use std::path::Path;
use std::sync::Arc;

use klamm_env::Disk;
use klamm_log::{AtLeastOne, Cleanup, Limits, Log, LogConfig, LogError, Opening, names};
use klamm_metadata::Provenance;
use klamm_model::{METADATA_TOPIC_ID, Offset, Timestamp};
use klamm_records::BatchView;

use super::options::QuorumOptions;
use crate::replay::Replay;
use crate::snapshot::{self, SnapshotFile};
use crate::{RaftError, SnapshotId, tail};

/// Bytes of the log that are replayed at once.
const REPLAY_BYTES: u32 = 1024 * 1024;

/// What the files of the last life said.
pub(super) struct Found {
    pub(super) log: Log,
    pub(super) replay: Replay,
    pub(super) snapshots: Vec<SnapshotFile>,
    pub(super) bytes_replayed: u64,
    /// Whether the voters are there other than in what formatting wrote.
    pub(super) has_voters_in_log: bool,
}

fn log_config(options: &QuorumOptions) -> LogConfig {
    LogConfig {
        segment_bytes: options.segment_bytes,
        segment_ms: options.segment_ms,
        // Only snapshots say what may go.
        cleanup: Cleanup { delete: false, compact: false },
        retention_ms: None,
        retention_bytes: None,
        ..LogConfig::default()
    }
}

/// Reads everything that the last life left.
pub(super) fn load(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &QuorumOptions,
    wall: Timestamp,
) -> Result<Found, RaftError> {
    let mut snapshots = snapshot::list(disk.as_ref(), dir)?;
    tail::check(disk.as_ref(), dir)?;
    let (mut replay, newest) = load_snapshot(disk.as_ref(), &mut snapshots)?;
    let snapshot_voters = replay.voters.take();
    let log = open_log(disk, dir, options, (newest, wall))?;
    if log.log_start_offset() > replay.next_offset() {
        let what = format!(
            "the log begins at offset {} and the newest readable snapshot ends at {}: what lies \
             between is missing; restore the snapshot",
            log.log_start_offset(),
            replay.next_offset()
        );
        return Err(RaftError::damaged(dir, what));
    }
    let bytes_replayed = replay_log(&log, &mut replay)?;
    let is_in_snapshot = newest.is_some_and(|id| id != SnapshotId::BOOTSTRAP);
    let has_voters_in_log = replay.voters.is_some() || is_in_snapshot;
    replay.voters = replay.voters.take().or(snapshot_voters);
    if replay.loader.is_in_transaction() {
        let what = "the log ends in an open metadata transaction, which is not supported yet";
        return Err(RaftError::Record { offset: log.log_end_offset(), what: what.to_owned() });
    }
    Ok(Found { log, replay, snapshots, bytes_replayed, has_voters_in_log })
}

/// The newest snapshot that can be read. An older one does as well if the log reaches back to
/// it, which is checked afterwards.
fn load_snapshot(
    disk: &dyn Disk,
    snapshots: &mut Vec<SnapshotFile>,
) -> Result<(Replay, Option<SnapshotId>), RaftError> {
    let mut first_error = None;
    while let Some(file) = snapshots.last() {
        match snapshot::read(disk, file) {
            Ok(mut replay) => {
                let id = file.id;
                replay.loader.read_to(Provenance {
                    next_offset: id.end_offset,
                    epoch: id.epoch,
                    append_time: Timestamp(0),
                });
                return Ok((replay, Some(id)));
            }
            Err(error @ RaftError::Damaged { .. }) => {
                tracing::warn!(%error, "a snapshot is not readable, an older one is tried");
                first_error.get_or_insert(error);
                snapshots.pop();
            }
            Err(error) => return Err(error),
        }
    }
    // Without any readable snapshot, what an unreadable one stood for could be missed.
    first_error.map_or(Ok((Replay::new(), None)), Err)
}

fn open_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &QuorumOptions,
    (newest, wall): (Option<SnapshotId>, Timestamp),
) -> Result<Log, RaftError> {
    let config = log_config(options);
    let entries = disk.list(dir).map_err(RaftError::io(dir))?;
    let is_log = |name: &str| names::base_offset(name, names::LOG_SUFFIX).is_some();
    if !entries.iter().any(|entry| is_log(&entry.name))
        && newest.is_none_or(|id| id == SnapshotId::BOOTSTRAP)
    {
        return Ok(Log::create(disk, dir, Some(METADATA_TOPIC_ID), config, wall)?);
    }
    let start = newest.map_or(Offset::ZERO, |id| id.end_offset);
    let opening = Opening {
        was_clean: false,
        recovery_point: start,
        log_start_offset: Offset::ZERO,
        mark: None,
        cleaned_to: None,
    };
    let log = match Log::open(disk, dir, config.clone(), opening, wall) {
        // Damage that the snapshot makes good.
        Err(LogError::Corrupt { .. }) => {
            let opening = Opening { recovery_point: Offset::ZERO, ..opening };
            Log::open(disk, dir, config.clone(), opening, wall)?.0
        }
        opened => opened?.0,
    };
    if log.log_end_offset() >= start {
        return Ok(log);
    }
    // The snapshot is ahead of the log: it holds everything that is committed, and the log
    // begins anew behind it (Kafka: `truncateToLatestSnapshot`).
    tracing::warn!(log_end_offset = %log.log_end_offset(), snapshot_end_offset = %start, "the log ends before the newest snapshot and begins anew");
    drop(log);
    for entry in disk.list(dir).map_err(RaftError::io(dir))? {
        if is_log(&entry.name) {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).map_err(RaftError::io(&path))?;
        }
    }
    let opening = Opening {
        was_clean: false,
        recovery_point: start,
        log_start_offset: start,
        mark: None,
        cleaned_to: None,
    };
    Ok(Log::open(disk, dir, config, opening, wall)?.0)
}

/// Replays the log from where the snapshot ends; gives how many bytes that were.
fn replay_log(log: &Log, replay: &mut Replay) -> Result<u64, RaftError> {
    let end = log.log_end_offset();
    let mut total = 0;
    loop {
        let offset = replay.next_offset();
        if offset >= end {
            return Ok(total);
        }
        let limits =
            Limits { bytes_max: REPLAY_BYTES, at_least_one: AtLeastOne::Batch, upper: end };
        let refuse = |what: String| RaftError::Record { offset, what };
        let read = log.view().read(offset, limits).map_err(|e| refuse(e.to_string()))?;
        let slice = read.slice.ok_or_else(|| refuse("it is not in the log".to_owned()))?;
        let bytes = slice.read().map_err(|e| refuse(e.to_string()))?;
        let mut at = 0;
        // The last batch may be cut by the limit: the next read begins with it.
        while let Ok(batch) = BatchView::parse(&bytes[at..]) {
            batch.check_crc().map_err(|e| refuse(e.to_string()))?;
            replay.batch(&batch)?;
            replay.reached(&batch);
            at += batch.bytes().len();
        }
        if replay.next_offset() == offset {
            return Err(refuse("no whole batch is there".to_owned()));
        }
        total += at as u64;
    }
}
