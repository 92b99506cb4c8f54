//! Directories that Kafka 4.3.1 wrote, after an orderly stop and from a running broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_log::{LogDir, Opening};
use klamm_model::{Offset, Timestamp};

use crate::batches::*;
use crate::disk::MemoryDisk;

/// What Kafka allocates ahead for the indexes of an active segment.
const INDEX_BYTES: usize = 10 * 1024 * 1024;

/// A fixture's files, at the same place on a disk in memory.
pub(crate) fn load(kind: &str) -> (Arc<MemoryDisk>, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1").join(kind);
    let disk = MemoryDisk::new();
    let mut waiting = vec![root.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                disk.put(&path, &std::fs::read(&path).unwrap());
            }
        }
    }
    (disk, root)
}

fn check(disk: &Arc<MemoryDisk>, dir: &Path, opening: Opening) {
    let (mut log, report) = open_at(disk, &dir.join("plain-0"), opening);
    assert_eq!(report.bytes_cut, 0);
    let found = records(log.view());
    let expected: Vec<(i64, String)> =
        (1..=340).chain(1..=5).enumerate().map(|(i, n)| (i as i64, n.to_string())).collect();
    assert_eq!(found, expected);
    assert_eq!(log.view().segment_bases(), [Offset(0), Offset(300), Offset(340)]);
    assert_eq!(log.view().latest_epoch().unwrap().0, 0);
    assert_eq!(log.producers().len(), 4);
    let end = log.log_end_offset();
    let max = log.view().max_timestamp(end).unwrap().unwrap();
    for offset in [0, 77, 299, 300, 310, 320, 339, 340, 344] {
        let limits = klamm_log::Limits {
            bytes_max: 1,
            at_least_one: klamm_log::AtLeastOne::Batch,
            upper: end,
        };
        let slice = log.view().read(Offset(offset), limits).unwrap().slice.unwrap();
        let bytes = slice.read().unwrap();
        let header = klamm_records::BatchHeader::parse(&bytes).unwrap();
        assert!((header.base_offset..=header.last_offset()).contains(&Offset(offset)));
        let by_time = log.view().offset_for_timestamp(header.base_timestamp, end).unwrap();
        assert!(by_time.unwrap().offset.0 <= offset);
    }
    let after = log.view().offset_for_timestamp(Timestamp(max.timestamp.0 + 1), end).unwrap();
    assert_eq!(after, None);
    fill(&mut log, 1);
    let (log, _) = open_at(disk, &dir.join("tx-0"), opening);
    assert_eq!(log.view().first_unstable_offset(), None);
    let found = records(log.view());
    let is_marker = |(_, value): &&(i64, String)| value.as_bytes() == [0, 0, 0, 1];
    assert_eq!(found.iter().filter(is_marker).count() as i64, log.log_end_offset().0 - 50);
    assert_eq!(log.producers().len(), 1);
}

#[test]
fn what_kafka_closed_in_order_is_opened_and_hardly_read() {
    let (disk, dir) = load("clean");
    let opening = Opening { was_clean: true, ..unclean(0) };
    let bytes = disk.counts.of(|c| &c.read_bytes);
    drop(open_at(&disk.copy(), &dir.join("plain-0"), opening));
    assert!(disk.counts.of(|c| &c.read_bytes) - bytes < 2000);
    check(&disk, &dir, opening);
    let (disk, dir) = load("clean");
    check(&disk, &dir, unclean(0));
}

#[test]
fn what_kafka_left_behind_when_it_was_killed_is_recovered() {
    for recovery_point in [0, 300, 340] {
        let (disk, dir) = load("running");
        for (topic, base) in [("plain-0", 340), ("tx-0", 0)] {
            for suffix in [".index", ".timeindex"] {
                let name = klamm_log::names::segment_file(Offset(base), suffix);
                disk.put(&dir.join(topic).join(name), &vec![0; INDEX_BYTES]);
            }
        }
        check(&disk, &dir, unclean(recovery_point));
    }
}

#[test]
fn kafkas_identity_of_a_directory_is_understood() {
    let (disk, dir) = load("clean");
    let meta = LogDir::meta_properties(disk.as_ref(), &dir).unwrap().unwrap();
    assert_eq!(meta.node_id.0, 1);
    assert_eq!(meta.cluster_id, "AAAAAAAAAAAAAAAAAAAAAQ");
    let id = klamm_log::read_partition_metadata(disk.as_ref(), &dir.join("plain-0")).unwrap();
    assert!(id.is_some());
}
