//! Files looked at offline: what is sound is told to be, each kind of damage is found and named, and
//! what is repaired is sound.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use klamm_log::verify::{
    Finding, Progress, Severity, repair_indexes, verify_partition, verify_small_files,
};
use klamm_log::{LogDir, Stopped};
use klamm_model::{Offset, TopicPartition};

use crate::batches::*;
use crate::disk::MemoryDisk;

/// Counts what was read.
#[derive(Default)]
struct Read(u64);

impl Progress for Read {
    fn read(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.0 += bytes;
        Ok(())
    }
}

/// A log of several segments, with producers, an aborted transaction and indexes, closed.
fn closed() -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, small_segments());
    fill(&mut log, 12);
    aborted(&mut log, 7);
    fill(&mut log, 40);
    aborted(&mut log, 8);
    fill(&mut log, 10);
    log.close_clean().unwrap();
    assert!(log.view().segment_bases().len() > 2);
    disk
}

/// A record of a producer's transaction, which is aborted.
fn aborted(log: &mut klamm_log::Log, id: i64) {
    append(log, &values(["x"]).by(id, 0, 0).transactional()).unwrap();
    end(log, id, 0, true).unwrap();
}

fn small_segments() -> klamm_log::LogConfig {
    klamm_log::LogConfig { segment_bytes: 2000, index_interval_bytes: 100, ..config() }
}

fn findings(disk: &Arc<MemoryDisk>) -> Vec<Finding> {
    verify_partition(&as_disk(disk), &dir(), &mut Read::default()).unwrap().findings
}

fn damaged(disk: &Arc<MemoryDisk>) -> Vec<Finding> {
    findings(disk).into_iter().filter(|found| found.severity == Severity::Damage).collect()
}

/// The first file with this suffix that is not empty.
fn some(disk: &MemoryDisk, suffix: &str) -> String {
    let is_meant =
        |name: &&String| name.ends_with(suffix) && !disk.bytes(&path(name)).unwrap().is_empty();
    disk.names().iter().find(is_meant).unwrap().clone()
}

#[test]
fn a_log_that_was_closed_is_sound_and_all_of_it_was_read() {
    let disk = closed();
    let mut read = Read::default();
    let report = verify_partition(&as_disk(&disk), &dir(), &mut read).unwrap();
    assert_eq!(report.findings, []);
    let logs = disk.names().into_iter().filter(|name| name.ends_with(".log"));
    let bytes: usize = logs.map(|name| disk.bytes(&path(&name)).unwrap().len()).sum();
    assert_eq!(read.0, bytes as u64);
    assert_eq!(report.extent.unwrap().end.0, report.records as i64);
    assert!(report.batches > 60);
}

/// Something that happens to a file's bytes.
type Harm = fn(&mut Vec<u8>);

#[test]
fn each_kind_of_damage_is_found_and_named_with_its_place() {
    let cases: [(&str, Harm, &str); 11] = [
        (".log", |bytes| bytes[70] ^= 1, "crc"),
        (".log", |bytes| bytes[16] = 9, "no batch"),
        (".log", |bytes| bytes[7] = 99, "do not follow"),
        (".log", |bytes| bytes.truncate(bytes.len() - 3), "no batch"),
        (".index", |bytes| bytes[7] ^= 1, "no batch begins"),
        (".index", |bytes| bytes[3] ^= 1, "ends with offset"),
        (".index", |bytes| bytes.extend([1, 2, 3]), "no entry"),
        (".timeindex", |bytes| bytes[7] ^= 1, "latest timestamp"),
        (".txnindex", |bytes| bytes[25] ^= 1, "aborted"),
        (".snapshot", |bytes| bytes[12] ^= 1, "checksum"),
        ("leader-epoch-checkpoint", |bytes| bytes[0] = b'7', "version '7'"),
    ];
    for (suffix, harm, what) in cases {
        let disk = closed();
        let name = some(&disk, suffix);
        let mut bytes = disk.bytes(&path(&name)).unwrap();
        harm(&mut bytes);
        disk.put(&path(&name), &bytes);
        let found = damaged(&disk);
        let is_named = |found: &Finding| {
            found.path == path(&name) && found.what.contains(what) && !found.cure.is_empty()
        };
        assert!(found.iter().any(is_named), "{suffix}, '{what}': {found:#?}");
    }
}

#[test]
fn a_segment_that_is_missing_between_others_is_a_loss() {
    let disk = closed();
    let logs: Vec<String> =
        disk.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    disk.remove(&path(&logs[1]));
    let found = damaged(&disk);
    assert!(found.iter().any(|found| found.what.contains("are in no segment")), "{found:#?}");
    let left: Vec<Finding> = findings(&disk);
    assert!(left.iter().any(|found| found.what.contains("a segment that is gone")), "{left:#?}");
}

#[test]
fn a_torn_end_is_noted_and_is_no_damage() {
    let disk = closed();
    let name = disk.names().into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let mut bytes = disk.bytes(&path(&name)).unwrap();
    bytes.extend([0; 30]);
    disk.put(&path(&name), &bytes);
    assert_eq!(damaged(&disk), []);
    let noted = findings(&disk);
    assert!(noted[0].what.contains("the last 30 bytes"), "{noted:#?}");
}

#[test]
fn what_is_repaired_is_sound_again_and_what_was_right_is_not_touched() {
    let whole = closed();
    let again = |disk: &Arc<MemoryDisk>| {
        repair_indexes(&as_disk(disk), (&dir(), None), 100, &mut Read::default()).unwrap()
    };
    assert_eq!(again(&whole).written, Vec::<std::path::PathBuf>::new());
    for suffix in [".index", ".timeindex", ".txnindex", ".snapshot"] {
        for harm in [|_: &[u8]| Vec::new(), |bytes: &[u8]| vec![0xa7; bytes.len()]] {
            let disk = closed();
            let name = some(&disk, suffix);
            let before = disk.bytes(&path(&name)).unwrap();
            disk.put(&path(&name), &harm(&before));
            let repaired = again(&disk);
            assert!(repaired.damaged.is_empty(), "{repaired:?}");
            assert_eq!(damaged(&disk), [], "{name}");
            let is_at_end = suffix == ".snapshot" && disk.bytes(&path(&name)).is_none();
            assert!(
                is_at_end || disk.bytes(&path(&name)) == Some(before),
                "{name} is not the same"
            );
        }
    }
}

#[test]
fn the_indexes_of_damaged_batches_are_left_alone() {
    let disk = closed();
    let name = some(&disk, ".log");
    let mut bytes = disk.bytes(&path(&name)).unwrap();
    bytes[70] ^= 1;
    disk.put(&path(&name), &bytes);
    let mut read = Read::default();
    let repaired = repair_indexes(&as_disk(&disk), (&dir(), None), 100, &mut read).unwrap();
    assert_eq!(repaired.damaged, [(path(&name), 0)]);
}

#[test]
fn what_kafka_wrote_is_sound_if_it_was_stopped_in_order_and_if_not() {
    for kind in ["clean", "running"] {
        let (disk, root) = crate::kafka::load(kind);
        let report =
            verify_partition(&as_disk(&disk), &root.join("plain-0"), &mut Read::default()).unwrap();
        let damaged: Vec<&Finding> =
            report.findings.iter().filter(|f| f.severity == Severity::Damage).collect();
        assert_eq!(damaged, Vec::<&Finding>::new(), "{kind}");
        assert_eq!(report.extent.unwrap().end, Offset(345));
    }
}

#[test]
fn each_small_file_of_a_directory_is_read_and_compared_with_the_logs() {
    let disk = MemoryDisk::new();
    let root = Path::new("/d");
    let meta = klamm_log::MetaProperties {
        cluster_id: "c".to_owned(),
        node_id: klamm_model::NodeId(1),
        directory_id: None,
    };
    LogDir::format(disk.as_ref(), root, &meta, NOW).unwrap();
    let name = TopicPartition::new("t", 0);
    let extent = klamm_log::verify::Extent { first: Offset(0), end: Offset(5) };
    let extents = HashMap::from([(name, Some(extent))]);
    let verify = || verify_small_files(disk.as_ref(), root, &extents).unwrap();
    disk.put(&root.join("cleaner-offset-checkpoint"), b"");
    assert_eq!(verify(), [], "Kafka makes the file before it has anything to say");
    for (file, bytes, what) in [
        ("meta.properties", &b"version=9"[..], "version '9'"),
        ("recovery-point-offset-checkpoint", b"0\n1\nt 0 6\n", "it ends at 5"),
        ("recovery-point-offset-checkpoint", b"x", "version 'x'"),
        ("log-start-offset-checkpoint", b"0\n2\nt 0 5\n", "1 lines"),
        ("replication-offset-checkpoint", b"0\n1\nt 0 6\n", "came to 6"),
        ("cleaner-offset-checkpoint", b"0\n1\nt 0 -2\n", "wrong form"),
        ("klamm-recovery-checkpoint", b"1\n0\n00000000\n", "checksum"),
        ("klamm-closed-logs", b"1\n7\n0\n00000000\n", "checksum"),
    ] {
        let before = disk.bytes(&root.join(file));
        disk.put(&root.join(file), bytes);
        let found = verify();
        let is_named = |f: &Finding| f.path == root.join(file) && f.what.contains(what);
        assert!(found.len() == 1 && is_named(&found[0]), "{file}: {found:#?}");
        match before {
            Some(before) => disk.put(&root.join(file), &before),
            None => disk.remove(&root.join(file)),
        }
    }
}
