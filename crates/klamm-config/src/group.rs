//! One group's configuration, typed: its own values over the broker's.

use crate::{ConfigMap, GroupsConfig, Properties, broker_key, group_key};

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

/// Checks what a group sets for itself: each value within the broker's bounds, and sessions longer
/// than heartbeats (Kafka: `GroupConfig.validate`). Bounds change only with a restart, so that
/// the broker's file says them.
///
/// # Errors
/// What is wrong, in Kafka's words.
pub fn check_group(own: &ConfigMap, file: &Properties) -> Result<(), String> {
    for (name, text) in own {
        // What is no number has no bounds.
        let Ok(value) = text.parse::<i64>() else { continue };
        let (least, most) = bounds(name);
        if given(file, &least).is_some_and(|bound| value < bound) {
            return Err(format!("{name} must be greater than or equal to {least}"));
        }
        if given(file, &most).is_some_and(|bound| value > bound) {
            return Err(format!("{name} must be less than or equal to {most}"));
        }
    }
    ["consumer", "share", "streams"].iter().try_for_each(|kind| check_session(kind, own, file))
}

fn check_session(kind: &str, own: &ConfigMap, file: &Properties) -> Result<(), String> {
    let value = |name: &str| {
        let set = own.get(name).and_then(|text| text.parse().ok());
        set.or_else(|| given(file, &format!("group.{name}")))
    };
    let session = format!("{kind}.session.timeout.ms");
    let heartbeat = format!("{kind}.heartbeat.interval.ms");
    match (value(&session), value(&heartbeat)) {
        (Some(longer), Some(shorter)) if longer <= shorter => {
            Err(format!("{session} must be greater than {heartbeat}"))
        }
        _ => Ok(()),
    }
}

/// The broker's keys that bound a group's; they need not exist.
fn bounds(name: &str) -> (String, String) {
    let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
    let most = match name {
        "streams.num.standby.replicas" => "group.streams.max.standby.replicas".to_owned(),
        _ => format!("group.{kind}.max.{rest}"),
    };
    (format!("group.{kind}.min.{rest}"), most)
}

/// A number of the broker's, if there is such a key.
fn given(file: &Properties, name: &str) -> Option<i64> {
    let key = broker_key(name)?;
    file.value(name).or(key.default.value())?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[(&str, &str)], own: &[(&str, &str)]) -> Result<(), String> {
        let mut properties = Properties::default();
        file.iter().for_each(|(name, value)| properties.set(*name, *value));
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        check_group(&own.collect(), &properties)
    }

    /// What Kafka 4.3.1 with its defaults refuses: a value, and which bound it is beyond.
    const REFUSED: [(&str, &str, &str); 15] = [
        ("consumer.session.timeout.ms", "44999", "least"),
        ("consumer.session.timeout.ms", "60001", "most"),
        ("consumer.heartbeat.interval.ms", "4999", "least"),
        ("consumer.heartbeat.interval.ms", "15001", "most"),
        ("consumer.assignment.interval.ms", "15001", "most"),
        ("share.session.timeout.ms", "1", "least"),
        ("share.record.lock.duration.ms", "1000", "least"),
        ("share.record.lock.duration.ms", "999999", "most"),
        ("share.delivery.count.limit", "11", "most"),
        ("share.heartbeat.interval.ms", "1", "least"),
        ("share.partition.max.record.locks", "100000", "most"),
        ("streams.session.timeout.ms", "1", "least"),
        ("streams.heartbeat.interval.ms", "1", "least"),
        ("streams.num.standby.replicas", "5", "most"),
        ("streams.assignment.interval.ms", "99999", "most"),
    ];

    #[test]
    fn a_value_outside_of_the_brokers_bounds_is_refused_as_kafka_does() {
        for (name, value, side) in REFUSED {
            let (least, most) = bounds(name);
            let expected = match side {
                "least" => format!("{name} must be greater than or equal to {least}"),
                _ => format!("{name} must be less than or equal to {most}"),
            };
            assert_eq!(check(&[], &[(name, value)]), Err(expected));
        }
        for (name, value) in [
            ("consumer.session.timeout.ms", "45000"),
            ("consumer.heartbeat.interval.ms", "6000"),
            ("consumer.assignment.interval.ms", "0"),
            ("share.session.timeout.ms", "50000"),
            ("share.auto.offset.reset", "by_duration:P1D"),
            ("streams.num.standby.replicas", "1"),
            ("streams.initial.rebalance.delay.ms", "1"),
        ] {
            assert_eq!(check(&[], &[(name, value)]), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn bounds_are_those_of_the_brokers_file() {
        let file = [("group.consumer.min.session.timeout.ms", "6000")];
        assert_eq!(check(&file, &[("consumer.session.timeout.ms", "6000")]), Ok(()));
        assert!(check(&file, &[("consumer.session.timeout.ms", "5999")]).is_err());
    }

    #[test]
    fn a_session_is_longer_than_a_heartbeat_whoever_sets_which() {
        let file = [("group.consumer.min.session.timeout.ms", "1000")];
        let message =
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        let refused = check(&file, &[("consumer.session.timeout.ms", "5000")]);
        assert_eq!(refused, Err(message.to_owned()), "the broker's heartbeats are 5,000 ms apart");
        let both =
            [("consumer.session.timeout.ms", "6000"), ("consumer.heartbeat.interval.ms", "6000")];
        assert_eq!(check(&file, &both), Err(message.to_owned()));
        assert_eq!(check(&file, &both[..1]), Ok(()));
    }
}
