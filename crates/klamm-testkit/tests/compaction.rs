//! Compacted topics of a live broker, written and read by kcat and a raw client.

use std::collections::BTreeMap;
use std::path::PathBuf;

use klamm_testkit::{Broker, BrokerOptions, Client, StoredRecord, Tools, WAIT_MAX, wait_until};

/// A broker that compacts as soon as there is anything to compact.
fn start(name: &str) -> Broker {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "1")
        .with("log.cleaner.backoff.ms", "50");
    Broker::start_with(name, options)
}

/// Every append begins a segment, and every sealed segment is compacted.
const EAGER: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.ms", "1"), ("min.cleanable.dirty.ratio", "0.001")];

/// Writes `key:value` lines; a line without a value is a tombstone.
fn produce(broker: &Broker, topic: &str, lines: &str) {
    let bootstrap = broker.bootstrap();
    let args = ["-b", &bootstrap, "-q", "-P", "-t", topic, "-p", "0", "-K", ":", "-Z"];
    Tools::kcat(&args, lines.as_bytes()).ok();
}

fn text(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or("deleted".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn read(client: &mut Client, topic: &str) -> Vec<(String, String)> {
    let pair = |r: &StoredRecord| (text(r.key.as_ref()), text(r.value.as_ref()));
    let records = client.fetch_all(topic, 0, 0);
    assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    records.iter().map(pair).collect()
}

/// Writes under a key of its own until the topic is what it should be. Each write seals what was
/// written before.
#[track_caller]
fn wait_for(broker: &Broker, topic: &str, is_done: impl Fn(&[(String, String)]) -> bool) {
    let mut client = broker.client();
    wait_until(&format!("{topic} to be compacted"), WAIT_MAX, || {
        produce(broker, topic, "ticks:1\n");
        is_done(&read(&mut client, topic)).then_some(())
    });
}

fn count(rows: &[(String, String)], key: &str) -> usize {
    rows.iter().filter(|row| row.0 == key).count()
}

#[test]
fn keys_that_are_written_again_and_again_stay_once_and_deleted_ones_go() {
    let broker = start("compaction-keys");
    let configs = [&EAGER[..], &[("delete.retention.ms", "300")]].concat();
    broker.client().create_topic("keyed", 1, &configs);
    for round in 0..5 {
        let lines: String = (0..100).map(|key| format!("key{key}:round {round}\n")).collect();
        produce(&broker, "keyed", &lines);
    }
    let deleted: String = (0..50).map(|key| format!("key{key}:\n")).collect();
    produce(&broker, "keyed", &deleted);
    wait_for(&broker, "keyed", |rows| (50..100).all(|key| count(rows, &format!("key{key}")) == 1));
    wait_for(&broker, "keyed", |rows| (0..50).all(|key| count(rows, &format!("key{key}")) == 0));
    let rows = read(&mut broker.client(), "keyed");
    let left: BTreeMap<_, _> = rows.into_iter().filter(|row| row.0 != "ticks").collect();
    assert_eq!(left.len(), 50);
    assert!(left.values().all(|value| value == "round 4"), "{left:?}");
}

#[test]
fn a_policy_that_changes_while_the_broker_runs_acts_at_once() {
    let broker = start("compaction-live");
    broker.client().create_topic("live", 1, &[("segment.ms", "1")]);
    for round in 0..3 {
        produce(&broker, "live", &format!("a:{round}\n"));
    }
    assert_eq!(count(&read(&mut broker.client(), "live"), "a"), 3);
    let bootstrap = broker.bootstrap();
    let alter = [
        "--bootstrap-server",
        &bootstrap,
        "--entity-type",
        "topics",
        "--entity-name",
        "live",
        "--alter",
        "--add-config",
        "cleanup.policy=compact,min.cleanable.dirty.ratio=0.001",
    ];
    Tools::kafka("kafka.admin.ConfigCommand", &alter, b"").ok();
    wait_for(&broker, "live", |rows| count(rows, "a") == 1);
}

#[test]
fn what_was_cleaned_is_remembered_over_a_restart_and_committed_offsets_survive_it() {
    let mut broker = start("compaction-restart");
    broker.client().create_topic("keyed", 1, &EAGER);
    produce(&broker, "keyed", "a:1\na:2\na:3\n");
    wait_for(&broker, "keyed", |rows| count(rows, "a") == 1);
    let bootstrap = broker.bootstrap();
    let alter = [
        "--bootstrap-server",
        &bootstrap,
        "--entity-type",
        "topics",
        "--entity-name",
        "__consumer_offsets",
        "--alter",
        "--add-config",
        "segment.ms=1,min.cleanable.dirty.ratio=0.001",
    ];
    let consume = |n: &str| {
        let earliest = ["-X", "auto.offset.reset=earliest"];
        let args = ["-b", &bootstrap, "-q", "-G", "readers", "-c", n, "keyed"];
        Tools::kcat(&[&earliest[..], &args].concat(), b"").ok().text()
    };
    assert_eq!(consume("1").trim(), "3");
    Tools::kafka("kafka.admin.ConfigCommand", &alter, b"").ok();
    for round in 0..6 {
        produce(&broker, "keyed", &format!("b{round}:{round}\n"));
        consume("1");
    }
    let offsets = |broker: &Broker| -> Vec<PathBuf> {
        let dir = broker.log_dir().join("__consumer_offsets-0");
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
    };
    let checkpoint = broker.log_dir().join("cleaner-offset-checkpoint");
    wait_until("the offsets topic to be compacted", WAIT_MAX, || {
        let text = std::fs::read_to_string(&checkpoint).ok()?;
        text.contains("__consumer_offsets 0 ").then_some(())
    });
    assert!(offsets(&broker).len() >= 2);
    broker.terminate();
    let before = std::fs::read_to_string(&checkpoint).unwrap();
    assert!(before.starts_with("0\n2\n") && before.contains("keyed 0 "), "{before}");
    broker.start_again();
    let end = broker.client().end_offset("keyed", 0);
    let describe = ["--bootstrap-server", &bootstrap, "--describe", "--group", "readers"];
    let groups = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let told = Tools::kafka(groups, &describe, b"").ok().text();
    let line = told.lines().find(|line| line.starts_with("readers")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let committed: i64 = words[3].parse().unwrap();
    assert!(committed > 3 && committed <= end, "{told}");
    assert_eq!(count(&read(&mut broker.client(), "keyed"), "a"), 1);
}

#[test]
fn threads_and_their_rest_follow_the_dynamic_configs() {
    let options = BrokerOptions::default()
        .with("log.cleaner.threads", "0")
        .with("log.cleaner.backoff.ms", "3600000");
    let broker = Broker::start_with("compaction-dynamic", options);
    broker.client().create_topic("keyed", 1, &EAGER);
    produce(&broker, "keyed", "a:1\na:2\na:3\n");
    let alter = |configs: &str| {
        let bootstrap = broker.bootstrap();
        let brokers = ["--bootstrap-server", &bootstrap, "--entity-type", "brokers"];
        let change = ["--entity-default", "--alter", "--add-config", configs];
        let args = [&brokers[..], &change].concat();
        Tools::kafka("kafka.admin.ConfigCommand", &args, b"").ok();
    };
    // A thread begins, looks once, and rests for an hour.
    alter("log.cleaner.threads=1");
    alter("log.cleaner.backoff.ms=50");
    wait_for(&broker, "keyed", |rows| count(rows, "a") == 1);
}
