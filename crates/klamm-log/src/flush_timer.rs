//! When `flush.messages` and `flush.ms` ask for a sync. Decides only.

use klamm_model::Timestamp;

use crate::config::LogConfig;

/// What was appended, and how long ago, since somebody was asked to sync it.
#[derive(Debug)]
pub(crate) struct FlushTimer {
    messages: u64,
    /// When `flush.ms` last asked for a sync, or the log was opened.
    asked_at: Timestamp,
}

impl FlushTimer {
    pub(crate) fn new(wall: Timestamp) -> Self {
        Self { messages: 0, asked_at: wall }
    }

    pub(crate) fn on_appended(&mut self, messages: u32) {
        self.messages += u64::from(messages);
    }

    /// Whether so many messages ask for a sync (`flush.messages`).
    pub(crate) fn are_messages_due(&self, config: &LogConfig) -> bool {
        config.flush_messages.is_some_and(|n| self.messages >= n)
    }

    /// Whether it is `flush.ms` ago that it last asked.
    pub(crate) fn is_time_due(&self, config: &LogConfig, wall: Timestamp) -> bool {
        let Some(flush_ms) = config.flush_ms else { return false };
        let since_ms = wall.0.saturating_sub(self.asked_at.0);
        // A clock that was set back does not put the sync off.
        u64::try_from(since_ms).map_or(true, |since_ms| since_ms >= flush_ms)
    }

    /// Time has asked for a sync.
    pub(crate) fn on_asked(&mut self, wall: Timestamp) {
        self.asked_at = wall;
    }

    /// Everything that was appended will be synced.
    pub(crate) fn on_ticket(&mut self) {
        self.messages = 0;
    }
}
