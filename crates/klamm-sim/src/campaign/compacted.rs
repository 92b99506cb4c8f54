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

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use klamm_log::{Log, LogView, decode_index, decode_time_index, names};
use klamm_model::{Offset, Timestamp};
use klamm_records::{BatchHeader, BatchView, Scratch, batches};

use super::finding::{Finding, ensure, equal, limits, read};
use super::model::{Compaction, Model};
use super::stored::{Content, Purpose, Stored};
use crate::disk::SimDisk;
use crate::random::Seeded;

/// A batch that is in the log.
struct Found {
    header: BatchHeader,
    records: Vec<Record>,
    is_abort: bool,
}

struct Record {
    offset: i64,
    timestamp: i64,
    content: Content,
}

/// How the transaction of a batch has ended, and with which marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Plain,
    Open,
    Committed(i64),
    Aborted(i64),
    Marker,
}

impl Fate {
    fn is_visible(self) -> bool {
        matches!(self, Self::Plain | Self::Committed(_))
    }

    fn marker(self) -> Option<i64> {
        match self {
            Self::Committed(marker) | Self::Aborted(marker) => Some(marker),
            _ => None,
        }
    }
}

/// What was appended, with what became of it.
struct History<'a> {
    batches: Vec<(&'a Stored, Fate)>,
    compaction: &'a Compaction,
    start: i64,
}

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

/// Every batch that readers are given, in order.
fn found(view: &LogView, model: &Model, random: &mut Seeded) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    let mut offset = model.start;
    while offset < model.end {
        let bytes_max = 50 + random.below(3000) as u32;
        let bytes = read(view, offset, limits(bytes_max, model))?;
        let before = all.len();
        for batch in batches(&bytes).map_while(Result::ok) {
            let header = *batch.header();
            let is_next = header.base_offset.0 >= offset || all.is_empty();
            ensure(is_next && header.last_offset().0 >= offset, || {
                format!("whoever asks for {offset} is given {header:?}")
            })?;
            all.push(parse(&batch).map_err(|what| format!("at {offset}: {what}"))?);
            offset = header.next_offset().0;
        }
        ensure(all.len() > before, || format!("nothing at {offset}, below {}", model.end))?;
    }
    ensure(offset == model.end, || format!("batches end at {offset}, the log at {}", model.end))?;
    Ok(all)
}

fn parse(batch: &BatchView<'_>) -> Result<Found, String> {
    batch.check_crc().map_err(|e| e.to_string())?;
    let mut scratch = Scratch::default();
    let mut found = Found { header: *batch.header(), records: Vec::new(), is_abort: false };
    for record in batch.records(&mut scratch).map_err(|e| e.to_string())? {
        let record = record.map_err(|e| e.to_string())?;
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let content = Content { key: owned(record.key), value: owned(record.value) };
        if found.header.attributes.is_control() {
            // Version and type, of which 0 is the one that aborts (KIP-98).
            found.is_abort = content.key.as_deref() == Some(&[0, 0, 0, 0]);
        }
        let (offset, timestamp) = (record.offset.0, record.timestamp.0);
        found.records.push(Record { offset, timestamp, content });
    }
    Ok(found)
}

impl<'a> History<'a> {
    fn new(model: &'a Model, compaction: &'a Compaction) -> Self {
        let mut ends: HashMap<i64, (i64, bool)> = HashMap::new();
        let mut batches = Vec::new();
        for batch in model.batches.iter().rev() {
            let id = batch.draft.writer.map_or(-1, |writer| writer.id);
            let fate = match batch.draft.purpose {
                Purpose::Data => Fate::Plain,
                Purpose::Marker { is_abort, .. } => {
                    ends.insert(id, (batch.base, is_abort));
                    Fate::Marker
                }
                Purpose::Transaction => match ends.get(&id) {
                    None => Fate::Open,
                    Some((marker, true)) => Fate::Aborted(*marker),
                    Some((marker, false)) => Fate::Committed(*marker),
                },
            };
            batches.push((batch, fate));
        }
        batches.reverse();
        Self { batches, compaction, start: model.start }
    }

    fn at(&self, base: i64) -> Option<&(&'a Stored, Fate)> {
        let i = self.batches.binary_search_by_key(&base, |(batch, _)| batch.base).ok()?;
        self.batches.get(i)
    }

    /// Offset, key and value of each committed record from the start on.
    fn visible(&self) -> impl Iterator<Item = (i64, &'a Content)> {
        let visible = self.batches.iter().filter(|(_, fate)| fate.is_visible());
        let records = visible.flat_map(|(batch, _)| {
            batch.draft.contents.iter().enumerate().map(|(i, c)| (batch.base + i as i64, c))
        });
        records.filter(|(offset, _)| *offset >= self.start)
    }

    /// Each batch has the offsets, the producer and the epoch that it had, and no record but its
    /// own, unchanged.
    fn as_appended(&self, found: &[Found]) -> Finding {
        for batch in found {
            let header = &batch.header;
            let base = header.base_offset.0;
            let (was, _) = self.at(base).ok_or_else(|| format!("{header:?} was never appended"))?;
            equal("last offset", &header.last_offset().0, &was.last())?;
            equal("leader epoch", &header.partition_leader_epoch.0, &was.leader_epoch)?;
            let writer = header.producer.map(|p| (p.id.0, p.epoch.0, p.base_sequence));
            let wrote = was.draft.writer.map(|w| (w.id, w.epoch, w.sequence));
            equal(&format!("producer of {base}"), &writer, &wrote)?;
            let is_control = header.attributes.is_control();
            for record in &batch.records {
                let i = usize::try_from(record.offset - base).unwrap_or(usize::MAX);
                let same = is_control || was.draft.contents.get(i) == Some(&record.content);
                let time = was.draft.timestamps.get(i) == Some(&record.timestamp);
                ensure(same && time, || format!("the record at {} has changed", record.offset))?;
            }
        }
        Ok(())
    }

    /// What is missing was allowed to go.
    fn nothing_lost(&self, found: &[Found]) -> Finding {
        let there: HashSet<i64> =
            found.iter().flat_map(|b| b.records.iter().map(|record| record.offset)).collect();
        let data: BTreeSet<i64> = found.iter().map(|batch| batch.header.base_offset.0).collect();
        let mut latest: HashMap<&[u8], i64> = HashMap::new();
        let handed_over = self.compaction.handed_over;
        for (offset, content) in self.visible().filter(|(offset, _)| *offset < handed_over) {
            latest.insert(content.key.as_deref().unwrap_or_default(), offset);
        }
        for (batch, fate) in &self.batches {
            let offsets = batch.base.max(self.start)..batch.next();
            for offset in offsets.filter(|offset| !there.contains(offset)) {
                ensure(offset < handed_over, || {
                    format!("{offset} is gone, and the cleaner was given only {handed_over}")
                })?;
                let is_old = self.compaction.may_forget(batch.runs_before);
                let may_go = match fate {
                    Fate::Aborted(_) => true,
                    Fate::Open => false,
                    Fate::Marker => is_old && !self.has_data(batch.base, &data),
                    Fate::Plain | Fate::Committed(_) => {
                        let i = usize::try_from(offset - batch.base).unwrap_or(usize::MAX);
                        let content = batch.draft.contents.get(i);
                        let key = content.and_then(|c| c.key.as_deref()).unwrap_or_default();
                        let is_tombstone = content.is_some_and(|c| c.value.is_none());
                        latest.get(key).is_some_and(|last| *last > offset)
                            || (is_tombstone && is_old)
                    }
                };
                ensure(may_go, || format!("{offset} is gone, which was {fate:?}"))?;
            }
        }
        Ok(())
    }

    /// Whether a batch of the marker's transaction is there.
    fn has_data(&self, marker: i64, there: &BTreeSet<i64>) -> bool {
        let of = self.batches.iter().filter(|(_, fate)| fate.marker() == Some(marker));
        of.into_iter().any(|(batch, _)| there.contains(&batch.base))
    }

    fn markers_are_there(&self, found: &[Found]) -> Finding {
        let markers: HashSet<i64> = found
            .iter()
            .filter(|batch| batch.header.attributes.is_control() && !batch.records.is_empty())
            .map(|batch| batch.header.base_offset.0)
            .collect();
        for batch in found {
            let base = batch.header.base_offset.0;
            let marker = self.at(base).and_then(|(_, fate)| fate.marker());
            ensure(marker.is_none_or(|marker| markers.contains(&marker)), || {
                format!("the marker at {marker:?} is gone, and {base} of its transaction is there")
            })?;
        }
        Ok(())
    }

    /// A consumer of committed records finds no aborted one, and the last of each key.
    fn read_committed(&self, found: &[Found], view: &LogView, model: &Model) -> Finding {
        let mut aborted = view.aborted_transactions(Offset(model.start), Offset(model.end));
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let (mut skipped, mut last) = (HashSet::new(), BTreeMap::new());
        let stable = view.first_unstable_offset().map_or(model.end, |offset| offset.0);
        for batch in found {
            let header = &batch.header;
            while let Some(begun) = aborted.pop_if(|t| t.first_offset <= header.last_offset()) {
                skipped.insert(begun.producer_id);
            }
            let producer = header.producer.map(|producer| producer.id);
            if header.attributes.is_control() {
                if batch.is_abort {
                    skipped.retain(|id| Some(*id) != producer);
                }
                continue;
            }
            let is_skipped = header.attributes.is_transactional()
                && producer.is_some_and(|id| skipped.contains(&id));
            let fate = self.at(header.base_offset.0).map_or(Fate::Open, |(_, fate)| *fate);
            let is_unstable = fate == Fate::Open && header.last_offset().0 >= stable;
            if is_skipped || is_unstable || batch.records.is_empty() {
                ensure(!is_skipped || !fate.is_visible() || batch.records.is_empty(), || {
                    format!("{} was committed, and is skipped", header.base_offset)
                })?;
                continue;
            }
            ensure(fate.is_visible(), || format!("{} is shown: {fate:?}", header.base_offset))?;
            for record in batch.records.iter().filter(|record| record.offset >= model.start) {
                let key = record.content.key.clone().unwrap_or_default();
                last.insert(key, (record.offset, &record.content.value));
            }
        }
        let mut expected = BTreeMap::new();
        for (offset, content) in self.visible() {
            expected.insert(content.key.clone().unwrap_or_default(), (offset, &content.value));
        }
        // A tombstone may be gone, with all that it deleted.
        expected.retain(|key, (_, value)| value.is_some() || last.contains_key(key));
        equal("the last of each key", &last, &expected)
    }
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
