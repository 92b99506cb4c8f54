//! What the data path asks of a topic's configuration, without the log's lock.

use std::sync::atomic::{AtomicBool, Ordering};

use klamm_log::{Durability, LogConfig};

/// As they were when the configuration changed last.
pub(super) struct Settings {
    is_synced: AtomicBool,
    has_flush_rule: AtomicBool,
    syncs_every_append: AtomicBool,
    is_compacted: AtomicBool,
}

impl Settings {
    pub(super) fn new(config: &LogConfig) -> Self {
        let this = Self {
            is_synced: AtomicBool::new(true),
            has_flush_rule: AtomicBool::new(false),
            syncs_every_append: AtomicBool::new(false),
            is_compacted: AtomicBool::new(false),
        };
        this.change(config);
        this
    }

    /// The topic's configuration is another.
    pub(super) fn change(&self, config: &LogConfig) {
        let syncs_every_append = config.flush_messages == Some(1);
        let is_synced = config.durability == Durability::Synced || syncs_every_append;
        self.syncs_every_append.store(syncs_every_append, Ordering::Release);
        self.is_synced.store(is_synced, Ordering::Release);
        self.has_flush_rule.store(config.flush_messages.is_some(), Ordering::Release);
        self.is_compacted.store(config.cleanup.compact, Ordering::Release);
    }

    /// Whether only what is synced is committed.
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Acquire)
    }

    /// Whether appends may ask for a sync by their number (`flush.messages`).
    pub(super) fn has_flush_rule(&self) -> bool {
        self.has_flush_rule.load(Ordering::Relaxed)
    }

    /// Whether each append does (`flush.messages=1`).
    pub(super) fn syncs_every_append(&self) -> bool {
        self.syncs_every_append.load(Ordering::Acquire)
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.is_compacted.load(Ordering::Acquire)
    }
}
