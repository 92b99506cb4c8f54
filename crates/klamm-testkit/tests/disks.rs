//! Directories, ports and disks that a node cannot have: it says what is wrong and how to cure it,
//! and what was acknowledged before is still there.

use std::path::{Path, PathBuf};
use std::process::Command;

use klamm_model::ErrorCode;
use klamm_protocol::delete_topics_request::DeleteTopicState;
use klamm_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::produce_response::PartitionProduceResponse;
use klamm_protocol::{
    DeleteTopicsRequest, DescribeLogDirsRequest, FindCoordinatorRequest, OffsetCommitRequest,
};
use klamm_records::BatchOptions;
use klamm_testkit::{
    Broker, BrokerOptions, Client, TempDir, Tools, WAIT_MAX, batch_of, start_refused, wait_until,
};

const LISTENERS: &str = "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0";

#[track_caller]
fn check_refused(options: &BrokerOptions, dir: &TempDir, listeners: &str, words: &[&str]) {
    let said = start_refused(options, dir.path(), listeners);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn a_second_node_on_a_directory_is_refused_and_the_first_goes_on() {
    let broker = Broker::start("disks-second");
    broker.client().create_topic("first", 1, &[]);
    let dir = TempDir::new("disks-second-node");
    let options = BrokerOptions::default().in_dir(&broker.log_dir());
    let path = broker.log_dir().display().to_string();
    check_refused(&options, &dir, LISTENERS, &["another process", &path]);
    let batch = batch_of(BatchOptions::default(), &[b"x"]);
    assert_eq!(broker.client().produce_code("first", 0, &batch), ErrorCode::None);
}

#[test]
fn a_directory_of_another_node_or_another_cluster_is_refused() {
    let mut broker = Broker::start("disks-other");
    broker.client().create_topic("kept", 1, &[]);
    broker.terminate();
    let dir = TempDir::new("disks-other-node");
    let options = BrokerOptions::default().in_dir(&broker.log_dir());
    check_refused(&options.clone().with("node.id", "77"), &dir, LISTENERS, &["node.id", "77"]);
    // Two directories that were formatted for two clusters.
    let mut other = Broker::start("disks-cluster");
    other.terminate();
    let both = format!("{},{}", broker.log_dir().display(), other.log_dir().display());
    check_refused(&options.with("log.dirs", &both), &dir, LISTENERS, &["cluster"]);
    broker.start_again();
    assert_eq!(broker.client().try_create_topic("kept", 1, &[]), ErrorCode::TopicAlreadyExists);
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_written() {
    let broker = Broker::start("disks-port");
    let dir = TempDir::new("disks-port-second");
    let listeners = format!("PLAINTEXT://{},CONTROLLER://127.0.0.1:0", broker.bootstrap());
    let words = ["in use", &broker.bootstrap()];
    check_refused(&BrokerOptions::default(), &dir, &listeners, &words);
    assert!(!dir.join("data").exists(), "a start that failed leaves no directory");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = TempDir::new("disks-unwritable");
    let file = dir.join("file");
    std::fs::write(&file, "this is no directory").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/klamm")] {
        let options = BrokerOptions::default().in_dir(&path);
        check_refused(&options, &dir, LISTENERS, &[&path.display().to_string()]);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"this is no directory");
}

#[test]
fn a_configuration_that_cannot_be_right_is_refused_with_its_key() {
    let dir = TempDir::new("disks-config");
    for (key, value) in [
        ("num.partitions", "zero"),
        ("log.segment.bytes", "-1"),
        ("process.roles", "observer"),
        ("log.retention.ms", "99999999999999999999"),
        ("compression.type", "rar"),
    ] {
        let options = BrokerOptions::default().with(key, value);
        check_refused(&options, &dir, LISTENERS, &[key, value]);
    }
}

/// A file system of its own, taken down when dropped.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(name: &str, size: &str) -> Self {
        let dir = TempDir::new(name);
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], dir.path());
        Self { dir }
    }

    fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], self.dir.path());
    }
}

fn mount(args: &[&str], path: &Path) {
    let done = Tools::run(Command::new("mount").args(args).arg(path), b"");
    assert!(done.status.success(), "a small disk is made with mount, as root: {}", done.stderr);
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Tools::run(Command::new("umount").arg("--lazy").arg(self.dir.path()), b"");
        if !done.status.success() {
            eprintln!("{} stays mounted: {}", self.dir.path().display(), done.stderr);
        }
    }
}

/// A record of 100 kB that shows its place in the log.
fn large(position: usize) -> Vec<u8> {
    vec![b'a' + u8::try_from(position % 26).expect("it is a letter"); 100_000]
}

/// Produces until the broker refuses; gives how many were acknowledged, and the refusal.
fn fill(client: &mut Client, topic: &str) -> (usize, PartitionProduceResponse) {
    for acknowledged in 0..1_000 {
        let batch = batch_of(BatchOptions::default(), &[&large(acknowledged)]);
        let answer = client.produce(topic, 0, &batch);
        if answer.error_code != 0 {
            assert!(acknowledged > 10, "{answer:?}");
            return (acknowledged, answer);
        }
        assert_eq!(answer.base_offset, acknowledged as i64);
    }
    panic!("the disk holds more than it can");
}

fn check_filled(client: &mut Client, topic: &str, acknowledged: usize) {
    let records = client.fetch_all(topic, 0, 0);
    assert!(records.len() >= acknowledged, "{} of {acknowledged}", records.len());
    for (position, record) in records.iter().take(acknowledged).enumerate() {
        assert!(record.value.as_ref().is_some_and(|v| *v == large(position)), "at {position}");
    }
}

fn produce_when_there_is_room(client: &mut Client, topic: &str) {
    let batch = batch_of(BatchOptions::default(), &[b"again"]);
    wait_until("producers to be served again", WAIT_MAX, || {
        match client.produce_code(topic, 0, &batch) {
            ErrorCode::None => Some(()),
            ErrorCode::KafkaStorageError => None,
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_full_disk_refuses_records_until_there_is_room_and_loses_nothing_that_was_acknowledged() {
    let disk = SmallDisk::mount("disks-full", "8m");
    let options = BrokerOptions::default()
        .in_dir(&disk.dir.join("data"))
        .with("klamm.storage.min.free.bytes", "0");
    let mut broker = Broker::start_with("disks-full-broker", options);
    let mut client = broker.client();
    client.create_topic("full", 1, &[]);
    let (acknowledged, refusal) = fill(&mut client, "full");
    println!("{acknowledged} records of 100 kB on 8 MiB, then {refusal:?}");
    assert_eq!(refusal.error_code, ErrorCode::KafkaStorageError.code());
    assert!(refusal.error_message.unwrap().contains("no space is left"));
    // Readers and administrators notice nothing.
    check_filled(&mut client, "full", acknowledged);
    let metadata = client.ask(&klamm_protocol::MetadataRequest::default(), 9);
    assert_eq!(metadata.brokers.len(), 1);
    disk.resize("64m");
    produce_when_there_is_room(&mut client, "full");
    assert_eq!(client.end_offset("full", 0), i64::try_from(acknowledged).unwrap() + 1);
    broker.kill();
    broker.start_again();
    let mut client = broker.client();
    check_filled(&mut client, "full", acknowledged);
    produce_when_there_is_room(&mut client, "full");
}

#[test]
fn a_nearly_full_disk_refuses_producers_while_groups_and_administrators_go_on() {
    let disk = SmallDisk::mount("disks-nearly-full", "64m");
    let options = BrokerOptions::default()
        .in_dir(&disk.dir.join("data"))
        .with("offsets.topic.num.partitions", "1")
        .with("klamm.storage.min.free.bytes", "41943040");
    let broker = Broker::start_with("disks-nearly-full-broker", options);
    let mut client = broker.client();
    client.create_topic("full", 1, &[]);
    let (acknowledged, refusal) = fill(&mut client, "full");
    println!("{acknowledged} records of 100 kB on 64 MiB, then {refusal:?}");
    assert_eq!(refusal.error_code, ErrorCode::KafkaStorageError.code());
    assert!(refusal.error_message.unwrap().contains("klamm.storage.min.free.bytes"));
    let warned = |line: &String| line.contains(" WARN ") && line.contains("nearly full");
    assert_eq!(broker.log().all().iter().filter(|line| warned(line)).count(), 1);
    check_filled(&mut client, "full", acknowledged);
    client.create_topic("more", 1, &[]);
    commit_offset(&mut client, "full", 7);
    let gone = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some("more".into()), ..Default::default() }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.ask(&gone, 6).responses[0].error_code, 0);
    disk.resize("96m");
    produce_when_there_is_room(&mut client, "full");
}

/// Commits an offset of a group without members.
fn commit_offset(client: &mut Client, topic: &str, committed_offset: i64) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["group".into()],
        ..FindCoordinatorRequest::default()
    };
    let partition = OffsetCommitRequestPartition { committed_offset, ..Default::default() };
    let topics = vec![OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let commit = OffsetCommitRequest {
        group_id: "group".into(),
        generation_id_or_member_epoch: -1,
        topics,
        ..OffsetCommitRequest::default()
    };
    wait_until("the group's coordinator", WAIT_MAX, || {
        client.ask(&find, 4);
        let answer = client.ask(&commit, 8);
        match ErrorCode::from_code(answer.topics[0].partitions[0].error_code)
            .expect("a code of Kafka's")
        {
            ErrorCode::None => Some(()),
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => None,
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_log_directory_that_fails_at_the_start_takes_only_its_partitions_offline() {
    let dirs = TempDir::new("disks-several");
    let (first, second) = (dirs.join("first"), dirs.join("second"));
    let both = format!("{},{}", first.display(), second.display());
    let options = BrokerOptions::default()
        .with("log.dirs", &both)
        .expecting_error("log directory is offline")
        .expecting_error("a partition is offline");
    let mut broker = Broker::start_with("disks-several-broker", options);
    let mut client = broker.client();
    client.create_topic("spread", 4, &[]);
    let batch = batch_of(BatchOptions::default(), &[b"x"]);
    for i in 0..4 {
        assert_eq!(client.produce_code("spread", i, &batch), ErrorCode::None);
    }
    broker.kill();
    let aside = dirs.join("aside");
    std::fs::rename(&second, &aside).unwrap();
    std::fs::write(&second, "a file, as a failed mount leaves none").unwrap();
    broker.start_again();
    let mut client = broker.client();
    let codes: Vec<ErrorCode> = (0..4).map(|i| client.produce_code("spread", i, &batch)).collect();
    let count = |code| codes.iter().filter(|found| **found == code).count();
    assert_eq!((count(ErrorCode::None), count(ErrorCode::KafkaStorageError)), (2, 2), "{codes:?}");
    let described = client.ask(&DescribeLogDirsRequest { topics: None }, 4);
    let errors: Vec<(String, i16)> =
        described.results.iter().map(|dir| (dir.log_dir.to_string(), dir.error_code)).collect();
    let storage_error = ErrorCode::KafkaStorageError.code();
    let expected =
        [(first.display().to_string(), 0), (second.display().to_string(), storage_error)];
    assert_eq!(errors, expected);
    client.create_topic("new", 2, &[]);
    assert_eq!(client.produce_code("new", 1, &batch), ErrorCode::None);
    broker.kill();
    std::fs::remove_file(&second).unwrap();
    std::fs::rename(&aside, &second).unwrap();
    broker.start_again();
    let mut client = broker.client();
    for (i, code) in (0..4).zip(codes) {
        let expected = if code == ErrorCode::None { 2 } else { 1 };
        assert_eq!(client.end_offset("spread", i), expected, "nothing of spread-{i} is lost");
    }
}

#[test]
fn a_node_without_the_directory_of_its_metadata_does_not_start() {
    let dirs = TempDir::new("disks-metadata");
    let (first, second) = (dirs.join("first"), dirs.join("second"));
    let both = format!("{},{}", first.display(), second.display());
    let options = BrokerOptions::default().with("log.dirs", &both);
    let mut broker = Broker::start_with("disks-metadata-broker", options.clone());
    broker.terminate();
    std::fs::rename(&first, dirs.join("aside")).unwrap();
    std::fs::write(&first, "no directory").unwrap();
    check_refused(&options, &dirs, LISTENERS, &[&first.display().to_string()]);
}

#[test]
fn a_log_directory_deleted_under_a_running_node_is_an_error_for_its_partitions_alone() {
    let dirs = TempDir::new("disks-deleted");
    let (first, second) = (dirs.join("first"), dirs.join("second"));
    let both = format!("{},{}", first.display(), second.display());
    let options = BrokerOptions::default()
        .with("log.dirs", &both)
        .expecting_error("second")
        .expecting_error("an append failed")
        .expecting_error("log directory is offline")
        .expecting_error("could not be closed in order");
    let mut broker = Broker::start_with("disks-deleted-broker", options);
    let mut client = broker.client();
    client.create_topic("spread", 2, &[("segment.bytes", "1048576")]);
    let batch = batch_of(BatchOptions::default(), &[&large(0)]);
    for i in 0..2 {
        assert_eq!(client.produce_code("spread", i, &batch), ErrorCode::None);
    }
    // The node may be writing a checkpoint there.
    wait_until("the directory to go", WAIT_MAX, || std::fs::remove_dir_all(&second).ok());
    // Its open file takes some more; the next segment cannot be made.
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push([
            client.produce_code("spread", 0, &batch),
            client.produce_code("spread", 1, &batch),
        ]);
    }
    let has_failed = |i: usize| codes.iter().any(|both| both[i] == ErrorCode::KafkaStorageError);
    assert!(has_failed(0) != has_failed(1), "{codes:?}");
    let failed = usize::from(has_failed(1));
    assert_eq!(codes[19][failed], ErrorCode::KafkaStorageError);
    assert!(codes.iter().all(|both| both[1 - failed] == ErrorCode::None), "{codes:?}");
    assert!(!client.fetch_all("spread", i32::try_from(1 - failed).unwrap(), 0).is_empty());
    broker.terminate();
}
