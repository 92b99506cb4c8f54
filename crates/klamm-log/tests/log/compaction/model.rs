//! Random logs, cleaned at random moments, compared with what each key said last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use klamm_log::Log;
use klamm_model::Offset;
use klamm_records::Codec;
use proptest::prelude::*;

use super::support::*;
use crate::batches::{NOW, as_disk, clean, dir, unclean};
use crate::disk::MemoryDisk;

#[derive(Debug, Clone)]
enum Step {
    /// Keys, of which one in four is deleted, and how they are compressed.
    Write(Vec<(u8, bool)>, usize),
    /// In a transaction of one of three producers.
    Transact(i64, Vec<(u8, bool)>),
    End(i64, bool),
    Roll,
    /// So much later, with room for so many keys.
    Clean(i64, u64),
    Reopen(bool),
}

fn records() -> impl Strategy<Value = Vec<(u8, bool)>> {
    proptest::collection::vec((0..12_u8, (0..4_u8).prop_map(|n| n == 0)), 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (records(), 0..5_usize).prop_map(|(records, codec)| Step::Write(records, codec)),
        3 => (1..4_i64, records()).prop_map(|(id, records)| Step::Transact(id, records)),
        3 => (1..4_i64, any::<bool>()).prop_map(|(id, is_abort)| Step::End(id, is_abort)),
        3 => Just(Step::Roll),
        3 => (0..700_i64, 4..40_u64).prop_map(|(ms, keys)| Step::Clean(ms, keys)),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

/// A record as it was written: offset, key, value, and the producer of its transaction.
type Written = (i64, String, Option<String>, Option<i64>);

struct World {
    disk: Arc<MemoryDisk>,
    log: Mutex<Log>,
    written: Vec<Written>,
    /// Open transactions, by where they begin.
    open: BTreeMap<i64, i64>,
    /// Ranges of aborted ones: producer, first, marker.
    aborted: Vec<(i64, i64, i64)>,
    sequences: BTreeMap<i64, i32>,
    ms: i64,
    sent: u64,
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let log = log(&disk);
        Self {
            disk,
            log,
            written: Vec::new(),
            open: BTreeMap::new(),
            aborted: Vec::new(),
            sequences: BTreeMap::new(),
            ms: 0,
            sent: 0,
        }
    }

    fn batch(&mut self, records: &[(u8, bool)]) -> Keyed {
        let mut batch = Keyed::default();
        for (key, is_deleted) in records {
            self.sent += 1;
            let value = (!is_deleted).then(|| format!("value {}", self.sent));
            batch.records.push((Some(format!("key {key}")), value));
        }
        batch
    }

    fn write(&mut self, batch: &Keyed, id: Option<i64>) {
        let base = append(&self.log, batch);
        for (i, (key, value)) in batch.records.iter().enumerate() {
            let key = key.clone().unwrap();
            self.written.push((base + i as i64, key, value.clone(), id));
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Write(records, codec) => {
                let batch = self.batch(&records).codec(Codec::ALL[codec]);
                self.write(&batch, None);
            }
            Step::Transact(id, records) => {
                let sequence = *self.sequences.get(&id).unwrap_or(&0);
                let batch = self.batch(&records).by(id, 0, sequence).transactional();
                *self.sequences.entry(id).or_default() += records.len() as i32;
                let first = self.log.lock().unwrap().log_end_offset().0;
                self.write(&batch, Some(id));
                self.open.entry(id).or_insert(first);
            }
            Step::End(id, is_abort) => {
                let marker = end(&self.log, id, is_abort);
                if let Some(first) = self.open.remove(&id).filter(|_| is_abort) {
                    self.aborted.push((id, first, marker));
                }
            }
            Step::Roll => roll(&self.log),
            Step::Clean(ms, keys) => {
                self.ms += ms;
                if self.log.lock().unwrap().compaction_candidate().is_some() {
                    clean_with(&self.log, &self.log, (24 * keys, self.ms)).unwrap();
                }
            }
            Step::Reopen(was_clean) => self.reopen(was_clean),
        }
    }

    fn reopen(&mut self, was_clean: bool) {
        let mut log = self.log.lock().unwrap();
        let cleaned_to = log.cleaned_to();
        if was_clean {
            log.close_clean().unwrap();
        }
        let opening = if was_clean { clean() } else { unclean(0) };
        *log = Log::open(&as_disk(&self.disk), &dir(), compacted(), opening, NOW).unwrap().0;
        if let Some(offset) = cleaned_to {
            log.resume_cleaning_at(offset);
        }
    }

    fn is_aborted(&self, (offset, _, _, id): &Written) -> bool {
        let covers = |t: &(i64, i64, i64)| Some(t.0) == *id && (t.1..t.2).contains(offset);
        self.aborted.iter().any(covers)
    }

    fn check(&self) {
        let found = rows(&self.log);
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets grow");
        let by_offset: BTreeMap<i64, &Written> = self.written.iter().map(|w| (w.0, w)).collect();
        for (offset, key, value) in &found {
            let written = by_offset[offset];
            assert_eq!((Some(&written.1), &written.2), (key.as_ref(), value), "offset {offset}");
        }
        let view = Arc::clone(self.log.lock().unwrap().view());
        let aborted = view.aborted_transactions(Offset(0), Offset(i64::MAX));
        let is_hidden = |offset: i64| {
            let written = by_offset[&offset];
            aborted.iter().any(|t| {
                Some(t.producer_id.0) == written.3
                    && (t.first_offset.0..t.last_offset.0).contains(&offset)
            })
        };
        let there: BTreeMap<i64, bool> = found.iter().map(|r| (r.0, is_hidden(r.0))).collect();
        let stable = view.last_stable_offset(view.log_end_offset()).0;
        // The last word on each key below the last stable offset is there, for readers of
        // committed records too; a deletion may have been forgotten, but never undone.
        let mut last: BTreeMap<&str, &Written> = BTreeMap::new();
        for written in self.written.iter().filter(|w| w.0 < stable && !self.is_aborted(w)) {
            last.insert(&written.1, written);
        }
        for (key, (offset, _, value, _)) in &last {
            match value {
                Some(_) => assert_eq!(there.get(offset), Some(&false), "{key} at {offset}"),
                None => {
                    let is_gone = !there.contains_key(offset);
                    let older = |w: &&Written| w.1 == **key && w.0 < *offset && !self.is_aborted(w);
                    let undone =
                        self.written.iter().filter(older).any(|w| there.contains_key(&w.0));
                    assert!(!(is_gone && undone), "{key}: the deletion at {offset} is undone");
                }
            }
        }
        let shown_aborted = self
            .written
            .iter()
            .filter(|w| w.0 < stable && self.is_aborted(w))
            .any(|w| there.get(&w.0) == Some(&false));
        assert!(!shown_aborted, "an aborted record is shown");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_last_word_on_every_key_stays_whatever_happens(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            let is_telling = matches!(step, Step::Clean(..) | Step::Reopen(_));
            world.act(step);
            if is_telling {
                world.check();
            }
        }
        world.check();
    }
}
