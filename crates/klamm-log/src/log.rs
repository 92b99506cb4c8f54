//! A partition's log, as its owner sees it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, OpenMode};
use klamm_model::{LeaderEpoch, Offset, Timestamp, TopicId};
use klamm_records::BatchHeader;

use crate::active::ActiveSegment;
use crate::checkpoint::write_leader_epochs;
use crate::compaction::CompactionState;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::indexes::Indexes;
use crate::mark::RecoveryMark;
use crate::names::{
    INDEX_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, PARTITION_METADATA, SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX, base_offset, segment_file,
};
use crate::open_files::OpenFiles;
use crate::partition_metadata::write_partition_metadata;
use crate::producer_snapshot::encode_snapshot;
use crate::producer_state::ProducerState;
use crate::retention::PendingDeletion;
use crate::seeded_bugs::{SeededBug, is_seeded};
use crate::segment::{SaveIndexes, Segment};
use crate::sync::{SyncTicket, Unsynced};
use crate::transaction_index::AbortedTransaction;
use crate::verification::Verifications;
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
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// The offset of the newest snapshot file.
    pub(crate) last_snapshot: Option<Offset>,
    pub(crate) unsynced: Unsynced,
    pub(crate) unflushed_messages: u64,
    pub(crate) pending_deletions: Vec<PendingDeletion>,
    /// What is on the disk for certain, for the next life.
    pub(crate) mark: Option<RecoveryMark>,
    /// It vouches for more than batches since somebody asked.
    pub(crate) has_new_mark: bool,
    /// Snapshots inside of segments that a later one has replaced.
    pub(crate) stray_snapshots: Vec<Offset>,
    /// Nothing of it was opened yet (see `closed.rs`).
    pub(crate) is_asleep: bool,
    /// Whose it is, for a log that is asleep: its file may never have been synced.
    pub(crate) topic_id_asleep: Option<TopicId>,
    /// Where its open files count.
    pub(crate) open_files: Option<Arc<OpenFiles>>,
    /// The file with the topic's id is to be synced with the first ticket. Until there is a record
    /// nothing is lost with it, so it is not kept open.
    pub(crate) lacks_synced_metadata: bool,
    /// The active segment's transaction index lacks entries: there was no room.
    pub(crate) lacks_aborted: bool,
    /// The file of the leader epochs may lack those that begin here or later.
    pub(crate) epochs_lack_from: Option<Offset>,
    pub(crate) compaction: CompactionState,
    /// When `flush.ms` last asked for a sync, or the log was opened.
    pub(crate) flushed_at: Timestamp,
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
            aborted: Vec::new(),
            last_snapshot: None,
            unsynced: Unsynced::default(),
            unflushed_messages: 0,
            pending_deletions: Vec::new(),
            mark: None,
            has_new_mark: false,
            stray_snapshots: Vec::new(),
            is_asleep: false,
            topic_id_asleep: None,
            open_files: None,
            lacks_synced_metadata: false,
            lacks_aborted: false,
            epochs_lack_from: None,
            compaction: CompactionState::default(),
            flushed_at: wall,
            failed: false,
        }
    }

    /// Stands in for a log that cannot be opened: it holds nothing and takes nothing, and touches no
    /// file.
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

    /// Seals the active segment if the next batch must not go into it.
    pub(crate) fn roll_if_due(
        &mut self,
        next: &BatchHeader,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        if self.active.is_roll_due(next, &self.config, wall) {
            self.roll(wall)?;
        }
        if self.active.is_empty() && self.active.is_too_far(next) {
            // A follower of a compacted log skips ahead further than an index can say.
            self.begin_segment(next.base_offset, wall)?;
        }
        Ok(())
    }

    /// Seals the active segment and begins the next at the end of the log.
    ///
    /// # Errors
    /// The disk failed, or has no room for the new files: then the segment stays as it is.
    pub fn roll(&mut self, wall: Timestamp) -> Result<(), LogError> {
        self.check_usable()?;
        self.wake()?;
        if self.active.is_empty() {
            return Ok(());
        }
        let result = self.seal_and_begin(wall);
        self.closing_unless_full(result)
    }

    /// Whatever finds no room here is done again by the next attempt; nothing is given up before
    /// the new segment is there.
    fn seal_and_begin(&mut self, wall: Timestamp) -> Result<(), LogError> {
        let (active, base) = (Arc::clone(&self.active.segment), self.active.segment.base_offset);
        self.active.segment.index_max_timestamp();
        active.save_indexes(SaveIndexes::New)?;
        let end = self.log_end_offset();
        self.take_snapshot(end)?;
        self.complete_transaction_index()?;
        let path = active.path(LOG_SUFFIX);
        let file = active.file().map_err(LogError::io(&path))?;
        if self.view.segment_count() == 1 && self.unsynced.has_dir(&self.dir) {
            // Were the first segment's name lost and the next one's kept, the log would seem to
            // start there.
            self.disk.sync_dir(&self.dir).map_err(LogError::io(&self.dir))?;
        }
        self.begin_segment(end, wall)?;
        active.drop_indexes();
        self.unsynced.file(file, Some(base));
        active.slot.set_clean();
        self.note_indexes(&active);
        self.note_transaction_index(&active);
        Ok(())
    }

    /// Entries that found no room in the transaction index's file are written now.
    pub(crate) fn complete_transaction_index(&mut self) -> Result<(), LogError> {
        if self.lacks_aborted {
            self.save_aborted(self.active.segment.base_offset)?;
            self.lacks_aborted = false;
        }
        Ok(())
    }

    /// A segment's transaction index is to be synced, if it has one.
    pub(crate) fn note_transaction_index(&mut self, segment: &Segment) {
        let base = segment.base_offset;
        if self.aborted.iter().any(|t| t.last_offset >= base) {
            self.unsynced.path(segment.path(TRANSACTION_INDEX_SUFFIX), Some(base));
        }
    }

    /// A segment's indexes are to be synced.
    pub(crate) fn note_indexes(&mut self, segment: &Segment) {
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            self.unsynced.path(segment.path(suffix), Some(segment.base_offset));
        }
    }

    /// The file is made at once: its name says where the log goes on, even if all segments before
    /// it are deleted.
    pub(crate) fn begin_segment(
        &mut self,
        base_offset: Offset,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        let next = Arc::new(Segment::new(&self.disk, &self.dir, base_offset, 0));
        if let Some(pool) = &self.open_files {
            next.slot.join(pool);
        }
        next.put_indexes(Indexes::default());
        if let Err(error) = self.create_file(&next) {
            if matches!(error, LogError::Full { .. }) {
                // It may be there, without its reserve: an empty segment between others would
                // look like a gap.
                let path = next.path(LOG_SUFFIX);
                let is_there = self.disk.file_len(&path).map_err(LogError::io(&path))?.is_some();
                if is_there {
                    self.disk.remove_file(&path).map_err(LogError::io(&path))?;
                }
            }
            return Err(error);
        }
        let mut segments = Vec::clone(&self.view.segments.load());
        segments.push(Arc::clone(&next));
        self.view.segments.store(Arc::new(segments));
        self.active = ActiveSegment::new(next, wall);
        Ok(())
    }

    pub(crate) fn create_file(&mut self, segment: &Segment) -> Result<(), LogError> {
        let path = segment.path(LOG_SUFFIX);
        let preallocate = self.config.preallocate;
        let reserve_bytes = self.config.segment_bytes;
        segment
            .create()
            .and_then(|file| if preallocate { file.reserve(reserve_bytes) } else { Ok(()) })
            .map_err(LogError::growth(&path))?;
        self.unsynced.dir(self.dir.clone());
        Ok(())
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

    /// Writes the producers as of `offset`.
    pub(crate) fn take_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.last_snapshot == Some(offset) {
            return Ok(());
        }
        let path = self.write_snapshot(offset, &self.producers)?;
        if !is_seeded(SeededBug::SnapshotNotSynced) {
            self.unsynced.path(path, Some(offset));
        }
        self.last_snapshot = Some(offset);
        Ok(())
    }

    pub(crate) fn write_snapshot(
        &self,
        offset: Offset,
        producers: &ProducerState,
    ) -> Result<PathBuf, LogError> {
        let path = self.dir.join(segment_file(offset, SNAPSHOT_SUFFIX));
        let bytes = encode_snapshot(producers);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(&[io::IoSlice::new(&bytes)], 0)
        };
        write().map_err(LogError::growth(&path))?;
        Ok(path)
    }

    /// Notes an aborted transaction whose marker is in the log already. If there is no room for
    /// it in its file, it is written later: a crash finds it in the batches.
    pub(crate) fn add_aborted(&mut self, aborted: AbortedTransaction) -> Result<(), LogError> {
        self.aborted.push(aborted);
        self.view.aborted.store(Arc::new(self.aborted.clone()));
        if self.lacks_aborted {
            return Ok(());
        }
        let path = self.active.segment.path(TRANSACTION_INDEX_SUFFIX);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            let len = file.len()?;
            file.write_all_at(&[io::IoSlice::new(&aborted.to_bytes())], len)
        };
        match write().map_err(LogError::growth(&path)) {
            Err(LogError::Full { .. }) => self.lacks_aborted = true,
            written => written?,
        }
        Ok(())
    }

    /// Whether `flush.messages` asks for a sync now.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        self.config.flush_messages.is_some_and(|n| self.unflushed_messages >= n)
    }

    /// Whether `flush.ms` asks for a sync now: something is not synced, and it is that long ago that
    /// it last asked (Kafka: `LogManager.flushDirtyLogs`).
    pub fn take_flush_due(&mut self, wall: Timestamp) -> bool {
        let Some(flush_ms) = self.config.flush_ms else { return false };
        let is_behind = !self.failed && self.view.synced_offset() < self.log_end_offset();
        let since_ms = wall.0.saturating_sub(self.flushed_at.0);
        // A clock that was set back does not put the sync off.
        let is_due = u64::try_from(since_ms).map_or(true, |since_ms| since_ms >= flush_ms);
        if is_behind && is_due {
            self.flushed_at = wall;
        }
        is_behind && is_due
    }

    /// What must be synced so that everything appended so far is durable; `None` if it is.
    /// Several tickets may be under way at once.
    ///
    /// # Errors
    /// A small file could not be written, or an earlier sync failed.
    pub fn sync_ticket(&mut self) -> Result<Option<SyncTicket>, LogError> {
        self.check_usable()?;
        let up_to = self.log_end_offset();
        if up_to <= self.view.synced_offset() && self.unsynced.is_empty() {
            return Ok(None);
        }
        // Without room the file is written later: until then the recovery point stays below the
        // epochs that it lacks, and a crash finds them in the batches.
        match self.write_epochs_if_changed() {
            Err(LogError::Full { .. }) => {}
            result => self.closing_on_failure(result)?,
        }
        self.unflushed_messages = 0;
        if self.is_save_due() {
            self.save_for_restart()?;
        }
        self.note_metadata();
        if is_seeded(SeededBug::AcknowledgedBeforeSync) {
            self.view.publish_synced(up_to);
        }
        let mark = self.mark_at(up_to);
        // What a recovery has found may not be synced, and its file may be closed again.
        let is_behind = up_to > self.view.synced_offset() && !self.active.is_empty();
        let active = match self.active.segment.open_file() {
            None if is_behind => {
                let opened = self.active.segment.file().map_err(LogError::io(&self.dir));
                Some(self.closing_on_failure(opened)?)
            }
            open => open,
        };
        Ok(Some(self.unsynced.issue(active, up_to, mark)))
    }

    /// A ticket was honoured. An offset that no ticket had says nothing.
    pub fn on_synced(&mut self, up_to: Offset) {
        if self.failed {
            // After a failed sync another one may succeed although the pages are gone.
            return;
        }
        let Some((covered, mark)) = self.unsynced.honoured(up_to) else { return };
        if let Some(mark) = mark {
            self.advance_mark(mark);
        }
        let covered = covered.min(self.log_end_offset());
        if covered == self.log_end_offset() {
            self.active.segment.slot.set_clean();
        }
        if covered > self.view.synced_offset() {
            self.view.publish_synced(covered);
        }
    }

    /// Whether a write or sync has failed, so that nothing more is written.
    #[must_use]
    pub fn is_closed_for_writing(&self) -> bool {
        self.failed
    }

    /// A ticket could not be honoured: what is durable is unknown, and nothing more is appended.
    pub fn on_sync_failed(&mut self) {
        self.failed = true;
    }

    /// Everything below need not be looked at after a crash.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        if is_seeded(SeededBug::CheckpointAheadOfData) {
            return self.log_end_offset();
        }
        let synced = self.view.synced_offset();
        self.epochs_lack_from.map_or(synced, |offset| synced.min(offset))
    }

    pub(crate) fn write_epochs_if_changed(&mut self) -> Result<(), LogError> {
        if !self.epochs.is_dirty() {
            return Ok(());
        }
        let path = self.dir.join(LEADER_EPOCHS);
        match write_leader_epochs(self.disk.as_ref(), &path, self.epochs.entries()) {
            Ok(()) => {
                self.epochs.on_saved();
                self.epochs_lack_from = None;
                Ok(())
            }
            Err(error) => {
                self.epochs_lack_from.get_or_insert(self.view.synced_offset());
                Err(error)
            }
        }
    }
}
