//! What was appended to a compacted log and what became of it, against what is there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use klamm_log::LogView;
use klamm_model::Offset;

use super::finding::{Finding, ensure, equal};
use super::found::Found;
use super::model::{Compaction, Model};
use super::stored::{Content, Purpose, Stored};

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
pub(super) struct History<'a> {
    batches: Vec<(&'a Stored, Fate)>,
    compaction: &'a Compaction,
    start: i64,
}

impl<'a> History<'a> {
    pub(super) fn new(model: &'a Model, compaction: &'a Compaction) -> Self {
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
    pub(super) fn as_appended(&self, found: &[Found]) -> Finding {
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
    pub(super) fn nothing_lost(&self, found: &[Found]) -> Finding {
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

    pub(super) fn markers_are_there(&self, found: &[Found]) -> Finding {
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
    pub(super) fn read_committed(&self, found: &[Found], view: &LogView, model: &Model) -> Finding {
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
