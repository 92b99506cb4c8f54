//! One directory, two programs: Apache Kafka and Klamm take turns on the same log directories with
//! the same `server.properties`, and each finds all that the other left.

use std::collections::BTreeMap;

use klamm_testkit::{House, Tools, check_log, stop};
use serde_json::Value;

const EXCHANGE: &str = include_str!("python/exchange.py");

fn python(house: &House, args: &[&str]) -> String {
    let bootstrap = house.address().to_string();
    let args = [&args[..1], &[&*bootstrap], &args[1..]].concat();
    Tools::python(EXCHANGE, &args).ok().text()
}

fn dump(house: &House) -> Contents {
    Contents::parse(&python(house, &["dump"]))
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

/// Klamm's own reader finds nothing wrong either.
fn check_verified(house: &House) {
    let dirs = house.log_dirs().map(|dir| dir.display().to_string());
    let _ = Tools::klamm(&["log", "verify", &dirs[0], &dirs[1]]).ok();
}

/// Indexes that are written anew are as good as those of a node.
fn harm_and_repair_indexes(house: &House) {
    let indexes = [".index", ".timeindex"];
    for file in house.files(&indexes, |name| !name.starts_with("__")) {
        std::fs::write(file, b"neither entries nor zeros").expect("it can be written");
    }
    let dirs = house.log_dirs().map(|dir| dir.display().to_string());
    let _ = Tools::klamm(&["log", "repair-index", &dirs[0], &dirs[1]]).ok();
}

#[test]
fn kafka_and_klamm_take_turns_on_one_directory_and_each_finds_what_the_other_left() {
    let house = House::new("exchange", "log.cleaner.backoff.ms=200\n");
    house.format_by_kafka();

    let kafka = house.start_kafka();
    python(&house, &["fill", "a", "transactions"]);
    let by_kafka = dump(&house);
    stop(kafka);
    check_verified(&house);
    let ends = |records: usize| format!("{records} records");
    assert_eq!(ends(by_kafka.count("\"read_uncommitted\" \"plain\" 0")), ends(3000));
    let visible = by_kafka.count("\"read_committed\" \"transactional\" 0");
    let stored = by_kafka.count("\"read_uncommitted\" \"transactional\" 0");
    assert!(visible < stored, "of {stored} records some are aborted or undecided");

    let klamm = house.start_klamm();
    by_kafka.check_kept_in(&dump(&house), "Klamm after Kafka");
    python(&house, &["fill", "b"]);
    let by_klamm = dump(&house);
    stop(klamm);
    check_verified(&house);
    harm_and_repair_indexes(&house);
    check_verified(&house);
    house.check_with_kafkas_reader();

    let mut kafka = house.start_kafka();
    by_klamm.check_kept_in(&dump(&house), "Kafka after Klamm");
    python(&house, &["fill", "c", "transactions"]);
    let by_kafka = dump(&house);
    kafka.kill();

    let mut klamm = house.start_klamm();
    by_kafka.check_kept_in(&dump(&house), "Klamm after Kafka was killed");
    python(&house, &["fill", "d"]);
    let by_klamm = dump(&house);
    check_log(&klamm);
    klamm.kill();

    let kafka = house.start_kafka();
    by_klamm.check_kept_in(&dump(&house), "Kafka after Klamm was killed");
    stop(kafka);
}
