//! What must be true of a log, whatever happened before: compared with its model by reading it
//! through its public door. It never changes either.

use klamm_log::{Log, LogView, decode_index, decode_time_index, names};
use klamm_model::{Offset, ProducerId, Timestamp};
use klamm_records::{BatchView, batches};

use super::compacted;
use super::finding::{Finding, ensure, equal, limits, read};
use super::model::Model;
use super::stored::Stored;
use crate::disk::SimDisk;
use crate::random::Seeded;

/// All of it.
pub(crate) fn log(log: &Log, model: &Model, disk: &SimDisk, random: &mut Seeded) -> Finding {
    let view = log.view();
    equal("log start", &view.log_start_offset().0, &model.start)?;
    equal("log end", &view.log_end_offset().0, &model.end)?;
    ensure(view.synced_offset().0 <= model.end, || "synced beyond the end".to_owned())?;
    if model.compaction.is_some() {
        return compacted::log(log, model, disk, random);
    }
    contents(view, model, random)?;
    places(view, model, random)?;
    times(view, model, random)?;
    epochs(view, model)?;
    if !log.is_asleep() {
        producers(log, model)?;
    }
    aborted(view, model)?;
    indexes(log, model, disk)
}

/// The batches that hold `offset` or come after it.
fn from(model: &Model, offset: i64) -> &[Stored] {
    let n = model.batches.partition_point(|batch| batch.next() <= offset);
    &model.batches[n..]
}

/// Every record, in order, once, byte for byte.
pub(crate) fn contents(view: &LogView, model: &Model, random: &mut Seeded) -> Finding {
    let mut expected = from(model, model.start).iter();
    let mut offset = model.start;
    while offset < model.end {
        let bytes_max = 50 + random.below(3000) as u32;
        let bytes = read(view, offset, limits(bytes_max, model))?;
        let mut given = 0;
        // The last batch may be cut by the limit.
        for batch in batches(&bytes).map_while(Result::ok) {
            let next = expected.next().ok_or_else(|| format!("too much behind {offset}"))?;
            ensure(batch.bytes() == next.draft.bytes, || {
                let found = batch.header();
                format!("at {offset}: {found:?} instead of what was appended at {}", next.base)
            })?;
            offset = next.next();
            given += 1;
        }
        ensure(given > 0, || format!("nothing at {offset}, which is below {}", model.end))?;
    }
    ensure(expected.next().is_none(), || "the end comes too early".to_owned())
}

/// Each offset leads to the batch that holds it.
pub(crate) fn places(view: &LogView, model: &Model, random: &mut Seeded) -> Finding {
    for batch in from(model, model.start) {
        let offset = random.between(batch.base.max(model.start), batch.last());
        let bytes = read(view, offset, limits(1, model))?;
        let found = BatchView::parse(&bytes).map_err(|e| format!("at {offset}: {e}"))?;
        ensure(found.bytes() == batch.draft.bytes, || {
            format!("offset {offset} leads to the batch at {}", found.header().base_offset)
        })?;
    }
    Ok(())
}

/// Offset and timestamp of each record that readers may see.
fn records(model: &Model) -> impl Iterator<Item = (i64, i64)> {
    let all = from(model, model.start).iter().flat_map(|batch| {
        batch.draft.timestamps.iter().enumerate().map(|(i, t)| (batch.base + i as i64, *t))
    });
    all.filter(|(offset, _)| *offset >= model.start)
}

/// Each timestamp leads to the first record that is not before it.
fn times(view: &LogView, model: &Model, random: &mut Seeded) -> Finding {
    let all: Vec<(i64, i64)> = records(model).collect();
    let mut wanted = vec![0, i64::MAX];
    wanted.extend((0..12).filter(|_| !all.is_empty()).map(|_| {
        let (_, timestamp) = *random.pick(&all);
        timestamp + random.between(-1, 1)
    }));
    for timestamp in wanted {
        let found = view
            .offset_for_timestamp(Timestamp(timestamp), Offset(model.end))
            .map_err(|e| format!("search for {timestamp}: {e}"))?;
        let expected = all.iter().find(|(_, t)| *t >= timestamp);
        let found = found.map(|f| (f.offset.0, f.timestamp.0));
        equal(&format!("the first record from {timestamp} on"), &found, &expected.copied())?;
    }
    let newest = view.max_timestamp(Offset(model.end)).map_err(|e| e.to_string())?;
    if view.segment_bases().first().is_some_and(|base| base.0 == model.start) {
        let max = all.iter().map(|(_, timestamp)| *timestamp).max();
        equal("the newest timestamp", &newest.map(|found| found.timestamp.0), &max)?;
    }
    Ok(())
}

fn epochs(view: &LogView, model: &Model) -> Finding {
    for batch in from(model, model.start) {
        let offset = Offset(batch.base.max(model.start));
        let found = view.epoch_at(offset).map(|epoch| epoch.0);
        equal(&format!("leader epoch at {offset}"), &found, &Some(batch.leader_epoch))?;
    }
    Ok(())
}

fn producers(log: &Log, model: &Model) -> Finding {
    let (expected, _) = model.replay();
    let found: Vec<i64> = {
        let mut ids: Vec<i64> = log.producers().iter().map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        ids
    };
    equal("producers", &found, &expected.keys().copied().collect())?;
    for (id, entry) in log.producers().iter() {
        let ProducerId(id) = id;
        let expected = &expected[&id];
        let what = |field: &str| format!("{field} of producer {id}");
        equal(&what("epoch"), &entry.epoch.0, &expected.epoch)?;
        let open = entry.transaction_first_offset.map(|offset| offset.0);
        equal(&what("open transaction"), &open, &expected.open_from)?;
        equal(&what("coordinator epoch"), &entry.coordinator_epoch, &expected.coordinator_epoch)?;
        let batches: Vec<(i32, i32, i64)> = entry
            .batches
            .iter()
            .map(|b| (b.first_sequence(), b.last_sequence, b.last_offset.0))
            .collect();
        // A snapshot holds one batch of each producer, so a log that was opened knows fewer.
        ensure(expected.batches.ends_with(&batches), || {
            format!("batches of producer {id}: {batches:?} instead of {:?}", expected.batches)
        })?;
        let least = model.remembered(id).len().max(expected.batches.len().min(1));
        ensure(batches.len() >= least, || {
            format!("producer {id}: {} batches remembered of {least}", batches.len())
        })?;
    }
    Ok(())
}

fn aborted(view: &LogView, model: &Model) -> Finding {
    let (producers, mut expected) = model.replay();
    expected.retain(|transaction| transaction.last >= model.start);
    let found: Vec<(i64, i64, i64, i64)> = view
        .aborted_transactions(Offset(0), Offset(i64::MAX))
        .iter()
        .map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0, t.last_stable_offset.0))
        .collect();
    let expected: Vec<(i64, i64, i64, i64)> =
        expected.iter().map(|t| (t.id, t.first, t.last, t.last_stable)).collect();
    equal("aborted transactions", &found, &expected)?;
    let open = producers.values().filter_map(|p| p.open_from).min();
    let open = open.map(|offset| offset.max(model.start));
    equal("first unstable offset", &view.first_unstable_offset().map(|o| o.0), &open)
}

/// The index files say what is true of the batches.
fn indexes(log: &Log, model: &Model, disk: &SimDisk) -> Finding {
    let bases = log.view().segment_bases();
    for (i, base) in bases.iter().enumerate() {
        let end = bases.get(i + 1).map_or(model.end, |next| next.0);
        let mut placed = Vec::new();
        let mut position = 0;
        for batch in model.batches.iter().filter(|b| b.base >= base.0 && b.next() <= end) {
            placed.push((batch, position));
            position += batch.draft.bytes.len();
        }
        if placed.is_empty() {
            // Nobody asks, and they are written anew with the first batch.
            continue;
        }
        let file = |suffix| log.dir().join(names::segment_file(*base, suffix));
        let bytes = disk.bytes(&file(names::INDEX_SUFFIX)).unwrap_or_default();
        for entry in decode_index(&bytes) {
            let offset = base.0 + i64::from(entry.relative_offset);
            let is_right = placed
                .iter()
                .any(|(batch, at)| batch.last() == offset && *at == entry.position as usize);
            ensure(is_right, || {
                format!("the index of {base} says that {offset} is at {}", entry.position)
            })?;
        }
        let bytes = disk.bytes(&file(names::TIME_INDEX_SUFFIX)).unwrap_or_default();
        for entry in decode_time_index(&bytes) {
            let offset = base.0 + i64::from(entry.relative_offset);
            let up_to = placed.iter().filter(|(batch, _)| batch.base <= offset);
            let max = up_to.map(|(batch, _)| batch.max_timestamp()).max();
            ensure(max == Some(entry.timestamp.0), || {
                format!("the time index of {base} says {} at {offset}", entry.timestamp)
            })?;
        }
    }
    Ok(())
}
