//! Directories, ports and disks that a node cannot have: it says what is wrong and how to cure it,
//! and what was acknowledged before is still there.

use std::path::{Path, PathBuf};
use std::process::Command;

use klamm_model::ErrorCode;
use klamm_records::BatchOptions;
use klamm_testkit::{Broker, BrokerOptions, TempDir, Tools, batch_of, start_refused};

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

#[test]
fn a_full_disk_refuses_records_and_loses_nothing_that_was_acknowledged() {
    let disk = SmallDisk::mount("disks-full", "8m");
    let options = BrokerOptions::default()
        .in_dir(&disk.dir.join("data"))
        .with("offsets.topic.num.partitions", "1")
        .expecting_error("No space left on device");
    let mut broker = Broker::start_with("disks-full-broker", options);
    let mut client = broker.client();
    client.create_topic("full", 1, &[]);
    let mut acknowledged: i64 = 0;
    let refusal = loop {
        let value = vec![b'a' + u8::try_from(acknowledged % 26).unwrap(); 100_000];
        let answer = client.produce("full", 0, &batch_of(BatchOptions::default(), &[&value]));
        match ErrorCode::from_code(answer.error_code).unwrap() {
            ErrorCode::None => assert_eq!(answer.base_offset, acknowledged),
            code => break code,
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "eight megabytes hold more than they can");
    };
    println!("{acknowledged} records of 100 kB on 8 MiB, then {refusal:?}");
    assert_eq!(refusal, ErrorCode::KafkaStorageError);
    assert!(acknowledged > 10);
    // The broker is still there for what it can do.
    let metadata = client.ask(&klamm_protocol::MetadataRequest::default(), 9);
    assert_eq!(metadata.brokers.len(), 1);
    broker.kill();
    disk.resize("64m");
    broker.start_again();
    let mut client = broker.client();
    let records = client.fetch_all("full", 0, 0);
    assert!(i64::try_from(records.len()).unwrap() >= acknowledged, "{}", records.len());
    for (position, record) in records.iter().enumerate() {
        let letter = b'a' + u8::try_from(position % 26).unwrap();
        let value = record.value.as_ref().unwrap();
        assert!(value.len() == 100_000 && value.iter().all(|b| *b == letter), "at {position}");
    }
    let batch = batch_of(BatchOptions::default(), &[b"again"]);
    assert_eq!(client.produce_code("full", 0, &batch), ErrorCode::None);
}
