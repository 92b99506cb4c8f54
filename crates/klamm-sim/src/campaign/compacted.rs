//! What must be true of a compacted log: it holds a part of what was appended, each record as it
//! was, and what is missing had to be allowed to go (KIP-58, KIP-534).
//!
//! ```text
//! appended ──┬── is there, as it was
//!            ├── replaced: a later committed record of its key is there, or was replaced itself
//!            ├── aborted
//!            ├── a tombstone, or a marker without data, after delete.retention.ms
//!            └── anything else is a loss
//! ```

use std::collections::BTreeSet;

use klamm_log::{Log, LogView, decode_index, decode_time_index, names};
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchView, batches};

use super::finding::{Finding, ensure, equal, limits, read};
use super::found::{Found, found};
use super::history::History;
use super::model::Model;
use crate::disk::SimDisk;
use crate::random::Seeded;

/// All of it, but the ends.
pub(super) fn log(log: &Log, model: &Model, disk: &SimDisk, random: &mut Seeded) -> Finding {
    let Some(compaction) = &model.compaction else { return Ok(()) };
    let view = log.view();
    let history = History::new(model, compaction);
    let found = found(view, model, random)?;
    history.as_appended(&found)?;
    history.nothing_lost(&found)?;
    history.markers_are_there(&found)?;
    history.read_committed(&found, view, model)?;
    places((view, model), &found, random)?;
    times((view, model), &found, random)?;
    for batch in &found {
        let offset = Offset(batch.header.base_offset.0.max(model.start));
        let epoch = view.epoch_at(offset);
        equal("leader epoch", &epoch, &Some(batch.header.partition_leader_epoch))?;
    }
    let (producers, _) = model.replay();
    let open = producers.values().filter_map(|p| p.open_from).min();
    let open = open.map(|offset| offset.max(model.start));
    equal("first unstable offset", &view.first_unstable_offset().map(|o| o.0), &open)?;
    if !log.is_asleep() {
        self::producers(log, model)?;
    }
    indexes(log, disk)
}

/// Each offset leads to the first batch that holds it or comes after it.
fn places((view, model): (&LogView, &Model), found: &[Found], random: &mut Seeded) -> Finding {
    for _ in 0..found.len() {
        let offset = random.between(model.start, model.end - 1);
        let bytes = read(view, offset, limits(1, model))?;
        let given = BatchView::parse(&bytes).map_err(|e| format!("at {offset}: {e}"))?;
        let holder = found.iter().find(|batch| batch.header.last_offset().0 >= offset);
        let expected = holder.map(|batch| batch.header.base_offset);
        equal(&format!("where {offset} leads"), &Some(given.base_offset), &expected)?;
    }
    Ok(())
}

/// Each timestamp leads to the first record that is not before it.
fn times((view, model): (&LogView, &Model), found: &[Found], random: &mut Seeded) -> Finding {
    let all: Vec<(i64, i64)> = found
        .iter()
        .flat_map(|batch| batch.records.iter().map(|record| (record.offset, record.timestamp)))
        .filter(|(offset, _)| *offset >= model.start)
        .collect();
    let mut wanted = vec![0, i64::MAX];
    wanted.extend((0..8).filter(|_| !all.is_empty()).map(|_| {
        let (_, timestamp) = *random.pick(&all);
        timestamp + random.between(-1, 1)
    }));
    for timestamp in wanted {
        let given = view
            .offset_for_timestamp(Timestamp(timestamp), Offset(model.end))
            .map_err(|e| format!("search for {timestamp}: {e}"))?;
        let expected = all.iter().find(|(_, t)| *t >= timestamp).copied();
        let given = given.map(|f| (f.offset.0, f.timestamp.0));
        equal(&format!("the first record from {timestamp} on"), &given, &expected)?;
    }
    Ok(())
}

/// A log that was opened from compacted batches knows of each producer the epoch, the last batch
/// and what is open.
fn producers(log: &Log, model: &Model) -> Finding {
    let (expected, _) = model.replay();
    let found: BTreeSet<i64> = log.producers().iter().map(|(id, _)| id.0).collect();
    equal("producers", &found, &expected.keys().copied().collect())?;
    for (id, entry) in log.producers().iter() {
        let expected = &expected[&id.0];
        let what = |field: &str| format!("{field} of producer {id}");
        equal(&what("epoch"), &entry.epoch.0, &expected.epoch)?;
        let open = entry.transaction_first_offset.map(|offset| offset.0);
        equal(&what("open transaction"), &open, &expected.open_from)?;
        let last = entry.batches.back();
        let last = last.map(|b| (b.first_sequence(), b.last_sequence, b.last_offset.0));
        equal(&what("last batch"), &last, &expected.batches.last().copied())?;
        ensure(entry.coordinator_epoch <= expected.coordinator_epoch, || what("coordinator"))?;
    }
    Ok(())
}

/// The index files say what is true of the batches in the file beside them.
fn indexes(log: &Log, disk: &SimDisk) -> Finding {
    for base in log.view().segment_bases() {
        let file = |suffix| log.dir().join(names::segment_file(base, suffix));
        let bytes = disk.bytes(&file(names::LOG_SUFFIX)).unwrap_or_default();
        let mut placed = Vec::new();
        let mut position = 0;
        for batch in batches(&bytes).map_while(Result::ok) {
            placed.push((*batch.header(), position));
            position += batch.bytes().len();
        }
        if placed.is_empty() {
            // Nobody asks, and they are written anew with the first batch.
            continue;
        }
        let index = disk.bytes(&file(names::INDEX_SUFFIX)).unwrap_or_default();
        for entry in decode_index(&index) {
            let offset = base.plus(i64::from(entry.relative_offset));
            let is_right = placed
                .iter()
                .any(|(h, at)| h.last_offset() == offset && *at == entry.position as usize);
            ensure(is_right, || {
                format!("the index of {base} says that {offset} is at {}", entry.position)
            })?;
        }
        let index = disk.bytes(&file(names::TIME_INDEX_SUFFIX)).unwrap_or_default();
        for entry in decode_time_index(&index) {
            let offset = base.plus(i64::from(entry.relative_offset));
            let up_to =
                placed.iter().filter(|(h, _)| h.base_offset <= offset && h.record_count > 0);
            let max = up_to.map(|(header, _)| header.max_timestamp).max();
            ensure(max == Some(entry.timestamp), || {
                format!("the time index of {base} says {} at {offset}", entry.timestamp)
            })?;
        }
    }
    Ok(())
}
