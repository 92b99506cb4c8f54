//! The broker's bounds for classic groups.

/// What the broker's configuration says about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`.
    pub members_max: usize,
}

impl Limits {
    /// Whether a classic member may ask for this session timeout.
    pub(crate) fn allow_session(&self, session_timeout_ms: i32) -> bool {
        (self.session_timeout_ms_min..=self.session_timeout_ms_max).contains(&session_timeout_ms)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
        }
    }
}
