//! The binary does what its commands say.

use serde_json::Value;

use crate::fixture::{Cluster, TempDir};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    let cluster = Cluster::start();
    let create = ["topic", "create", "orders", "-p", "3", "-c", "retention.ms=60000"];
    assert_eq!(cluster.klamm(&create), "created topic orders with 3 partitions and 1 replicas\n");
    assert!(cluster.klamm_fails(&create).contains("TOPIC_ALREADY_EXISTS"));
    cluster.klamm(&["topic", "create", "orders", "--if-not-exists"]);
    let listed = json(&cluster.klamm(&["topic", "list", "-o", "json"]));
    assert_eq!(listed[0]["name"], "orders");
    assert_eq!(listed[0]["partitions"], 3);

    let alter = ["topic", "alter", "orders", "--partitions", "5", "--set", "segment.bytes=2000000"];
    cluster.klamm(&alter);
    cluster.klamm(&["topic", "alter", "orders", "--unset", "retention.ms"]);
    let described = json(&cluster.klamm(&["topic", "describe", "orders", "-o", "json"]));
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 5);
    assert_eq!(described[0]["configs"], serde_json::json!({"segment.bytes": "2000000"}));
    let table = cluster.klamm(&["topic", "describe"]);
    assert!(table.contains("PARTITION") && table.contains("segment.bytes=2000000"), "{table}");

    for refused in [
        &["topic", "alter", "orders"][..],
        &["topic", "alter", "orders", "--partitions", "2"],
        &["topic", "alter", "orders", "--set", "no.such=1"],
        &["topic", "describe", "nothing"],
        &["topic", "delete", "nothing"],
        &["topic", "create", "a/b"],
    ] {
        assert!(cluster.klamm_fails(refused).starts_with("error: "), "{refused:?}");
    }
    cluster.klamm(&["topic", "delete", "orders"]);
    assert_eq!(json(&cluster.klamm(&["topic", "list", "-o", "json"])), serde_json::json!([]));
}

#[test]
fn lines_go_in_and_come_out() {
    let cluster = Cluster::start();
    cluster.klamm(&["topic", "create", "lines", "-p", "1"]);
    let produce = ["produce", "lines", "--key-separator", ":", "-H", "a=b", "-z", "lz4"];
    let produce: Vec<_> = produce.into_iter().chain(["--null-marker", "NULL"]).collect();
    let output = cluster.klamm_with_input(&produce, b"k1:v1\nk2:NULL\nk3:");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("produced 3 records, "), "{text}");
    let consume = ["consume", "lines", "--from-beginning", "-e", "-f", "%p/%o %k=%v %K %V %h\\n"];
    let expected = "0/0 k1=v1 2 2 a=b\n0/1 k2=null 2 -1 a=b\n0/2 k3= 2 0 a=b\n";
    assert_eq!(cluster.klamm(&consume), expected);
    let last = cluster.klamm(&["consume", "lines", "--offset", "-1", "-e", "-o", "json"]);
    assert_eq!(json(&last)["key"], "k3");
    let two = cluster.klamm(&["consume", "lines", "--offset", "1", "-n", "2", "-f", "%o "]);
    assert_eq!(two, "1 2 ");
    let failed = cluster.klamm_with_input(&["produce", "lines", "--key-separator", ":"], b"x\n");
    assert_eq!(failed.status.code(), Some(1));
    assert!(cluster.klamm_fails(&["consume", "nothing", "-e"]).contains("klamm topic list"));
}

#[test]
fn a_whole_file_is_one_record() {
    let cluster = Cluster::start();
    let dir = TempDir::new();
    let path = dir.0.join("file");
    std::fs::write(&path, b"a\nb\n\xff").unwrap();
    let path = path.to_str().unwrap();
    cluster.klamm(&["produce", "files", path, "--whole", "--acks", "1"]);
    let read = cluster.klamm(&["consume", "files", "--from-beginning", "-n", "1", "-o", "json"]);
    assert_eq!(json(&read)["value_hex"], "610a620aff");
}

#[test]
fn groups_are_listed_described_with_their_lag_and_deleted() {
    let cluster = Cluster::start();
    cluster.klamm(&["topic", "create", "read", "-p", "2"]);
    cluster.klamm_with_input(&["produce", "read", "-p", "1"], b"a\nb\nc\n");
    let consume = ["consume", "read", "-g", "readers", "--from-beginning", "-e"];
    assert_eq!(cluster.klamm(&consume), "a\nb\nc\n");
    cluster.klamm_with_input(&["produce", "read", "-p", "1"], b"d\ne\n");
    let listed = json(&cluster.klamm(&["group", "list", "-o", "json"]));
    assert_eq!(listed[0]["group"], "readers");
    let described = json(&cluster.klamm(&["group", "describe", "readers", "-o", "json"]));
    assert_eq!(described["state"], "Empty");
    let lagging = &described["partitions"][1];
    assert_eq!((&lagging["current_offset"], &lagging["lag"]), (&3.into(), &2.into()));
    assert_eq!(cluster.klamm(&consume), "d\ne\n");
    cluster.klamm(&["group", "delete", "readers"]);
    assert!(cluster.klamm_fails(&["group", "describe", "readers"]).contains("klamm group list"));
}

#[test]
fn configs_are_described_and_altered() {
    let cluster = Cluster::start();
    cluster.klamm(&["topic", "create", "set"]);
    let alter = ["config", "alter", "--topic", "set", "--set", "cleanup.policy=compact"];
    cluster.klamm(&alter);
    let describe = ["config", "describe", "--topic", "set", "-o", "json"];
    let described = json(&cluster.klamm(&describe));
    let found = described.as_array().unwrap().iter().find(|c| c["name"] == "cleanup.policy");
    assert_eq!(found.unwrap()["value"], "compact");
    assert_eq!(found.unwrap()["source"], "topic");
    let all = cluster.klamm(&["config", "describe", "--broker", "1", "--all"]);
    assert!(all.contains("num.partitions"), "{all}");
    for refused in [
        &["config", "alter", "--topic", "set"][..],
        &["config", "alter", "--topic", "set", "--set", "cleanup.policy=burn"],
        &["config", "describe", "--broker", "x"],
        &["config", "describe", "--topic", "nothing"],
    ] {
        cluster.klamm_fails(refused);
    }
}

#[test]
fn a_log_is_dumped_with_its_records() {
    let cluster = Cluster::start();
    cluster.klamm(&["topic", "create", "dumped", "-p", "1"]);
    cluster.klamm_with_input(&["produce", "dumped", "-z", "gzip"], b"a\nb\n");
    let dump = |path: &str, more: &[&str]| {
        let path = cluster.data_dir().join(path);
        let mut arguments = vec!["log", "dump", path.to_str().unwrap()];
        arguments.extend(more);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_klamm"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = dump("dumped-0/00000000000000000000.log", &["--values", "-o", "json"]);
    let facts: Vec<Value> = text.lines().map(json).collect();
    assert_eq!(facts.len(), 3, "{text}");
    assert_eq!((&facts[0]["records"], &facts[0]["crc"]), (&2.into(), &"valid".into()));
    assert_eq!((&facts[2]["offset"], &facts[2]["value"]), (&1.into(), &"b".into()));
    let text = dump("__cluster_metadata-0/00000000000000000000.log", &[]);
    assert!(text.contains("TopicRecord") && text.contains("LeaderChange"), "{text}");
    let text = dump("bootstrap.checkpoint", &[]);
    assert!(text.contains("metadata.version"), "{text}");
    let text = dump("dumped-0/leader-epoch-checkpoint", &[]);
    assert!(text.contains("leader_epoch=0 start_offset=0"), "{text}");
}

#[test]
fn a_broker_that_does_not_answer_is_named_with_a_cure() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["topic", "list", "-b", "127.0.0.1:1"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("127.0.0.1:1") && error.contains("klamm start"), "{error}");
}
