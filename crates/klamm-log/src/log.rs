//! A partition's log, as its owner sees it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_model::{Offset, Timestamp, TopicId};
use klamm_records::BatchHeader;

use crate::checkpoint::write_leader_epochs;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::LogError;
use crate::names::{LEADER_EPOCHS, SNAPSHOT_SUFFIX, TRANSACTION_INDEX_SUFFIX, segment_file};
use crate::partition_metadata::write_partition_metadata;
use crate::producer_snapshot::encode_snapshot;
use crate::producer_state::ProducerState;
use crate::retention::PendingDeletion;
use crate::segment::{SaveIndexes, Segment};
use crate::transaction_index::AbortedTransaction;
use crate::view::LogView;

/// What is to be synced, and what is durable then.
#[derive(Debug)]
pub struct SyncTicket {
    /// Files with bytes that may be in memory only.
    pub files: Vec<Arc<dyn DiskFile>>,
    /// Directories with names that may be in memory only.
    pub dirs: Vec<PathBuf>,
    /// Everything below is durable when all of them are synced.
    pub up_to: Offset,
}

/// A log. It has one owner; readers hold its [`LogView`].
#[derive(Debug)]
pub struct Log {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    pub(crate) view: Arc<LogView>,
    pub(crate) active: Arc<Segment>,
    pub(crate) active_size: u64,
    pub(crate) bytes_since_index: u64,
    /// Of the first batch of the active segment, for rolling by time.
    pub(crate) first_timestamp: Option<Timestamp>,
    pub(crate) active_since: Timestamp,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// The offset of the newest snapshot file.
    pub(crate) last_snapshot: Option<Offset>,
    /// Sealed segments that were not synced yet.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// Directories whose names were not synced yet.
    pub(crate) unsynced_dirs: Vec<PathBuf>,
    pub(crate) unflushed_messages: u64,
    pub(crate) pending_deletions: Vec<PendingDeletion>,
    pub(crate) failed: bool,
}

impl Log {
    /// Makes an empty log in `dir`, which must not hold one.
    ///
    /// # Errors
    /// The disk failed.
    pub fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        topic_id: Option<TopicId>,
        config: LogConfig,
        wall: Timestamp,
    ) -> Result<Self, LogError> {
        disk.create_dir_all(dir).map_err(LogError::io(dir))?;
        if let Some(topic_id) = topic_id {
            write_partition_metadata(disk.as_ref(), dir, topic_id).map_err(LogError::io(dir))?;
        }
        let mut log = Self::empty(disk, dir, config, Offset::ZERO, wall);
        log.unsynced_dirs.push(dir.to_owned());
        log.unsynced_dirs.extend(dir.parent().map(Path::to_owned));
        Ok(log)
    }

    pub(crate) fn empty(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        start: Offset,
        wall: Timestamp,
    ) -> Self {
        let active = Arc::new(Segment::new(disk, dir, start, 0));
        *active.indexes.write().expect("no holder of this lock can panic") =
            Some(crate::segment::Indexes::default());
        let view = Arc::new(LogView::new(start));
        view.segments.store(Arc::new(vec![Arc::clone(&active)]));
        Self {
            dir: dir.to_owned(),
            disk: Arc::clone(disk),
            config,
            view,
            active,
            active_size: 0,
            bytes_since_index: 0,
            first_timestamp: None,
            active_since: wall,
            epochs: LeaderEpochs::default(),
            producers: ProducerState::default(),
            aborted: Vec::new(),
            last_snapshot: None,
            unsynced: Vec::new(),
            unsynced_dirs: Vec::new(),
            unflushed_messages: 0,
            pending_deletions: Vec::new(),
            failed: false,
        }
    }

    /// What readers see; stays the same for the log's whole life.
    #[must_use]
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
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

    /// The producers it remembers.
    #[must_use]
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Forgets producers that were silent for too long.
    pub fn expire_producers(&mut self, wall: Timestamp) {
        self.producers.expire(wall, self.config.producer_id_expiration_ms);
    }

    pub(crate) fn check_usable(&self) -> Result<(), LogError> {
        if !self.failed {
            return Ok(());
        }
        let error =
            io::Error::other("an earlier write or sync failed; the log is closed for writing");
        Err(LogError::Io { path: self.dir.clone(), error })
    }

    /// Seals the active segment if the next batch must not go into it (Kafka:
    /// `LogSegment.shouldRoll`).
    pub(crate) fn roll_if_due(
        &mut self,
        next: &BatchHeader,
        wall: Timestamp,
    ) -> Result<(), LogError> {
        if self.active_size == 0 {
            return Ok(());
        }
        let config = &self.config;
        let grows_too_large = self.active_size + next.size_in_bytes() as u64 > config.segment_bytes;
        let base = self.active.base_offset;
        let is_too_far = crate::index::relative(next.last_offset(), base).is_none();
        let roll_ms = config.segment_ms.saturating_sub(config.segment_jitter_ms);
        let since = match self.first_timestamp {
            Some(first) if first.0 >= 0 && next.max_timestamp.0 >= 0 => {
                next.max_timestamp.0.saturating_sub(first.0)
            }
            _ => wall.0.saturating_sub(self.active_since.0),
        };
        let is_too_old = since > i64::try_from(roll_ms).unwrap_or(i64::MAX);
        let entries = self.active.indexes.read().expect("no holder of this lock can panic");
        let is_full = entries.as_ref().is_some_and(|indexes| {
            let bytes = indexes.offsets.len() * crate::index::ENTRY_BYTES;
            let time_bytes = indexes.times.len() * crate::index::TIME_ENTRY_BYTES;
            bytes.max(time_bytes) as u64 + 16 > config.segment_index_bytes
        });
        drop(entries);
        if grows_too_large || is_too_far || is_too_old || is_full {
            self.roll(wall)
        } else {
            Ok(())
        }
    }

    /// Seals the active segment and begins the next at the end of the log.
    ///
    /// # Errors
    /// The disk failed.
    pub fn roll(&mut self, wall: Timestamp) -> Result<(), LogError> {
        self.check_usable()?;
        if self.active_size == 0 {
            return Ok(());
        }
        self.seal_indexes()?;
        let end = self.log_end_offset();
        self.take_snapshot(end)?;
        self.unsynced.push(Arc::clone(&self.active));
        self.unsynced_dirs.push(self.dir.clone());
        self.begin_segment(end, wall);
        Ok(())
    }

    fn seal_indexes(&mut self) -> Result<(), LogError> {
        self.add_time_entry();
        self.active.save_indexes(SaveIndexes::New)?;
        self.active.drop_indexes();
        Ok(())
    }

    pub(crate) fn begin_segment(&mut self, base_offset: Offset, wall: Timestamp) {
        let next = Arc::new(Segment::new(&self.disk, &self.dir, base_offset, 0));
        *next.indexes.write().expect("no holder of this lock can panic") =
            Some(crate::segment::Indexes::default());
        let mut segments = Vec::clone(&self.view.segments.load());
        segments.push(Arc::clone(&next));
        self.view.segments.store(Arc::new(segments));
        self.active = next;
        self.active_size = 0;
        self.bytes_since_index = 0;
        self.first_timestamp = None;
        self.active_since = wall;
    }

    /// Writes the producers as of `offset`. Only the two newest snapshots are kept.
    pub(crate) fn take_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.last_snapshot == Some(offset) {
            return Ok(());
        }
        let path = self.dir.join(segment_file(offset, SNAPSHOT_SUFFIX));
        let bytes = encode_snapshot(&self.producers);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(&[io::IoSlice::new(&bytes)], 0)
        };
        write().map_err(LogError::io(&path))?;
        self.last_snapshot = Some(offset);
        Ok(())
    }

    pub(crate) fn add_aborted(&mut self, aborted: AbortedTransaction) -> Result<(), LogError> {
        let path = self.active.path(TRANSACTION_INDEX_SUFFIX);
        let write = || {
            let file = self.disk.open(&path, OpenMode::Create)?;
            let len = file.len()?;
            file.write_all_at(&[io::IoSlice::new(&aborted.to_bytes())], len)
        };
        write().map_err(LogError::io(&path))?;
        self.aborted.push(aborted);
        self.view.aborted.store(Arc::new(self.aborted.clone()));
        Ok(())
    }

    /// Whether `flush.messages` asks for a sync now.
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        self.config.flush_messages.is_some_and(|n| self.unflushed_messages >= n)
    }

    /// What must be synced so that everything appended so far is durable; `None` if it is.
    ///
    /// # Errors
    /// A small file could not be written, or an earlier sync failed.
    pub fn sync_ticket(&mut self) -> Result<Option<SyncTicket>, LogError> {
        self.check_usable()?;
        let up_to = self.log_end_offset();
        if up_to <= self.view.synced_offset() && self.unsynced_dirs.is_empty() {
            return Ok(None);
        }
        self.write_epochs_if_changed()?;
        let sealed = self.unsynced.drain(..);
        let files: Vec<_> = sealed
            .chain([Arc::clone(&self.active)])
            .filter_map(|s| s.open_file().cloned())
            .collect();
        let mut dirs = std::mem::take(&mut self.unsynced_dirs);
        dirs.dedup();
        self.unflushed_messages = 0;
        Ok(Some(SyncTicket { files, dirs, up_to }))
    }

    /// A ticket was honoured.
    pub fn on_synced(&mut self, up_to: Offset) {
        if up_to > self.view.synced_offset() {
            self.view.publish_synced(up_to.min(self.log_end_offset()));
        }
    }

    /// A ticket could not be honoured: what is durable is unknown, and nothing more is appended.
    pub fn on_sync_failed(&mut self) {
        self.failed = true;
    }

    /// Everything below need not be looked at after a crash.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.view.synced_offset()
    }

    pub(crate) fn write_epochs_if_changed(&mut self) -> Result<(), LogError> {
        if self.epochs.take_dirty() {
            let path = self.dir.join(LEADER_EPOCHS);
            write_leader_epochs(self.disk.as_ref(), &path, self.epochs.entries())?;
        }
        Ok(())
    }

    /// Writes everything that makes the next start quick, and syncs.
    ///
    /// # Errors
    /// The disk failed: the next start has to recover.
    pub fn close_clean(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.active.open_file().is_some() {
            self.add_time_entry();
            self.active.save_indexes(SaveIndexes::New)?;
            if self.log_end_offset() > self.last_snapshot.unwrap_or(Offset::ZERO) {
                self.take_snapshot(self.log_end_offset())?;
            }
        }
        let Some(ticket) = self.sync_ticket()? else { return Ok(()) };
        let result = ticket.sync(self.disk.as_ref());
        if let Err(error) = result {
            return Err(self.fail(error));
        }
        self.on_synced(ticket.up_to);
        Ok(())
    }
}

impl SyncTicket {
    /// Syncs everything, one after another.
    ///
    /// # Errors
    /// The first failed sync; it must not be retried.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        for file in &self.files {
            file.sync()?;
        }
        for dir in &self.dirs {
            disk.sync_dir(dir)?;
        }
        Ok(())
    }
}
