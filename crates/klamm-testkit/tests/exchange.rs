//! One directory, two programs: Apache Kafka and Klamm take turns on the same log directories with
//! the same `server.properties`, and each finds all that the other left.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use klamm_protocol::MetadataRequest;
use klamm_testkit::{Process, RawConnection, TempDir, Tools, WAIT_MAX, wait_until};
use serde_json::Value;

const EXCHANGE: &str = include_str!("python/exchange.py");
const STORAGE: &str = "kafka.tools.StorageTool";
const SERVER: &str = "kafka.Kafka";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

/// The directories, and the file that both programs are started with.
struct House {
    dir: TempDir,
    address: SocketAddr,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

impl House {
    fn new(name: &str) -> Self {
        let dir = TempDir::new(name);
        let (broker, controller) = (free_port(), free_port());
        let (first, second) = (dir.join("first"), dir.join("second"));
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={},{}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=3\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.session.timeout.ms=2000\n\
             log.cleaner.backoff.ms=200\n",
            first.display(),
            second.display()
        );
        let house = Self { dir, address: SocketAddr::from(([127, 0, 0, 1], broker)) };
        std::fs::write(house.properties(), properties).expect("the file can be written");
        house
    }

    fn properties(&self) -> String {
        self.dir.join("server.properties").display().to_string()
    }

    fn format_by_kafka(&self) {
        let args = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", &self.properties()];
        let _ = Tools::kafka(STORAGE, &args, b"").ok();
    }

    fn start_kafka(&self) -> Process {
        let kafka = Tools::kafka_process(SERVER, &[&self.properties()]);
        self.wait_for_broker();
        kafka
    }

    fn start_klamm(&self) -> Process {
        let override_ = "klamm.metrics.listeners=";
        let klamm = Tools::klamm_process(&[
            "start",
            "--config",
            &self.properties(),
            "--override",
            override_,
        ]);
        let started = klamm.stderr.wait_for("listeners=", WAIT_MAX);
        assert!(started.is_some(), "it did not start: {:#?}", klamm.stderr);
        self.wait_for_broker();
        klamm
    }

    /// A broker that is not fenced is in its own metadata.
    fn wait_for_broker(&self) {
        wait_until("the broker", WAIT_MAX, || {
            let mut connection = RawConnection::open(self.address).ok()?;
            let answer = connection.ask(&MetadataRequest::default(), 12).ok()?;
            (!answer.brokers.is_empty()).then_some(())
        });
    }

    fn python(&self, args: &[&str]) -> String {
        let bootstrap = self.address.to_string();
        let args = [&args[..1], &[&*bootstrap], &args[1..]].concat();
        Tools::python(EXCHANGE, &args).ok().text()
    }

    fn dump(&self) -> Contents {
        Contents::parse(&self.python(&["dump"]))
    }

    /// The files of both directories whose names end so.
    fn files(&self, suffixes: &[&str], topic: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in ["first", "second"] {
            for partition in list(&self.dir.join(dir)) {
                let name = partition.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !partition.is_dir() || !topic(&name) {
                    continue;
                }
                let is_asked = |file: &PathBuf| {
                    let name = file.to_string_lossy();
                    suffixes.iter().any(|suffix| name.ends_with(suffix))
                };
                found.extend(list(&partition).into_iter().filter(is_asked));
            }
        }
        found
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("it can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Every record that a consumer sees, and the offsets that the group committed.
#[derive(Debug, PartialEq)]
struct Contents {
    /// By isolation, topic and partition; then by offset.
    records: BTreeMap<String, BTreeMap<i64, Value>>,
    ends: BTreeMap<String, Value>,
    committed: Value,
}

impl Contents {
    fn parse(text: &str) -> Self {
        let mut all =
            Self { records: BTreeMap::new(), ends: BTreeMap::new(), committed: Value::Null };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if !line["committed"].is_null() {
                all.committed = line["committed"].clone();
                continue;
            }
            let of = format!("{} {} {}", line["isolation"], line["topic"], line["partition"]);
            let records = all.records.entry(of.clone()).or_default();
            match line["offset"].as_i64() {
                Some(offset) => {
                    let before = records.insert(offset, line);
                    assert_eq!(before, None, "{of} has offset {offset} twice");
                }
                None => {
                    all.ends.insert(of, line);
                }
            }
        }
        all
    }

    /// Nothing is lost, moved or changed; in compacted topics only what a later record of the same
    /// key replaced may be gone.
    #[track_caller]
    fn check_kept_in(&self, later: &Self, who: &str) {
        assert_eq!(self.ends, later.ends, "{who}: the ends differ");
        assert_eq!(self.committed, later.committed, "{who}: the group's offsets differ");
        for (of, records) in &self.records {
            let kept = &later.records[of];
            if !of.contains("compacted") {
                assert_eq!(records.len(), kept.len(), "{who}: {of} has another number of records");
            }
            for (offset, record) in kept {
                assert_eq!(records.get(offset), Some(record), "{who}: {of} at {offset}");
            }
            let newest: BTreeMap<String, i64> =
                records.values().map(|r| (r["key"].to_string(), offset_of(r))).collect();
            let is_newest = |r: &&Value| newest[&r["key"].to_string()] == offset_of(r);
            for record in records.values().filter(is_newest) {
                assert!(kept.contains_key(&offset_of(record)), "{who}: {of} lost {record}");
            }
        }
    }

    fn count(&self, of: &str) -> usize {
        self.records[of].len()
    }
}

fn offset_of(record: &Value) -> i64 {
    record["offset"].as_i64().expect("it has an offset")
}

fn stop(mut process: Process) {
    let status = process.terminate();
    let said = process.stderr.all();
    // Java ends with 128 + SIGTERM also in order.
    assert!(matches!(status.code(), Some(0 | 143)), "ended with {status}: {said:#?}");
    check_log(&process);
}

fn check_log(process: &Process) {
    let is_error = |line: &&String| line.contains(" ERROR ") || line.contains("panicked at");
    let said = process.stderr.all();
    assert_eq!(said.iter().find(is_error), None, "errors were logged");
}

/// Klamm's own reader finds nothing wrong either.
fn check_verified(house: &House) {
    let (first, second) = (house.dir.join("first"), house.dir.join("second"));
    let dirs = [first.display().to_string(), second.display().to_string()];
    let _ = Tools::klamm(&["log", "verify", &dirs[0], &dirs[1]]).ok();
}

/// Indexes that are written anew are as good as those of a node.
fn harm_and_repair_indexes(house: &House) {
    let indexes = [".index", ".timeindex"];
    for file in house.files(&indexes, |name| !name.starts_with("__")) {
        std::fs::write(file, b"neither entries nor zeros").expect("it can be written");
    }
    let (first, second) = (house.dir.join("first"), house.dir.join("second"));
    let dirs = [first.display().to_string(), second.display().to_string()];
    let _ = Tools::klamm(&["log", "repair-index", &dirs[0], &dirs[1]]).ok();
}

/// Kafka's own reader finds nothing wrong in any file.
fn check_with_kafkas_reader(house: &House) {
    let check = |files: Vec<PathBuf>, decoder: &[&str]| {
        assert!(!files.is_empty(), "there is nothing to read");
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let files = files.join(",");
        let args = [decoder, &["--files", &files]].concat();
        let said = Tools::kafka(DUMP_LOG, &args, b"").ok().all();
        for complaint in
            ["isvalid: false", "Found ", "Could not", "Exception", "mismatch", "orrupt"]
        {
            assert!(!said.contains(complaint), "{complaint:?} about {files}:\n{said}");
        }
    };
    let is = |wanted: &'static str| move |name: &str| name.starts_with(wanted);
    let all = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
    check(house.files(&all, |name| !name.starts_with("__")), &["--deep-iteration"]);
    check(house.files(&[".log"], is("__consumer_offsets")), &["--offsets-decoder"]);
    check(house.files(&[".log"], is("__transaction_state")), &["--transaction-log-decoder"]);
    check(house.files(&[".log"], is("__cluster_metadata")), &["--cluster-metadata-decoder"]);
}

#[test]
fn kafka_and_klamm_take_turns_on_one_directory_and_each_finds_what_the_other_left() {
    let house = House::new("exchange");
    house.format_by_kafka();

    let kafka = house.start_kafka();
    house.python(&["fill", "a", "transactions"]);
    let by_kafka = house.dump();
    stop(kafka);
    check_verified(&house);
    let ends = |records: usize| format!("{records} records");
    assert_eq!(ends(by_kafka.count("\"read_uncommitted\" \"plain\" 0")), ends(3000));
    let visible = by_kafka.count("\"read_committed\" \"transactional\" 0");
    let stored = by_kafka.count("\"read_uncommitted\" \"transactional\" 0");
    assert!(visible < stored, "of {stored} records some are aborted or undecided");

    let klamm = house.start_klamm();
    by_kafka.check_kept_in(&house.dump(), "Klamm after Kafka");
    house.python(&["fill", "b"]);
    let by_klamm = house.dump();
    stop(klamm);
    check_verified(&house);
    harm_and_repair_indexes(&house);
    check_verified(&house);
    check_with_kafkas_reader(&house);

    let mut kafka = house.start_kafka();
    by_klamm.check_kept_in(&house.dump(), "Kafka after Klamm");
    house.python(&["fill", "c", "transactions"]);
    let by_kafka = house.dump();
    kafka.kill();

    let mut klamm = house.start_klamm();
    by_kafka.check_kept_in(&house.dump(), "Klamm after Kafka was killed");
    house.python(&["fill", "d"]);
    let by_klamm = house.dump();
    check_log(&klamm);
    klamm.kill();

    let kafka = house.start_kafka();
    by_klamm.check_kept_in(&house.dump(), "Kafka after Klamm was killed");
    stop(kafka);
}
