//! A log that Kafka's own cleaner has compacted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klamm_env::Disk;
use klamm_log::{Log, LogConfig, OffsetCheckpoint, Opening, names};
use klamm_model::{Offset, Timestamp, TopicPartition};

use super::support::*;
use crate::batches::{NOW, as_disk, clean, unclean};
use crate::disk::MemoryDisk;
use crate::kafka::load;

fn expected() -> Vec<Row> {
    let newest = |k: i64| row(80 + k, &format!("key{k}"), &format!("round 4 of {k}"));
    let tombstone = |k: i64| (98 + k, Some(format!("key{k}")), None);
    let mut rows: Vec<Row> = (0..10).chain(15..20).map(newest).collect();
    rows.extend((0..3).map(|k| row(104 + k, &format!("tx{k}"), "committed")));
    rows.extend((10..15).map(tombstone));
    rows.extend([row(113, "last", "1"), row(114, "last", "2")]);
    rows
}

fn open(disk: &Arc<MemoryDisk>, dir: &Path, opening: Opening) -> Mutex<Log> {
    let config = LogConfig { delete_retention_ms: 100_000_000, ..compacted() };
    Mutex::new(Log::open(&as_disk(disk), &dir.join("compacted-0"), config, opening, NOW).unwrap().0)
}

fn checkpoint(dir: &Path) -> PathBuf {
    dir.join(names::CLEANER_OFFSETS)
}

#[test]
fn it_is_opened_in_any_way_and_holds_what_kafka_shows() {
    for opening in [clean(), unclean(0), unclean(114)] {
        let (disk, dir) = load("compacted");
        let log = open(&disk, &dir, opening);
        assert_eq!(rows(&log), expected());
        let log = log.into_inner().unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(0), Offset(115)));
        assert!(log.producers().len() >= 2);
    }
}

#[test]
fn its_checkpoint_is_read_and_written_as_kafka_has_it() {
    let (disk, dir) = load("compacted");
    let file = OffsetCheckpoint::new(checkpoint(&dir));
    let entries = file.read(disk.as_ref()).unwrap();
    assert_eq!(entries, [(TopicPartition::new("compacted", 0), Offset(114))]);
    let written = disk.bytes(&checkpoint(&dir)).unwrap();
    disk.remove_file(&checkpoint(&dir)).unwrap();
    file.write(disk.as_ref(), &entries).unwrap();
    assert_eq!(disk.bytes(&checkpoint(&dir)).unwrap(), written);
}

#[test]
fn cleaning_goes_on_where_kafka_stopped() {
    let (disk, dir) = load("compacted");
    let log = open(&disk, &dir, clean());
    log.lock().unwrap().resume_cleaning_at(Offset(114));
    let stable = log.lock().unwrap().log_end_offset();
    let plan = log.lock().unwrap().compaction_candidate().unwrap().assess(stable, NOW).unwrap();
    assert_eq!((plan.first_dirty_offset, plan.cleanable_bytes), (Offset(114), 0));
    append(&log, &keyed(&[("key0", "from us"), ("tx1", "from us")]));
    roll(&log);
    append(&log, &keyed(&[("key1", "dirty")]));
    // Long after the horizons that Kafka has set.
    let much_later = 4_000_000_000_000;
    let is_there = |rows: &[Row], key: &str| rows.iter().any(|row| row.1.as_deref() == Some(key));
    assert!(is_there(&rows(&log), "key12"));
    clean_at(&log, much_later - NOW.0).unwrap();
    let gone = |row: &Row| {
        let key = row.1.as_deref().unwrap();
        row.2.is_none() || [80, 105, 113].contains(&row.0) || key == "key10"
    };
    let mut left: Vec<Row> = expected().into_iter().filter(|row| !gone(row)).collect();
    left.extend([
        row(115, "key0", "from us"),
        row(116, "tx1", "from us"),
        row(117, "key1", "dirty"),
    ]);
    assert_eq!(rows(&log), left);
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(117)));
    let view = Arc::clone(log.lock().unwrap().view());
    assert!(view.offset_for_timestamp(Timestamp(0), Offset(118)).unwrap().is_some());
}
