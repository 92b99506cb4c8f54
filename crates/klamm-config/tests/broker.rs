//! What a node's file may say, and what stops its start.

use klamm_config::{
    BrokerConfig, ConfigMap, ConfigSource, Durability, Layers, Loaded, Properties, describe_broker,
};
use klamm_model::NodeId;

fn load(file: &str) -> Result<Loaded, String> {
    let properties = Properties::parse(file.as_bytes()).expect("the test writes properties");
    BrokerConfig::load(&properties).map_err(|errors| errors.to_string())
}

fn loaded(file: &str) -> Loaded {
    load(file).unwrap_or_else(|errors| panic!("{file:?}: {errors}"))
}

fn check_refused(file: &str, parts: &[&str]) {
    let error = load(file).expect_err(file);
    for part in parts {
        assert!(error.contains(part), "{file:?} gave {error:?} without {part:?}");
    }
}

#[test]
fn nothing_at_all_is_a_whole_configuration() {
    let Loaded { config, warnings } = loaded("");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.node.node_id, NodeId(1));
    assert!(config.node.roles.broker && config.node.roles.controller);
    assert_eq!(config.node.log_dirs, ["./klamm-data"].map(std::path::PathBuf::from));
    let shown: Vec<_> = config.listeners.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["PLAINTEXT://127.0.0.1:9092", "CONTROLLER://127.0.0.1:9093"]);
    assert_eq!(config.listeners.advertised.len(), 1);
    assert_eq!(config.listeners.inter_broker.unwrap().0, "PLAINTEXT");
    assert_eq!(config.metrics[0].port, 9644);
    assert!(!config.metrics[0].required);
    assert_eq!(config.network.worker_threads, None);
    assert_eq!(config.topic_defaults.retention_ms, Some(604_800_000));
    assert_eq!(config.topic_defaults.segment_ms, 604_800_000);
    assert_eq!(config.topic_defaults.flush_ms, i64::MAX);
    assert_eq!(config.topic_defaults.durability, Durability::Synced);
    assert_eq!(config.offsets_topic.partitions, 50);
}

/// The keys of a combined node's file as Kafka's distribution has them.
const COMBINED: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.bootstrap.servers=localhost:9093\n\
    listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
    inter.broker.listener.name=PLAINTEXT\n\
    advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
    controller.listener.names=CONTROLLER\n\
    listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
    num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
    log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=2\n\
    offsets.topic.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\n\
    transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
    log.retention.hours=168\nlog.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n";

#[test]
fn kafkas_combined_example_loads_once_open_listeners_are_allowed() {
    check_refused(COMBINED, &["PLAINTEXT://:9092", "klamm.allow.insecure.listeners=true"]);
    let all = format!("{COMBINED}klamm.allow.insecure.listeners=true");
    let Loaded { config, warnings } = loaded(&all);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("share.coordinator.state.topic.replication.factor"));
    assert_eq!(config.network.worker_threads, Some(3));
    assert_eq!(config.offsets_topic.replication_factor, 1);
    assert_eq!(config.listeners.broker().count(), 1);
    assert_eq!(config.listeners.advertised.len(), 2);
}

#[test]
fn a_wrong_value_names_key_value_and_reason() {
    for (file, parts) in [
        ("num.partitions=zero", ["num.partitions", "zero", "32-bit"]),
        ("num.partitions=0", ["num.partitions", "'0'", "[1,...]"]),
        ("node.id=-1", ["node.id", "'-1'", "[0,...]"]),
        ("process.roles=boss", ["process.roles", "boss", "[broker, controller]"]),
        ("log.cleanup.policy=shred", ["log.cleanup.policy", "shred", "compact"]),
        ("log.segment.bytes=1024", ["log.segment.bytes", "1024", "[1048576,...]"]),
        ("auto.create.topics.enable=1", ["auto.create.topics.enable", "'1'", "true or false"]),
        (
            "max.connections.per.ip.overrides=a",
            ["max.connections.per.ip.overrides", "a", "host:limit"],
        ),
        (
            "socket.request.max.bytes=99999999999",
            ["socket.request.max.bytes", "99999999999", "32-bit"],
        ),
        ("klamm.log.durability=perhaps", ["klamm.log.durability", "perhaps", "synced"]),
        ("connection.failed.authentication.delay.ms=x", ["connection.failed", "'x'", "32-bit"]),
        (
            "klamm.metrics.listeners=127.0.0.1:1",
            ["klamm.metrics.listeners", "127.0.0.1:1", "http://"],
        ),
        ("offsets.topic.compression.codec=9", ["offsets.topic.compression.codec", "9", "0 to 4"]),
        ("log.retention.ms=0", ["log.retention.ms", "'0'", "-1"]),
    ] {
        check_refused(file, &parts);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    check_refused(
        "num.partitions=0\nnode.id=x\nlog.roll.ms=y",
        &["num.partitions", "node.id", "log.roll.ms"],
    );
}

#[test]
fn listeners_that_cannot_work_are_refused() {
    for (file, part) in [
        ("listeners=", "at least one"),
        ("listeners=9092", "NAME://host:port"),
        ("listeners=PLAINTEXT://127.0.0.1", "NAME://host:port"),
        ("listeners=PLAINTEXT://127.0.0.1:70000", "NAME://host:port"),
        ("listeners=PLAINTEXT://[::1:9092", "NAME://host:port"),
        ("listeners=PLAINTEXT://a b:9092", "NAME://host:port"),
        ("listeners=FOO://127.0.0.1:1,CONTROLLER://127.0.0.1:2", "listener.security.protocol.map"),
        ("listeners=PLAINTEXT://127.0.0.1:1,PLAINTEXT://127.0.0.1:2", "the name PLAINTEXT"),
        ("listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:1", "the same port"),
        ("listeners=PLAINTEXT://127.0.0.1:1", "controller.listener.names"),
        ("listeners=CONTROLLER://127.0.0.1:1", "a broker needs one"),
        ("controller.listener.names=", "at least one name"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "cannot connect to 0.0.0.0"),
        ("listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:1", "set advertised.listeners"),
        (
            "advertised.listeners=OTHER://h:9092\nlistener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "OTHER is not in listeners",
        ),
        ("inter.broker.listener.name=X", "not one of the advertised"),
        (
            "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
            "both set",
        ),
        (
            "process.roles=broker\ncontroller.quorum.bootstrap.servers=a:1",
            "only a broker cannot listen",
        ),
        ("process.roles=controller", "only a controller has only controller listeners"),
    ] {
        check_refused(file, &[part]);
    }
}

#[test]
fn port_zero_may_be_asked_for_twice_and_ip_versions_share_a_port() {
    loaded("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
    let config = loaded(
        "listeners=PLAINTEXT://127.0.0.1:9092,A://[::1]:9092,CONTROLLER://localhost:1\n\
        listener.security.protocol.map=PLAINTEXT:PLAINTEXT,A:PLAINTEXT,CONTROLLER:PLAINTEXT",
    )
    .config;
    assert_eq!(config.listeners.listeners[1].to_string(), "A://[::1]:9092");
}

#[test]
fn an_open_listener_needs_permission_and_loopback_needs_none() {
    for host in ["", "0.0.0.0", "10.0.0.1", "broker.example", "[::]"] {
        let file = format!(
            "listeners=PLAINTEXT://{host}:9092,CONTROLLER://127.0.0.1:9093\n\
             advertised.listeners=PLAINTEXT://broker.example:9092"
        );
        check_refused(&file, &["klamm.allow.insecure.listeners=true"]);
        loaded(&format!("{file}\nklamm.allow.insecure.listeners=true"));
    }
    check_refused("klamm.metrics.listeners=http://0.0.0.0:1", &["klamm.allow.insecure.listeners"]);
    for host in ["localhost", "127.1.2.3", "[::1]"] {
        loaded(&format!("listeners=PLAINTEXT://{host}:9092,CONTROLLER://127.0.0.1:9093"));
    }
}

#[test]
fn protection_that_is_not_built_stops_the_start() {
    for file in [
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:admin",
        "ssl.keystore.location=/x",
        "ssl.truststore.certificates=x",
        "ssl.client.auth=required",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.jaas.config=secret-thing",
        "delegation.token.secret.key=secret-thing",
        "listener.name.plaintext.ssl.keystore.location=/x",
        "listener.name.plaintext.plain.sasl.jaas.config=secret-thing",
        "listeners=SSL://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        "listeners=SASL_SSL://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    ] {
        check_refused(file, &["less protected"]);
        assert!(!load(file).unwrap_err().contains("secret-thing"), "{file}");
    }
    check_refused("config.providers=file", &["config providers are not built"]);
}

#[test]
fn keys_that_are_unknown_or_without_effect_are_told() {
    let warnings = loaded("no.such.key=1\nnum.io.threads=9\nnum.replica.fetchers=1").warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("no.such.key"));
    assert!(warnings[1].contains("num.io.threads"));
}

#[test]
fn what_kafka_starts_with_and_only_doubts_is_a_warning() {
    let warnings = loaded("broker.heartbeat.interval.ms=5000").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("half of broker.session.timeout.ms (9000)"), "{warnings:?}");
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (file, part) in [
        ("node.id=1\nbroker.id=2", "must agree"),
        ("group.min.session.timeout.ms=9\ngroup.max.session.timeout.ms=8", "is more than"),
        ("group.consumer.session.timeout.ms=70000", "group.consumer.max.session.timeout.ms"),
        ("queued.max.request.bytes=1", "socket.request.max.bytes"),
        ("max.connections.per.ip=0", "max.connections.per.ip.overrides"),
        ("cordoned.log.dirs=/x", "not in log.dirs"),
        ("log.cleaner.dedupe.buffer.size=1", "1 MiB per thread"),
        (
            "log.cleaner.min.compaction.lag.ms=5\nlog.cleaner.max.compaction.lag.ms=4",
            "is more than",
        ),
        ("controller.quorum.voters=2@h:1", "not among them"),
        ("controller.quorum.voters=1@h:1,1@h:2", "named twice"),
        ("controller.quorum.voters=1@h", "id@host:port"),
        ("controller.quorum.bootstrap.servers=h", "host:port"),
        (
            "process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:1",
            "controller.quorum.bootstrap.servers",
        ),
        ("log.dirs=", "at least one directory"),
        ("log.dirs=a,,b", "none may be empty"),
        ("log.dirs=a,a", "twice"),
    ] {
        check_refused(file, &[part]);
    }
}

#[test]
fn the_finer_unit_wins_and_the_coarser_is_converted() {
    let retention = |file| loaded(file).config.topic_defaults.retention_ms;
    assert_eq!(retention("log.retention.hours=1"), Some(3_600_000));
    assert_eq!(retention("log.retention.hours=1\nlog.retention.minutes=1"), Some(60_000));
    assert_eq!(retention("log.retention.minutes=1\nlog.retention.ms=5"), Some(5));
    assert_eq!(retention("log.retention.hours=-1"), None);
    assert_eq!(loaded("log.roll.hours=2").config.topic_defaults.segment_ms, 7_200_000);
    let flush = loaded("log.flush.scheduler.interval.ms=7").config.topic_defaults.flush_ms;
    assert_eq!(flush, 7);
}

#[test]
fn what_is_set_while_running_wins_over_the_file() {
    let file = Properties::parse(b"message.max.bytes=1\nnum.partitions=3").unwrap();
    let map = |pairs: &[(&str, &str)]| -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let cluster = map(&[("message.max.bytes", "2"), ("log.retention.ms", "9")]);
    let per_broker = map(&[("message.max.bytes", "3"), ("log.roll.ms", "garbage")]);
    let layers = Layers { per_broker: &per_broker, cluster: &cluster, file: &file };
    let Loaded { config, warnings } = BrokerConfig::load_layers(&layers).unwrap();
    assert_eq!(config.topic_defaults.max_message_bytes, 3);
    assert_eq!(config.topic_defaults.retention_ms, Some(9));
    assert_eq!(config.topic_defaults.segment_ms, 604_800_000);
    assert_eq!(warnings.len(), 1);
    let described = describe_broker(&layers);
    let of = |name: &str| described.iter().find(|c| c.name == name).unwrap();
    let sources: Vec<_> = of("message.max.bytes").synonyms.iter().map(|s| s.source).collect();
    let expected = [
        ConfigSource::DynamicBroker,
        ConfigSource::DynamicDefaultBroker,
        ConfigSource::StaticBroker,
        ConfigSource::Default,
    ];
    assert_eq!(sources, expected);
    assert_eq!(of("message.max.bytes").value.as_deref(), Some("3"));
    assert_eq!(of("num.partitions").source, ConfigSource::StaticBroker);
    assert!(of("num.partitions").read_only);
    assert_eq!(of("ssl.key.password").value, None);
    assert!(of("ssl.key.password").sensitive);
}
