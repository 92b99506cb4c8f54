//! A partition's log, as its owner sees it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Disk;
use klamm_model::{LeaderEpoch, Offset, Timestamp, TopicId};

use crate::aborted::AbortedTransactions;
use crate::compaction::CompactionState;
use crate::config::LogConfig;
use crate::deletions::Deletions;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::flush_timer::FlushTimer;
use crate::mark::RecoveryMark;
use crate::names::{LOG_SUFFIX, PARTITION_METADATA, base_offset};
use crate::partition_metadata::write_partition_metadata;
use crate::producers::snapshots::Snapshots;
use crate::producers::state::ProducerState;
use crate::producers::verification::Verifications;
use crate::segment::Segment;
use crate::segment::active::ActiveSegment;
use crate::segment::indexes::Indexes;
use crate::segment::open_files::OpenFiles;
use crate::sync::Unsynced;
use crate::view::LogView;

/// A log. It has one owner; readers hold its [`LogView`].
#[derive(Debug)]
pub struct Log {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    pub(crate) view: Arc<LogView>,
    pub(crate) active: ActiveSegment,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    pub(crate) verifications: Verifications,
    pub(crate) aborted: AbortedTransactions,
    pub(crate) snapshots: Snapshots,
    pub(crate) unsynced: Unsynced,
    pub(crate) flush_timer: FlushTimer,
    pub(crate) deletions: Deletions,
    /// What is on the disk for certain, for the next life.
    pub(crate) mark: Option<RecoveryMark>,
    /// It vouches for more than batches since somebody asked.
    pub(crate) has_new_mark: bool,
    /// Nothing of it was opened yet (see `closed.rs`).
    pub(crate) is_asleep: bool,
    /// Whose it is, for a log that is asleep: its file may never have been synced.
    pub(crate) topic_id_asleep: Option<TopicId>,
    /// Where its open files count.
    pub(crate) open_files: Option<Arc<OpenFiles>>,
    /// The file with the topic's id is to be synced with the first ticket. Until there is a record
    /// nothing is lost with it, so it is not kept open.
    pub(crate) lacks_synced_metadata: bool,
    /// The file of the leader epochs may lack those that begin here or later.
    pub(crate) epochs_lack_from: Option<Offset>,
    pub(crate) compaction: CompactionState,
    pub(crate) failed: bool,
}

impl Log {
    /// Makes an empty log in `dir`, which must not hold one.
    ///
    /// # Errors
    /// The disk failed, or there is a log: it is not overwritten.
    pub fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        topic_id: Option<TopicId>,
        config: LogConfig,
        wall: Timestamp,
    ) -> Result<Self, LogError> {
        disk.create_dir_all(dir).map_err(LogError::io(dir))?;
        let entries = disk.list(dir).map_err(LogError::io(dir))?;
        if let Some(found) = entries.iter().find(|e| base_offset(&e.name, LOG_SUFFIX).is_some()) {
            let what = "a log is here already: open it, or remove the directory".to_owned();
            return Err(LogError::Unreadable { path: dir.join(&found.name), what });
        }
        let mut log = Self::empty(disk, dir, config, Offset::ZERO, wall);
        if let Some(topic_id) = topic_id {
            write_partition_metadata(disk.as_ref(), dir, topic_id).map_err(LogError::io(dir))?;
            log.lacks_synced_metadata = true;
        }
        log.note_new_dir();
        Ok(log)
    }

    /// The topic's id is to be synced, if it may not be.
    pub(crate) fn note_metadata(&mut self) {
        if std::mem::take(&mut self.lacks_synced_metadata) {
            self.unsynced.path(self.dir.join(PARTITION_METADATA), None);
        }
    }

    /// Its directory, and that it exists, are to be synced with the first ticket.
    pub(crate) fn note_new_dir(&mut self) {
        let dir = self.dir.clone();
        self.dir.parent().map(Path::to_owned).into_iter().for_each(|dir| self.unsynced.dir(dir));
        self.unsynced.dir(dir);
    }

    pub(crate) fn empty(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        start: Offset,
        wall: Timestamp,
    ) -> Self {
        let active = Arc::new(Segment::new(disk, dir, start, 0));
        active.put_indexes(Indexes::default());
        let view = Arc::new(LogView::new(start));
        view.segments.store(Arc::new(vec![Arc::clone(&active)]));
        Self {
            dir: dir.to_owned(),
            disk: Arc::clone(disk),
            config,
            view,
            active: ActiveSegment::new(active, wall),
            epochs: LeaderEpochs::default(),
            producers: ProducerState::default(),
            verifications: Verifications::default(),
            aborted: AbortedTransactions::default(),
            snapshots: Snapshots::default(),
            unsynced: Unsynced::default(),
            flush_timer: FlushTimer::new(wall),
            deletions: Deletions::default(),
            mark: None,
            has_new_mark: false,
            is_asleep: false,
            topic_id_asleep: None,
            open_files: None,
            lacks_synced_metadata: false,
            epochs_lack_from: None,
            compaction: CompactionState::default(),
            failed: false,
        }
    }

    /// Stands in for a log that cannot be opened: it holds nothing and takes nothing, and touches
    /// no file.
    #[must_use]
    pub fn unopened(disk: &Arc<dyn Disk>, dir: &Path, config: LogConfig) -> Self {
        let mut log = Self::empty(disk, dir, config, Offset::ZERO, Timestamp(0));
        log.failed = true;
        log
    }

    /// From now on its open files count with those of other logs, and are closed when there are
    /// too many.
    pub fn bound_open_files(&mut self, open_files: &Arc<OpenFiles>) {
        self.view.segments.load().iter().for_each(|segment| segment.slot.join(open_files));
        self.open_files = Some(Arc::clone(open_files));
    }

    /// Says which topic the log belongs to, where its directory does not: a crash may have come
    /// before the file was synced. It becomes durable with the next sync.
    ///
    /// # Errors
    /// The disk failed.
    pub fn assign_topic_id(&mut self, topic_id: TopicId) -> Result<(), LogError> {
        self.check_usable()?;
        let written = write_partition_metadata(self.disk.as_ref(), &self.dir, topic_id)
            .map_err(LogError::io(&self.dir));
        self.lacks_synced_metadata = true;
        self.unsynced.dir(self.dir.clone());
        self.closing_on_failure(written)
    }

    /// What readers see; stays the same for the log's whole life.
    #[must_use]
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// The disk that it is on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes another configuration, from the next append on.
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The first offset.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.view.log_start_offset()
    }

    /// The offset after the last record.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.view.log_end_offset()
    }

    /// The producers it remembers, also if nothing of it was opened yet.
    ///
    /// # Errors
    /// The disk failed.
    pub fn awake_producers(&mut self) -> Result<&ProducerState, LogError> {
        let woken = self.wake();
        self.closing_on_failure(woken)?;
        Ok(&self.producers)
    }

    /// The producers it remembers.
    #[must_use]
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Forgets producers that were silent for too long.
    pub fn expire_producers(&mut self, wall: Timestamp) {
        self.producers.expire(wall, self.config.producer_id_expiration_ms);
        self.verifications.expire(wall, self.config.producer_id_expiration_ms);
    }

    pub(crate) fn check_usable(&self) -> Result<(), LogError> {
        if !self.failed {
            return Ok(());
        }
        let error =
            io::Error::other("an earlier write or sync failed; the log is closed for writing");
        Err(LogError::Io { path: self.dir.clone(), error })
    }

    /// After a failed write the log is closed for writing: what is on the disk is unknown.
    pub(crate) fn closing_on_failure<T>(
        &mut self,
        result: Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.failed |= matches!(result, Err(LogError::Io { .. } | LogError::Full { .. }));
        result
    }

    /// [`Log::closing_on_failure`], but for steps that change nothing when there is no room.
    pub(crate) fn closing_unless_full<T>(
        &mut self,
        result: Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.failed |= matches!(result, Err(LogError::Io { .. }));
        result
    }

    /// This broker leads the partition in `leader_epoch` from the end of the log on. Epochs count
    /// even if nothing is written in them (Kafka: `assignEpochStartOffset`).
    pub fn assign_leader_epoch(&mut self, leader_epoch: LeaderEpoch) {
        let woken = self.wake();
        if self.closing_on_failure(woken).is_err() {
            return;
        }
        self.epochs.assign(leader_epoch, self.log_end_offset());
        self.view.epochs.store(self.epochs.clone().into());
    }
}
