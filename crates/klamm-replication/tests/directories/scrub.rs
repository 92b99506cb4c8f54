//! Sealed segments are looked at, what is damaged is told, and nothing is taken offline for it.

use std::sync::Arc;

use klamm_log::verify::Progress;
use klamm_log::{LogConfig, Origin, Stopped};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, ValidBatch};
use klamm_replication::{LogScrub, NewPartition, Partition};

use crate::node::*;

/// Counts, and stops when there was so much.
struct UpTo(u64);

impl Progress for UpTo {
    fn read(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.0 = self.0.checked_sub(bytes).ok_or(Stopped)?;
        Ok(())
    }
}

fn wanted_small(topic: &str) -> NewPartition {
    let config = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
    NewPartition { config, ..wanted(topic, 0, None) }
}

fn fill(partition: &Arc<Partition>) {
    for i in 0..40 {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = format!("a value of some length {i}");
        let value = Some(value.as_bytes());
        builder.push(RecordToAppend { timestamp: NOW, value, ..RecordToAppend::default() });
        let bytes = builder.build().unwrap();
        partition.append(ValidBatch::own(&bytes).unwrap(), Origin::Client, NOW).unwrap();
    }
}

#[test]
fn damage_in_a_sealed_segment_is_counted_until_it_is_mended_and_takes_nothing_offline() {
    let storage = Storage::new("scrub", 1);
    let partitions = Arc::new(storage.open(1));
    let partition = lead(&partitions, wanted_small("t"));
    fill(&partition);
    let scrub = LogScrub::new(storage.env(), Arc::clone(&partitions));
    assert_eq!(scrub.figures().since_last_pass, None);
    scrub.pass(&mut UpTo(u64::MAX)).unwrap();
    let first = scrub.figures();
    assert!(first.segments > 2 && first.bytes > 2000, "{first:?}");
    assert_eq!((first.damaged, first.since_last_pass.is_some()), (0, true));

    let path = storage.path(0).join("t-0/00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let mut harmed = whole.clone();
    harmed[70] ^= 1;
    std::fs::write(&path, &harmed).unwrap();
    scrub.pass(&mut UpTo(u64::MAX)).unwrap();
    let second = scrub.figures();
    assert_eq!((second.damaged, second.bytes), (1, 2 * first.bytes));
    assert!(!partition.is_offline());
    fill(&partition);

    std::fs::write(&path, &whole).unwrap();
    scrub.pass(&mut UpTo(u64::MAX)).unwrap();
    assert_eq!(scrub.figures().damaged, 0);
}

#[test]
fn a_pass_that_is_stopped_ends_at_once() {
    let storage = Storage::new("scrub-stopped", 1);
    let partitions = Arc::new(storage.open(1));
    fill(&lead(&partitions, wanted_small("t")));
    let scrub = LogScrub::new(storage.env(), Arc::clone(&partitions));
    assert_eq!(scrub.pass(&mut UpTo(500)), Err(Stopped));
    assert_eq!(scrub.figures().since_last_pass, None);
}
