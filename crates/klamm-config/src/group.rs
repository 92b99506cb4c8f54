//! One group's configuration, typed: its own values over the broker's.

use crate::{ConfigMap, GroupsConfig, group_key};

/// What a consumer group can set for itself, within the broker's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupConfig {
    /// consumer.assignment.interval.ms.
    pub consumer_assignment_interval_ms: i32,
    /// consumer.heartbeat.interval.ms.
    pub consumer_heartbeat_interval_ms: i32,
    /// consumer.session.timeout.ms.
    pub consumer_session_timeout_ms: i32,
}

impl GroupConfig {
    /// A group's own values over the broker's, kept within the broker's bounds: these may have
    /// been narrowed after the group was configured.
    #[must_use]
    pub fn new(broker: &GroupsConfig, overrides: &ConfigMap) -> Self {
        let own = |name: &str| -> Option<i32> {
            group_key(name)?.check(overrides.get(name)?).ok()?.parse().ok()
        };
        let within = |name: &str, default: i32, min: i32, max: i32| {
            own(name).map_or(default, |value| value.max(min).min(max))
        };
        Self {
            consumer_assignment_interval_ms: within(
                "consumer.assignment.interval.ms",
                broker.consumer_assignment_interval_ms,
                broker.consumer_min_assignment_interval_ms,
                broker.consumer_max_assignment_interval_ms,
            ),
            consumer_heartbeat_interval_ms: within(
                "consumer.heartbeat.interval.ms",
                broker.consumer_heartbeat_interval_ms,
                broker.consumer_min_heartbeat_interval_ms,
                broker.consumer_max_heartbeat_interval_ms,
            ),
            consumer_session_timeout_ms: within(
                "consumer.session.timeout.ms",
                broker.consumer_session_timeout_ms,
                broker.consumer_min_session_timeout_ms,
                broker.consumer_max_session_timeout_ms,
            ),
        }
    }
}
