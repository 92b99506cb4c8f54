//! One partition of this broker, on the data path: who leads it, appends, reads, the high
//! watermark. Never parses a request, and never holds its log's lock while it waits.

mod home;
mod refusals;
mod relocation;
mod transactions;
mod upkeep;
mod waits;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use klamm_log::{
    AppendError, Appended, Durability, FoundPartition, Limits, Log, LogConfig, LogError, LogView,
    Origin, Read, ReadError, Urgency,
};
use klamm_model::{IsolationLevel, LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};
use klamm_records::{Rules, ValidBatch};
use tokio::sync::Notify;

use self::home::Home;
pub use self::refusals::{AppendRefused, ReadRefused};
pub(crate) use self::relocation::{Replaced, Replacement};
pub use self::transactions::TransactionMarker;
pub use self::waits::{CommitWait, Watch};
use crate::directory::Directory;
use crate::waiters::{FetchSignal, Waiters};

/// `leader_epoch` of a partition that is not led here.
const NOT_LEADER: i32 = -1;

/// A partition.
pub struct Partition {
    name: TopicPartition,
    topic_id: TopicId,
    log: Mutex<Log>,
    view: Arc<LogView>,
    leader_epoch: AtomicI32,
    /// The log's end when this broker began to lead.
    led_from: AtomicI64,
    high_watermark: AtomicI64,
    durability_synced: AtomicBool,
    has_flush_rule: AtomicBool,
    syncs_every_append: AtomicBool,
    is_compacted: AtomicBool,
    /// A write or a sync of its own failed.
    has_failed: AtomicBool,
    /// Its topic was deleted: its files are going. Set under the log's lock.
    is_deleted: AtomicBool,
    /// Its log could not be opened; with what the checkpoints said of it, if it was found.
    unopened: Option<Option<Box<FoundPartition>>>,
    rules: ArcSwap<Rules>,
    waiters: Waiters,
    /// Where its log is. Another one only under the log's lock.
    home: ArcSwap<Home>,
    myself: std::sync::Weak<Self>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Partition {
    /// A partition over its log; nobody leads it yet.
    #[must_use]
    pub fn new(
        name: TopicPartition,
        topic_id: TopicId,
        log: Log,
        rules: Rules,
        directory: Arc<Directory>,
    ) -> Arc<Self> {
        Self::with((name, topic_id), log, rules, (directory, None))
    }

    /// Stands in for a partition whose log cannot be opened: whoever asks is told that it is
    /// offline. What the checkpoints said of it stays.
    #[must_use]
    pub fn unopened(
        (name, topic_id): (TopicPartition, TopicId),
        log: Log,
        found: Option<FoundPartition>,
        directory: Arc<Directory>,
    ) -> Arc<Self> {
        let unopened = Some(found.map(Box::new));
        Self::with((name, topic_id), log, Rules::default(), (directory, unopened))
    }

    fn with(
        (name, topic_id): (TopicPartition, TopicId),
        mut log: Log,
        rules: Rules,
        (directory, unopened): (Arc<Directory>, Option<Option<Box<FoundPartition>>>),
    ) -> Arc<Self> {
        log.bound_open_files(directory.open_files());
        let view = Arc::clone(log.view());
        let config = log.config().clone();
        Arc::new_cyclic(|myself| {
            let this = Self {
                name,
                topic_id,
                high_watermark: AtomicI64::new(0),
                view,
                log: Mutex::new(log),
                leader_epoch: AtomicI32::new(NOT_LEADER),
                led_from: AtomicI64::new(0),
                durability_synced: AtomicBool::new(true),
                has_flush_rule: AtomicBool::new(false),
                syncs_every_append: AtomicBool::new(false),
                is_compacted: AtomicBool::new(false),
                has_failed: AtomicBool::new(unopened.is_some()),
                is_deleted: AtomicBool::new(false),
                unopened,
                rules: ArcSwap::from_pointee(rules),
                waiters: Waiters::default(),
                home: ArcSwap::new(Home::new(directory, myself.clone())),
                myself: myself.clone(),
            };
            this.note_config(&config);
            let start = this.view.log_start_offset();
            this.high_watermark.store(start.max(this.committed()).0, Ordering::SeqCst);
            this
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Its topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// What readers see of its log.
    #[must_use]
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// What its topic asks of produced batches.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder of this lock can panic")
    }

    /// The epoch in which this broker leads; `None` if it does not.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        let epoch = self.leader_epoch.load(Ordering::Acquire);
        (epoch != NOT_LEADER).then_some(LeaderEpoch(epoch))
    }

    /// This broker leads from now on.
    pub fn lead(&self, epoch: LeaderEpoch) {
        if self.leader_epoch.load(Ordering::Acquire) != epoch.0 {
            self.led_from.store(self.view.log_end_offset().0, Ordering::Release);
        }
        self.leader_epoch.store(epoch.0, Ordering::Release);
        self.advance();
        if self.view.synced_offset() < self.view.log_end_offset() {
            self.ask_for_sync(Urgency::Now);
        }
    }

    /// This broker leads no more; whoever waits has to look elsewhere.
    pub fn resign(&self) {
        self.leader_epoch.store(NOT_LEADER, Ordering::Release);
        self.waiters.wake_all();
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.home.load().directory)
    }

    /// Whether a write or a sync failed, its own or another's in the same directory: nothing more
    /// is written to it, and what was synced can be read.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.has_failed.load(Ordering::Acquire) || self.home.load().directory.is_offline()
    }

    /// Whether its log could not be opened, so that nothing can be read either.
    #[must_use]
    pub fn is_unopened(&self) -> bool {
        self.unopened.is_some()
    }

    /// A write or sync of its own failed, and the directory with it.
    pub(crate) fn fail(&self, error: &dyn fmt::Display) {
        // First: whoever hears of it finds the whole directory offline.
        self.home.load().directory.fail(error);
        self.has_failed.store(true, Ordering::Release);
        self.waiters.wake_all();
    }

    /// The topic's configuration changed.
    pub fn reconfigure(&self, config: LogConfig, rules: Rules) {
        self.note_config(&config);
        self.rules.store(Arc::new(rules));
        self.lock().reconfigure(config);
        self.advance();
    }

    fn note_config(&self, config: &LogConfig) {
        let syncs_every_append = config.flush_messages == Some(1);
        let is_synced = config.durability == Durability::Synced || syncs_every_append;
        self.syncs_every_append.store(syncs_every_append, Ordering::Release);
        self.durability_synced.store(is_synced, Ordering::Release);
        self.has_flush_rule.store(config.flush_messages.is_some(), Ordering::Release);
        self.is_compacted.store(config.cleanup.compact, Ordering::Release);
    }

    /// Appends a client's batch. When this returns the records are in the leader's page cache,
    /// which is what acks=1 asks for; for acks=all wait for [`Partition::committed_past`].
    ///
    /// # Errors
    /// See [`AppendRefused`].
    pub fn append(
        &self,
        batch: ValidBatch<'_>,
        origin: Origin,
        wall: Timestamp,
    ) -> Result<Appended, AppendRefused> {
        if self.is_offline() {
            return Err(AppendRefused::Offline);
        }
        if matches!(origin, Origin::Client | Origin::Transaction(_)) {
            let home = self.home.load();
            let room = home.directory.room();
            room.admit(batch.size_in_bytes() as u64, wall).map_err(AppendRefused::NearlyFull)?;
        }
        let mut log = self.lock();
        // Asked under the lock: a resignation is seen by every later append.
        let epoch = self.leader_epoch().ok_or(AppendRefused::NotLeader)?;
        let result = log.append_as_leader(batch, epoch, origin, wall);
        let is_flush_due = self.has_flush_rule.load(Ordering::Relaxed) && log.is_flush_due();
        let is_save_due = log.is_save_due();
        drop(log);
        match result {
            Ok(appended) => {
                if is_flush_due {
                    self.ask_for_sync(Urgency::Now);
                } else if is_save_due || self.durability_synced.load(Ordering::Relaxed) {
                    self.ask_for_sync(self.waiters.urgency());
                }
                self.advance();
                Ok(appended)
            }
            Err(AppendError::Disk(error @ LogError::Full { .. })) => {
                self.home.load().directory.room().on_full(wall);
                Err(AppendRefused::Log(AppendError::Disk(error)))
            }
            Err(AppendError::Disk(error)) => {
                self.on_disk_failure(&error);
                Err(AppendRefused::Log(AppendError::Disk(error)))
            }
            Err(error) => Err(AppendRefused::Log(error)),
        }
    }

    fn on_disk_failure(&self, error: &LogError) {
        tracing::error!(partition = %self.name, %error, "an append failed");
        match error {
            LogError::Io { .. } => self.fail(error),
            // Its own files are not what they should be; the disk is sound.
            _ => self.has_failed.store(true, Ordering::Release),
        }
    }

    /// Whether no append is acknowledged before it is synced (`flush.messages=1`), acks=1 neither.
    #[must_use]
    pub fn syncs_every_append(&self) -> bool {
        self.syncs_every_append.load(Ordering::Acquire)
    }

    fn ask_for_sync(&self, urgency: Urgency) {
        self.home.load().ask_for_sync(urgency);
    }

    /// Somebody wants to see what is appended but not committed.
    fn hurry(&self) {
        if self.high_watermark() < self.view.log_end_offset() {
            self.ask_for_sync(Urgency::Now);
        }
    }

    /// What is committed by the log's own account.
    fn committed(&self) -> Offset {
        if self.durability_synced.load(Ordering::Acquire) {
            self.view.synced_offset()
        } else {
            self.view.log_end_offset()
        }
    }

    /// Moves the high watermark up to what is committed, and wakes who waits for it.
    fn advance(&self) {
        let committed = self.committed().0;
        let before = self.high_watermark.fetch_max(committed, Ordering::SeqCst);
        if committed > before {
            self.waiters.on_advance(Offset(committed));
        }
    }

    /// Whether all that earlier leaders may have committed is known to be committed. Until then
    /// the high watermark may be behind what clients were told before (KIP-207).
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        self.high_watermark().0 >= self.led_from.load(Ordering::Acquire)
    }

    /// Everything below is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::SeqCst))
    }

    /// Everything below is committed and belongs to no open transaction.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.view.last_stable_offset(self.high_watermark())
    }

    /// What a reader may see.
    #[must_use]
    pub fn readable_end(&self, isolation: IsolationLevel) -> Offset {
        let end = self.committed_end(isolation);
        // Nobody knows what became of the rest.
        if self.is_offline() { end.min(self.view.synced_offset()) } else { end }
    }

    fn committed_end(&self, isolation: IsolationLevel) -> Offset {
        match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark(),
            IsolationLevel::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Checks what a client believes of the leader (KIP-320).
    ///
    /// # Errors
    /// It should look for the leader again.
    pub fn check_leader(
        &self,
        client_epoch: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, ReadRefused> {
        if self.is_unopened() {
            return Err(ReadRefused::Offline);
        }
        // Nobody leads what is in a log directory that failed.
        let refused = || match self.is_offline() {
            true => ReadRefused::Offline,
            false => ReadRefused::NotLeader,
        };
        let epoch = self.leader_epoch().ok_or_else(refused)?;
        match client_epoch {
            Some(client) if client < epoch => Err(ReadRefused::FencedEpoch),
            Some(client) if client > epoch => Err(ReadRefused::UnknownEpoch),
            _ => Ok(epoch),
        }
    }

    /// Reads; see [`LogView::read`].
    ///
    /// # Errors
    /// See [`ReadRefused`].
    pub fn read(&self, offset: Offset, limits: Limits) -> Result<Read, ReadRefused> {
        self.read_result(offset, self.view.read(offset, limits))
    }

    /// Reads without waiting for a device: `None` if it would have to; see
    /// [`LogView::read_cached`].
    ///
    /// # Errors
    /// See [`ReadRefused`].
    pub fn read_cached(&self, offset: Offset, limits: Limits) -> Result<Option<Read>, ReadRefused> {
        let read = self.view.read_cached(offset, limits).transpose();
        read.map(|read| self.read_result(offset, read)).transpose()
    }

    fn read_result(
        &self,
        offset: Offset,
        read: Result<Read, ReadError>,
    ) -> Result<Read, ReadRefused> {
        match &read {
            Err(ReadError::Log(error)) => {
                tracing::error!(partition = %self.name, %offset, %error, "a read failed");
            }
            Ok(Read { slice: None }) => self.hurry(),
            Ok(_) | Err(_) => {}
        }
        read.map_err(ReadRefused::Log)
    }

    /// Waits until the record at `last_offset` is committed.
    pub fn committed_past(self: &Arc<Self>, last_offset: Offset) -> CommitWait {
        self.hurry();
        CommitWait { partition: Arc::clone(self), last_offset, key: None }
    }

    /// Has a fetch told when the high watermark moves.
    #[must_use]
    pub fn watch(self: &Arc<Self>, signal: &Arc<FetchSignal>, place: usize) -> Watch {
        Watch { partition: Arc::clone(self), key: self.waiters.add_fetch(signal, place) }
    }

    /// Has somebody told of every move of the high watermark, for good.
    pub fn notify_always(&self, notify: Arc<Notify>) {
        self.waiters.add_watcher(notify);
    }

    /// Whether records may be deleted from the front: not where only compaction may take them.
    #[must_use]
    pub fn allows_deletion(&self) -> bool {
        self.lock().config().cleanup.delete
    }

    /// Whether its topic is compacted.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        self.is_compacted.load(Ordering::Acquire)
    }

    /// Moves the log start up (DeleteRecords); gives the new one.
    ///
    /// # Errors
    /// The offset is out of range, or this broker does not lead.
    pub fn delete_records(&self, offset: Option<Offset>) -> Result<Offset, ReadRefused> {
        self.check_leader(None)?;
        let high_watermark = self.high_watermark();
        let offset = offset.unwrap_or(high_watermark);
        let (start, end) = (self.view.log_start_offset(), self.view.log_end_offset());
        if offset > high_watermark || offset < Offset::ZERO {
            let error = ReadError::OutOfRange { log_start_offset: start, log_end_offset: end };
            return Err(ReadRefused::Log(error));
        }
        self.lock()
            .delete_records(offset)
            .map_err(|error| ReadRefused::Log(ReadError::Log(error)))?;
        Ok(self.view.log_start_offset())
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.home.load().leave();
    }
}
