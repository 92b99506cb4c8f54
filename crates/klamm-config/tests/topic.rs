//! Topic and group configs: typed, changed, described.

use klamm_config::{
    AlterOp, BrokerConfig, ChangeError, Cleanup, Compression, ConfigMap, ConfigSource, GroupConfig,
    Layers, Properties, Scope, altered, check_broker_change, check_change, check_topic_overrides,
    describe_topic,
};

fn map(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn broker(file: &str) -> BrokerConfig {
    let file = Properties::parse(file.as_bytes()).expect("the test writes valid properties");
    BrokerConfig::load(&file).expect("the test writes a valid file").config
}

#[test]
fn a_topics_own_values_win_over_the_brokers() {
    let defaults = broker("log.retention.hours=1\ncompression.gzip.level=7").topic_defaults;
    assert_eq!(defaults.with(&ConfigMap::new()), defaults);
    let own = map(&[
        ("retention.ms", "-1"),
        ("cleanup.policy", "compact, delete"),
        ("compression.type", "gzip"),
    ]);
    let topic = defaults.with(&own);
    assert_eq!(topic.retention_ms, None);
    assert_eq!(topic.cleanup, Cleanup { delete: true, compact: true });
    assert_eq!(topic.compression, Compression::Gzip(7));
    assert_eq!(topic.max_message_bytes, defaults.max_message_bytes);
}

#[test]
fn a_stored_value_that_is_no_longer_accepted_counts_as_not_set() {
    let defaults = broker("").topic_defaults;
    assert_eq!(defaults.with(&map(&[("segment.bytes", "1"), ("gone.key", "x")])), defaults);
    assert_eq!(defaults.with(&map(&[("internal.segment.bytes", "100")])).segment_bytes, 100);
}

#[test]
fn a_topic_with_bad_configs_is_refused_with_the_key_named() {
    let defaults = broker("").topic_defaults;
    for (pairs, part) in [
        (&[("no.such", "1")][..], "no.such"),
        (&[("retention.ms", "x")], "retention.ms"),
        (&[("retention.ms", "-2")], "[-1,...]"),
        (&[("cleanup.policy", "delete,delete")], "twice"),
        (&[("min.insync.replicas", "0")], "[1,...]"),
        (&[("min.cleanable.dirty.ratio", "1.5")], "min.cleanable.dirty.ratio"),
        (&[("compression.type", "rar")], "rar"),
        (&[("leader.replication.throttled.replicas", "a")], "partitionId"),
        (&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")], "is more than"),
        (&[("remote.storage.enable", "true")], "not built"),
        (&[("klamm.durability", "never")], "page-cache"),
    ] {
        let error = check_topic_overrides(&map(pairs), &defaults).unwrap_err().to_string();
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert_eq!(check_topic_overrides(&map(&[("cleanup.policy", "")]), &defaults), Ok(()));
}

#[test]
fn lists_are_appended_and_subtracted_from_what_holds_now() {
    let change = |op, value, current| {
        altered(Scope::Topic, ("cleanup.policy", op), Some(value), (current, Some("delete")))
    };
    assert_eq!(change(AlterOp::Append, "compact", None), Ok(Some("delete,compact".into())));
    assert_eq!(change(AlterOp::Append, "delete", None), Ok(Some("delete".into())));
    assert_eq!(
        change(AlterOp::Subtract, "delete", Some("compact,delete")),
        Ok(Some("compact".into()))
    );
    assert_eq!(change(AlterOp::Subtract, "compact", None), Ok(Some("delete".into())));
    assert!(matches!(change(AlterOp::Append, "x", None), Err(ChangeError::Value { .. })));
    let not_a_list =
        altered(Scope::Topic, ("retention.ms", AlterOp::Append), Some("1"), (None, None));
    assert_eq!(not_a_list, Err(ChangeError::NotAList("retention.ms".into())));
    let no_value = altered(Scope::Topic, ("retention.ms", AlterOp::Set), None, (None, None));
    assert!(matches!(no_value, Err(ChangeError::Value { .. })));
    let unknown = altered(Scope::Group, ("retention.ms", AlterOp::Set), Some("1"), (None, None));
    assert_eq!(unknown, Err(ChangeError::UnknownKey("retention.ms".into())));
    let gone = altered(Scope::Topic, ("gone.key", AlterOp::Delete), None, (Some("x"), None));
    assert_eq!(gone, Ok(None));
}

#[test]
fn broker_keys_change_only_where_kafka_lets_them() {
    let check = |scope, key| check_broker_change(scope, &map(&[(key, "1")])).is_ok();
    assert!(check(Scope::Cluster, "message.max.bytes"));
    assert!(check(Scope::Broker, "message.max.bytes"));
    assert!(check(Scope::Broker, "listeners"));
    assert!(!check(Scope::Cluster, "listeners"));
    assert!(!check(Scope::Broker, "num.partitions"));
}

#[test]
fn a_described_topic_key_names_every_layer() {
    let file = Properties::parse(b"log.retention.minutes=5").unwrap();
    let none = ConfigMap::new();
    let layers = Layers { per_broker: &none, cluster: &none, file: &file };
    let described = describe_topic(&layers, &map(&[("retention.bytes", "7")]));
    let of = |name: &str| described.iter().find(|c| c.name == name).unwrap();
    assert_eq!(of("retention.ms").value.as_deref(), Some("300000"));
    assert_eq!(of("retention.ms").source, ConfigSource::StaticBroker);
    assert_eq!(of("retention.ms").synonyms[0].name, "log.retention.minutes");
    assert_eq!(of("retention.bytes").source, ConfigSource::DynamicTopic);
    assert_eq!(of("retention.bytes").synonyms.len(), 2);
    assert_eq!(of("segment.ms").value.as_deref(), Some("604800000"));
    assert_eq!(of("segment.ms").source, ConfigSource::Default);
}

#[test]
fn a_group_stays_within_the_brokers_bounds() {
    let groups = broker("").groups;
    let own =
        map(&[("consumer.session.timeout.ms", "1"), ("consumer.heartbeat.interval.ms", "6000")]);
    let config = GroupConfig::new(&groups, &own);
    assert_eq!(config.consumer_session_timeout_ms, 45_000);
    assert_eq!(config.consumer_heartbeat_interval_ms, 6_000);
    assert_eq!(config.consumer_assignment_interval_ms, 1_000);
}

#[test]
fn a_change_that_promises_what_is_not_built_is_refused() {
    let check = |scope, name, value| check_change(scope, name, value).map_err(|e| e.to_string());
    assert_eq!(check(Scope::Topic, "retention.ms", "5"), Ok(()));
    assert_eq!(check(Scope::ClientMetrics, "interval.ms", "100"), Ok(()));
    for (scope, name, value, part) in [
        (Scope::Topic, "remote.storage.enable", "TRUE", "tiered storage"),
        (Scope::Broker, "ssl.keystore.location", "/x", "not built"),
        (Scope::Broker, "sasl.jaas.config", "secret-thing", "[hidden]"),
        (Scope::Cluster, "node.id", "5", "restart"),
        (Scope::Cluster, "listeners", "", "for each broker"),
        (Scope::ClientMetrics, "interval.ms", "99", "[100,...,3600000]"),
        (Scope::ClientMetrics, "retention.ms", "99", "unknown"),
        (Scope::Group, "share.auto.offset.reset", "by_duration:-P1D", "by_duration"),
    ] {
        let error = check(scope, name, value).unwrap_err();
        assert!(error.contains(part) && !error.contains("secret-thing"), "{error} lacks {part}");
    }
}
