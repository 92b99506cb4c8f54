//! Random work on a log, compared with a list of records after every step.

use std::sync::Arc;

use klamm_log::{Log, LogConfig, Opening, RecoveryMark};
use klamm_model::{Offset, Timestamp};
use proptest::prelude::*;

use crate::batches::*;
use crate::disk::MemoryDisk;

/// Steps of one case; more add little.
const STEPS_MAX: usize = 40;
const CASES: u32 = 300;

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(usize),
    Produce(i64),
    Transact(i64),
    End(i64, bool),
    Roll,
    Sync,
    Checkpoint(u64),
    Ticket,
    Honour,
    Reopen,
    Sleep,
    Crash(u64),
    Truncate(usize),
    DeleteRecords(usize),
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_usize).prop_map(Step::Append),
        4 => (1..4_i64).prop_map(Step::Produce),
        3 => (4..7_i64).prop_map(Step::Transact),
        3 => (4..7_i64, any::<bool>()).prop_map(|(id, is_abort)| Step::End(id, is_abort)),
        2 => Just(Step::Roll),
        2 => Just(Step::Sync),
        2 => prop_oneof![Just(1), Just(300)].prop_map(Step::Checkpoint),
        1 => Just(Step::Ticket),
        1 => Just(Step::Honour),
        1 => Just(Step::Reopen),
        1 => Just(Step::Sleep),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => (0..100_usize).prop_map(Step::Truncate),
        1 => (0..100_usize).prop_map(Step::DeleteRecords),
        1 => (0..5000_u64).prop_map(Step::Retain),
    ]
}

/// A batch as the model knows it.
#[derive(Debug, Clone, PartialEq)]
struct Batch {
    base: i64,
    values: Vec<String>,
    producer: Option<(i64, i32)>,
    is_transactional: bool,
    marker_aborts: Option<bool>,
}

impl Batch {
    fn next(&self) -> i64 {
        self.base + self.values.len() as i64
    }
}

/// Whose, its first offset, and its marker with whether it aborts.
type Transaction = (i64, i64, Option<(i64, bool)>);

struct World {
    disk: Arc<MemoryDisk>,
    log: Log,
    batches: Vec<Batch>,
    start: i64,
    end: i64,
    /// What was durable by the log's own account.
    synced: i64,
    /// What the recovery checkpoint says.
    mark: Option<RecoveryMark>,
    tickets: Vec<klamm_log::SyncTicket>,
    sent: i64,
}

fn small() -> LogConfig {
    LogConfig { segment_bytes: 600, index_interval_bytes: 100, ..config() }
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let log = create(&disk, small());
        Self {
            disk,
            log,
            batches: Vec::new(),
            start: 0,
            end: 0,
            synced: 0,
            mark: None,
            tickets: Vec::new(),
            sent: 0,
        }
    }

    fn value(&mut self) -> String {
        self.sent += 1;
        format!("value {}", self.sent)
    }

    fn note(&mut self, spec: &Spec, marker_aborts: Option<bool>) {
        self.batches.push(Batch {
            base: self.end,
            values: spec.values.clone(),
            producer: spec.producer.map(|(id, _, sequence)| (id, sequence)),
            is_transactional: spec.is_transactional,
            marker_aborts,
        });
        self.end = self.batches.last().unwrap().next();
    }

    fn append(&mut self, spec: &Spec) {
        let appended = append(&mut self.log, spec).unwrap();
        assert_eq!((appended.base_offset.0, appended.is_duplicate), (self.end, false));
        self.note(spec, None);
    }

    /// The next sequence number of a producer, by the batches that there are.
    fn next_sequence(&self, id: i64) -> i32 {
        let of_producer = |b: &&Batch| b.producer.is_some_and(|(p, _)| p == id);
        let last = self.batches.iter().rev().find(of_producer);
        last.map_or(0, |b| b.producer.unwrap().1 + b.values.len() as i32)
    }

    fn produce(&mut self, id: i64, is_transactional: bool) {
        let value = self.value();
        let mut spec = values([&value, "second"]).by(id, 0, self.next_sequence(id));
        spec.is_transactional = is_transactional;
        self.append(&spec);
        let again = append(&mut self.log, &spec).unwrap();
        assert!(again.is_duplicate && again.last_offset.0 == self.end - 1);
        assert!(append(&mut self.log, &spec.clone().by(id, 0, 1_000_000)).is_err());
    }

    /// All transactions, by the batches that there are.
    fn transactions(&self) -> Vec<Transaction> {
        let mut found: Vec<Transaction> = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.is_transactional) {
            let id = batch.producer.unwrap().0;
            let open = found.iter_mut().find(|(p, _, end)| *p == id && end.is_none());
            match (open, batch.marker_aborts) {
                (Some(open), Some(aborts)) => open.2 = Some((batch.base, aborts)),
                (None, None) => found.push((id, batch.base, None)),
                _ => {}
            }
        }
        found
    }

    fn end_transaction(&mut self, id: i64, is_abort: bool) {
        end(&mut self.log, id, 0, is_abort).unwrap();
        let key = if is_abort { "\0\0\0\0" } else { "\0\0\0\u{1}" };
        let mut spec = values([key]).transactional();
        // A marker has no sequence; the next data goes on where the last left off.
        spec.producer = Some((id, 0, self.next_sequence(id) - 1));
        self.note(&spec, Some(is_abort));
    }

    fn cut_to(&mut self, end: i64) {
        // A batch that holds the end goes as a whole.
        let cut = self.batches.iter().find(|b| b.next() > end).map_or(end, |b| b.base.min(end));
        self.batches.retain(|batch| batch.next() <= end);
        self.end = cut.max(self.start);
        self.synced = self.synced.min(self.end);
    }

    fn reopen(&mut self, was_clean: bool) {
        self.tickets.clear();
        let opening = Opening {
            was_clean,
            recovery_point: Offset(self.synced),
            log_start_offset: Offset(self.start),
            mark: self.mark,
            cleaned_to: None,
        };
        let disk = as_disk(&self.disk);
        self.log = Log::open(&disk, &dir(), small(), opening, NOW).unwrap().0;
        let end = self.log.log_end_offset().0;
        if was_clean {
            assert_eq!(end, self.end);
            self.synced = self.end;
            return;
        }
        assert!((self.synced.max(self.start)..=self.end).contains(&end), "{end} of {}", self.end);
        self.cut_to(end);
        assert_eq!(self.end, end, "whole batches only");
    }

    /// The checkpoint on the disk says what the log says now.
    fn write_mark(&mut self) {
        self.mark = self.log.mark();
        if let Some(mark) = self.mark {
            self.log.on_mark_written(mark).unwrap();
        }
    }

    /// Closed in order, and not touched by the next life before it is used.
    fn sleep(&mut self) {
        self.log.close_clean().unwrap();
        self.write_mark();
        self.tickets.clear();
        self.synced = self.end;
        let Some(closed) = self.log.closed() else { return self.reopen(true) };
        let disk = as_disk(&self.disk);
        let reads = self.disk.counts.of(|c| &c.reads);
        self.log = Log::asleep(&disk, &dir(), small(), &closed, NOW);
        self.log.keep_mark(self.mark);
        assert_eq!(self.disk.counts.of(|c| &c.reads), reads);
    }

    fn sync(&mut self) {
        sync(&mut self.log, &self.disk);
        self.synced = self.log.recovery_point().0;
        // With an older ticket of the same end under way, that one is believed to be meant.
        assert!(self.synced == self.end || !self.tickets.is_empty());
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Append(n) => {
                let spec =
                    Spec { values: (0..n).map(|_| self.value()).collect(), ..Spec::default() };
                self.append(&spec);
            }
            Step::Produce(id) => self.produce(id, false),
            Step::Transact(id) => self.produce(id, true),
            Step::End(id, is_abort) => self.end_transaction(id, is_abort),
            Step::Roll => self.log.roll(NOW).unwrap(),
            Step::Sync => self.sync(),
            Step::Checkpoint(worth_bytes) => {
                self.log.prepare_checkpoint(worth_bytes).unwrap();
                self.sync();
                self.write_mark();
            }
            Step::Ticket => self.tickets.extend(self.log.sync_ticket().unwrap()),
            Step::Honour => {
                for ticket in std::mem::take(&mut self.tickets) {
                    ticket.sync(self.disk.as_ref()).unwrap();
                    self.log.on_synced(ticket.up_to);
                }
                self.synced = self.log.recovery_point().0;
            }
            Step::Reopen => {
                self.log.close_clean().unwrap();
                self.write_mark();
                self.reopen(true);
            }
            Step::Sleep => self.sleep(),
            Step::Crash(seed) => {
                let mut state = seed;
                self.disk = self.disk.crash(|n| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as usize % n
                });
                self.reopen(false);
            }
            Step::Truncate(percent) => {
                let to = self.start + (self.end - self.start) * percent as i64 / 100;
                // A batch around the start stays: without it a crash may leave nothing at all.
                let first = self.batches.iter().find(|b| b.next() > self.start);
                let to = first.map_or(to, |b| to.max(b.next()));
                self.log.lower_to(Offset(to));
                self.write_mark();
                self.log.truncate_to(Offset(to), NOW).unwrap();
                self.cut_to(to);
            }
            Step::DeleteRecords(percent) => {
                // Up to the high watermark, as brokers do.
                let committed = self.synced.max(self.start);
                let to = self.start + (committed - self.start) * percent as i64 / 100;
                self.log.delete_records(Offset(to)).unwrap();
                self.start = to;
            }
            Step::Retain(bytes) => {
                self.log.reconfigure(LogConfig { retention_bytes: Some(bytes), ..small() });
                // Only what is durable goes, as behind a high watermark.
                self.log.delete_old_segments(NOW, Offset(self.synced)).unwrap();
                self.log.remove_doomed(Timestamp(NOW.0 + 60_000)).unwrap();
                self.start = self.log.log_start_offset().0;
                assert!(self.start <= self.synced.max(self.start));
            }
        }
    }

    fn check(&self) {
        let view = self.log.view();
        assert_eq!((view.log_start_offset().0, view.log_end_offset().0), (self.start, self.end));
        let expected: Vec<(i64, String)> = self
            .batches
            .iter()
            .flat_map(|b| b.values.iter().enumerate().map(|(i, v)| (b.base + i as i64, v.clone())))
            .filter(|(offset, _)| *offset >= self.start)
            .collect();
        assert_eq!(records(view), expected);
        let transactions = self.transactions();
        let open = transactions.iter().filter(|t| t.2.is_none()).map(|t| t.1.max(self.start)).min();
        assert_eq!(view.first_unstable_offset().map(|offset| offset.0), open);
        let mut aborted: Vec<(i64, i64, i64)> = transactions
            .iter()
            .filter_map(|t| t.2.filter(|(_, aborts)| *aborts).map(|(last, _)| (t.0, t.1, last)))
            .filter(|t| t.2 >= self.start)
            .collect();
        aborted.sort_by_key(|t| t.2);
        let found = view.aborted_transactions(Offset(0), Offset(i64::MAX));
        let found: Vec<_> =
            found.iter().map(|t| (t.producer_id.0, t.first_offset.0, t.last_offset.0)).collect();
        assert_eq!(found, aborted);
        assert!(view.synced_offset().0 >= self.synced.min(self.end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_log_is_a_list_of_records_whatever_happens(
        steps in proptest::collection::vec(step(), 1..STEPS_MAX),
    ) {
        let mut world = World::new();
        for step in steps {
            world.act(step);
            world.check();
        }
    }
}

/// Found by the property above.
#[test]
fn a_transaction_index_that_is_new_at_an_orderly_stop_has_its_name_on_the_disk() {
    use Step::{Append, Crash, End, Reopen, Sync, Transact};
    let mut world = World::new();
    let crash = Crash(2_156_733_154_568_312_778);
    for step in [Append(1), Reopen, Transact(6), Sync, End(6, true), Reopen, crash] {
        world.act(step);
        world.check();
    }
}

/// Found by the property above.
#[test]
fn zeros_in_a_transaction_index_are_nobodys_transaction() {
    use Step::{Crash, End, Reopen, Roll, Transact};
    let mut world = World::new();
    let crash = Crash(13_864_691_959_271_096_399);
    let (first, second) = (End(6, true), End(4, true));
    for step in [Transact(6), Roll, Transact(4), Reopen, first, second, crash] {
        world.act(step);
        world.check();
    }
}
