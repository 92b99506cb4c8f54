//! `klamm group`: every way to say where a group goes on, and what else changes groups.

use bytes::Bytes;
use klamm_client::{GroupConsumer, GroupOptions, Producer, ProducerOptions, ProducerRecord};
use klamm_model::{Offset, Timestamp, TopicPartition};
use serde_json::Value;

use crate::fixture::{Cluster, PATIENCE, TempDir, create, run};

/// The time of the record at offset n is this and n minutes.
const FIRST_AT: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;
const RECORDS: i64 = 10;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Topics `a` (two partitions) and `b`, ten records in each partition; the group `g` has read
/// four of `a-0`.
fn cluster() -> Cluster {
    let cluster = Cluster::start();
    run(async {
        let client = cluster.client();
        create(&client, "a", 2).await;
        create(&client, "b", 1).await;
        let producer = Producer::new(client.clone(), ProducerOptions::default()).unwrap();
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            for i in 0..RECORDS {
                let record = ProducerRecord {
                    topic: topic.into(),
                    partition: Some(partition),
                    timestamp: Some(Timestamp(FIRST_AT + i * MINUTE)),
                    value: Some(Bytes::from_static(b"v")),
                    ..ProducerRecord::default()
                };
                producer.send(record).await.unwrap();
            }
        }
        producer.flush().await.unwrap();
        let committed = [(TopicPartition::new("a", 0), Offset(4))];
        client.set_group_offsets(&"g".into(), &committed).await.unwrap();
    });
    cluster
}

/// What a reset would do, or did: partitions with their new offsets.
fn reset(cluster: &Cluster, arguments: &[&str]) -> Vec<(String, i64)> {
    let command = [&["group", "reset", "g", "-o", "json"], arguments].concat();
    let report = json(&cluster.klamm(&command));
    assert_eq!(report["executed"], arguments.contains(&"--execute"));
    let lines = report["partitions"].as_array().unwrap().iter();
    lines
        .map(|line| {
            let name = format!("{}-{}", line["topic"].as_str().unwrap(), line["partition"]);
            (name, line["new_offset"].as_i64().unwrap())
        })
        .collect()
}

fn committed(cluster: &Cluster) -> Vec<(String, i64)> {
    let offsets = json(&cluster.klamm(&["group", "offsets", "g", "-o", "json"]));
    let lines = offsets.as_array().unwrap().iter();
    lines
        .map(|line| {
            let name = format!("{}-{}", line["topic"].as_str().unwrap(), line["partition"]);
            (name, line["current_offset"].as_i64().unwrap())
        })
        .collect()
}

fn one(name: &str, offset: i64) -> Vec<(String, i64)> {
    vec![(name.to_owned(), offset)]
}

#[test]
fn a_reset_is_only_shown_until_it_is_to_be_executed() {
    let cluster = cluster();
    let to_start = ["--topic", "a:0", "--to-earliest"];
    assert_eq!(reset(&cluster, &to_start), one("a-0", 0));
    assert_eq!(committed(&cluster), one("a-0", 4));
    let table = cluster.klamm(&[&["group", "reset", "g"], &to_start[..]].concat());
    assert!(table.contains("--execute"), "{table}");
    assert_eq!(reset(&cluster, &[&to_start[..], &["--execute"]].concat()), one("a-0", 0));
    assert_eq!(committed(&cluster), one("a-0", 0));
}

#[test]
fn a_group_is_reset_to_an_end_an_offset_or_by_a_shift() {
    let cluster = cluster();
    for (target, offset) in [
        (&["--to-earliest"][..], 0),
        (&["--to-latest"], 10),
        (&["--to-current"], 4),
        (&["--to-offset", "7"], 7),
        (&["--to-offset", "99"], 10),
        (&["--shift-by", "3"], 7),
        (&["--shift-by", "-3"], 1),
        (&["--shift-by", "-99"], 0),
    ] {
        let arguments = [&["--topic", "a:0"], target].concat();
        assert_eq!(reset(&cluster, &arguments), one("a-0", offset), "{target:?}");
    }
}

#[test]
fn a_group_is_reset_to_a_time_or_by_a_duration() {
    let cluster = cluster();
    let now = cluster.client().env().clock.wall().0;
    // Between the records at the offsets 5 and 6.
    let age_s = (now - FIRST_AT) / 1000 - 5 * 60 - 30;
    for (target, offset) in [
        (&["--to-datetime", "2023-11-14T22:18:20.000"][..], 5),
        (&["--to-datetime", "2023-11-15T00:18:20.001+02:00"], 6),
        (&["--to-datetime", "2023-11-14"], 0),
        (&["--to-datetime", "2040-01-01"], 10),
        (&["--by-duration", &format!("{age_s}s")], 6),
        (&["--by-duration", &format!("PT{age_s}S")], 6),
        (&["--by-duration", "PT0S"], 10),
    ] {
        let arguments = [&["--topic", "a:0"], target].concat();
        assert_eq!(reset(&cluster, &arguments), one("a-0", offset), "{target:?}");
    }
}

#[test]
fn topics_partitions_and_all_topics_say_where_it_is_reset() {
    let cluster = cluster();
    let all = |offset| ["a-0", "a-1", "b-0"].map(|name| (name.to_owned(), offset)).to_vec();
    let latest = |topics: &[&str]| reset(&cluster, &[topics, &["--to-latest"]].concat());
    assert_eq!(latest(&["--topic", "a", "--topic", "b"]), all(10));
    assert_eq!(latest(&["--topic", "a:0,1", "--topic", "b:0"]), all(10));
    assert_eq!(latest(&["--all-topics"]), all(10)[..2], "b has no offset");
    let partitions = [("a-0".to_owned(), 4), ("a-1".to_owned(), 10)];
    assert_eq!(reset(&cluster, &["--topic", "a", "--to-current"]), partitions);
}

#[test]
fn what_is_exported_can_be_read_from_a_file() {
    let cluster = cluster();
    let export = ["group", "reset", "g", "--topic", "a", "--shift-by", "0", "--export"];
    assert!(cluster.klamm_fails(&export).contains("a-1: the group has committed nothing"));
    let export = ["group", "reset", "g", "--topic", "a", "--to-current", "--export"];
    let lines = cluster.klamm(&export);
    assert_eq!(lines, "a,0,4\na,1,10\n");
    let dir = TempDir::new();
    let path = dir.0.join("offsets.csv");
    let from_file = ["--from-file", path.to_str().unwrap(), "--execute"];
    std::fs::write(&path, "a,0,6\nb,0,99\n").unwrap();
    let expected = [("a-0".to_owned(), 6), ("b-0".to_owned(), 10)];
    assert_eq!(reset(&cluster, &from_file), expected);
    assert_eq!(committed(&cluster), expected);
    std::fs::write(&path, "g,a,0,1\nother,a,0,9\n").unwrap();
    assert_eq!(reset(&cluster, &from_file), one("a-0", 1));
    std::fs::write(&path, "a,0\n").unwrap();
    let refused = cluster.klamm_fails(&[&["group", "reset", "g"], &from_file[..]].concat());
    assert!(refused.contains("line 1"), "{refused}");
}

#[test]
fn a_group_that_is_not_there_is_made_by_its_reset() {
    let cluster = cluster();
    let made = ["group", "reset", "new", "--topic", "b", "--to-offset", "3", "--execute"];
    cluster.klamm(&made);
    let offsets = json(&cluster.klamm(&["group", "offsets", "new", "-o", "json"]));
    assert_eq!((&offsets[0]["topic"], &offsets[0]["current_offset"]), (&"b".into(), &3.into()));
}

#[test]
fn a_reset_that_cannot_be_is_refused() {
    let cluster = cluster();
    for refused in [
        &["--topic", "nothing", "--to-latest"][..],
        &["--topic", "a:2", "--to-latest"],
        &["--from-file", "/nowhere/at-all"],
    ] {
        cluster.klamm_fails(&[&["group", "reset", "g"], refused].concat());
    }
    let unknown = ["group", "reset", "unknown", "--all-topics", "--to-latest"];
    assert!(cluster.klamm_fails(&unknown).contains("--topic"));
    for nonsense in [
        &["--topic", "a"][..],
        &["--to-latest"],
        &["--topic", "a", "--to-latest", "--to-earliest"],
        &["--topic", "a", "--all-topics", "--to-latest"],
        &["--topic", "a", "--by-duration", "soon"],
        &["--topic", "a", "--to-datetime", "noon"],
        &["--topic", "a", "--shift-by", "x"],
    ] {
        let output = cluster.klamm_with_input(&[&["group", "reset", "g"], nonsense].concat(), b"");
        assert_eq!(output.status.code(), Some(2), "{nonsense:?}");
    }
}

#[test]
fn a_group_with_members_is_not_reset_and_its_members_are_shown() {
    let cluster = cluster();
    run(async {
        let options = GroupOptions::new("g");
        let topics = vec!["a".into()];
        let mut consumer = GroupConsumer::new(
            cluster.client(),
            topics,
            options,
            klamm_client::ConsumerOptions {
                reset: klamm_client::OffsetReset::Earliest,
                ..Default::default()
            },
        );
        while consumer.poll(PATIENCE / 40).await.unwrap().is_empty() {}
        let error = cluster.klamm_fails(&["group", "reset", "g", "--topic", "a", "--to-latest"]);
        assert!(error.contains("stop its members first"), "{error}");
        let members = json(&cluster.klamm(&["group", "members", "g", "-o", "json"]));
        assert_eq!(members[0]["partitions"], serde_json::json!(["a-0", "a-1"]));
        let refused = cluster.klamm_fails(&["group", "delete", "g", "--topic", "a"]);
        assert!(refused.contains("GROUP_SUBSCRIBED_TO_TOPIC"), "{refused}");
        consumer.leave().await.unwrap();
    });
}

#[test]
fn lag_is_told_in_records_and_in_seconds() {
    let cluster = cluster();
    let offsets = json(&cluster.klamm(&["group", "offsets", "g", "-o", "json"]));
    // Of ten records a minute apart four are read: from the fifth to the last are five minutes.
    assert_eq!((&offsets[0]["lag"], &offsets[0]["lag_seconds"]), (&6.into(), &300.0.into()));
    reset(&cluster, &["--topic", "a:0", "--to-latest", "--execute"]);
    let offsets = json(&cluster.klamm(&["group", "offsets", "g", "-o", "json"]));
    assert_eq!((&offsets[0]["lag"], &offsets[0]["lag_seconds"]), (&0.into(), &0.0.into()));
    let table = cluster.klamm(&["group", "describe", "g"]);
    assert!(table.contains("LAG S"), "{table}");
    let help = cluster.klamm_with_input(&["group", "describe", "--help"], b"");
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("timestamp of the last record"), "{help}");
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let cluster = cluster();
    let list = |more: &[&str]| {
        let listed = json(&cluster.klamm(&[&["group", "list", "-o", "json"], more].concat()));
        listed.as_array().unwrap().len()
    };
    assert_eq!(list(&[]), 1);
    assert_eq!(list(&["--state", "Empty"]), 1);
    assert_eq!(list(&["--state", "Stable"]), 0);
    assert_eq!(list(&["--type", "classic"]), 1);
    assert_eq!(list(&["--type", "consumer"]), 0);
}

#[test]
fn offsets_of_topics_are_deleted_and_the_group_is_kept() {
    let cluster = cluster();
    reset(&cluster, &["--topic", "a", "--topic", "b", "--to-latest", "--execute"]);
    let done = cluster.klamm(&["group", "delete", "g", "--topic", "a:1", "--topic", "b"]);
    assert_eq!(done, "deleted the offsets of g in a-1,b-0\n");
    assert_eq!(committed(&cluster), one("a-0", 10));
    cluster.klamm_fails(&["group", "delete", "unknown", "--topic", "a"]);
    cluster.klamm(&["group", "delete", "g"]);
    cluster.klamm_fails(&["group", "offsets", "g"]);
}
