//! One partition of this broker, on the data path: who leads it, appends, reads, the high
//! watermark. Never parses a request, and never holds its log's lock while it waits.

mod appends;
mod home;
mod reads;
mod refusals;
mod relocation;
mod settings;
mod transactions;
mod upkeep;
mod waits;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use klamm_log::{FoundPartition, Log, LogConfig, LogView, Urgency};
use klamm_model::{LeaderEpoch, Offset, TopicId, TopicPartition};
use klamm_records::Rules;
use tokio::sync::Notify;

use self::home::Home;
pub use self::refusals::{AppendRefused, ReadRefused};
pub(crate) use self::relocation::{Replaced, Replacement};
use self::settings::Settings;
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
    settings: Settings,
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
                settings: Settings::new(&config),
                has_failed: AtomicBool::new(unopened.is_some()),
                is_deleted: AtomicBool::new(false),
                unopened,
                rules: ArcSwap::from_pointee(rules),
                waiters: Waiters::default(),
                home: ArcSwap::new(Home::new(directory, myself.clone())),
                myself: myself.clone(),
            };
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
        self.settings.change(&config);
        self.rules.store(Arc::new(rules));
        self.lock().reconfigure(config);
        self.advance();
    }

    /// Whether no append is acknowledged before it is synced (`flush.messages=1`), acks=1 neither.
    #[must_use]
    pub fn syncs_every_append(&self) -> bool {
        self.settings.syncs_every_append()
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
        if self.settings.is_synced() {
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
        self.settings.is_compacted()
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.home.load().leave();
    }
}
