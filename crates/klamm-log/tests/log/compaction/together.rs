//! What else happens to a log while it is cleaned.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use klamm_env::FileSlice;
use klamm_log::{AtLeastOne, CleanError, Limits, Log, LogOwner, LogView};
use klamm_model::{Offset, Timestamp};

use super::support::*;
use crate::batches::{NOW, as_disk, clean, dir, unclean};
use crate::disk::MemoryDisk;

/// Does something to the log before a cleaner is let at it for the `n`-th time.
struct Meddler<'a> {
    log: &'a Mutex<Log>,
    asked: AtomicUsize,
    n: usize,
    deed: &'a dyn Fn(&Mutex<Log>),
}

impl LogOwner for Meddler<'_> {
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.n {
            (self.deed)(self.log);
        }
        self.log.with_log(ask)
    }
}

type Check<'a> = &'a dyn Fn(&[Row], Result<(), CleanError>);

/// Does `deed` at each of the moments at which a run can be met; then the log is what `check`
/// wants, as it is, after an orderly stop and after a crash.
fn meddle(deed: &dyn Fn(&Mutex<Log>), check: Check<'_>) {
    for n in 0.. {
        let disk = MemoryDisk::new();
        let log = log(&disk);
        fill(&log);
        let meddler = Meddler { log: &log, asked: AtomicUsize::new(0), n, deed };
        let result = clean_with(&log, &meddler, (1 << 20, 0)).map(drop);
        let was_done = meddler.asked.load(Ordering::Relaxed) > n;
        if !was_done {
            assert!(n > 8, "several groups, three moments each: {n}");
            return;
        }
        let found = rows(&log);
        check(&found, result);
        let start = log.lock().unwrap().log_start_offset();
        for opening in [clean(), unclean(0)] {
            let opening = klamm_log::Opening { log_start_offset: start, ..opening };
            let opened = Log::open(&as_disk(&disk.copy()), &dir(), compacted(), opening, NOW);
            assert_eq!(rows(&Mutex::new(opened.unwrap().0)), found, "moment {n}");
        }
        append(&log, &keyed(&[("after", "all")]));
        roll(&log);
        clean_at(&log, 0).unwrap();
        log.lock().unwrap().close_clean().unwrap();
        log.lock().unwrap().remove_doomed(Timestamp(NOW.0 + 1_000_000)).unwrap();
        let left =
            |name: &String| [".deleted", ".swap", ".cleaned"].iter().any(|s| name.ends_with(s));
        assert!(!disk.names().iter().any(left), "{:?}", disk.names());
    }
}

/// 90 records of 30 keys over several segments.
fn fill(log: &Mutex<Log>) {
    for i in 0..90 {
        append(log, &keyed(&[(&format!("key {}", i % 30), &format!("a longer value {i}"))]));
    }
    roll(log);
}

fn value(i: i64) -> Row {
    row(i, &format!("key {}", i % 30), &format!("a longer value {i}"))
}

#[test]
fn appends_go_on() {
    let deed = |log: &Mutex<Log>| {
        append(log, &keyed(&[("key 29", "new")]));
        roll(log);
        append(log, &keyed(&[("key 28", "new")]));
    };
    let mut expected: Vec<Row> = (60..90).map(value).collect();
    expected.extend([row(90, "key 29", "new"), row(91, "key 28", "new")]);
    meddle(&deed, &|found, result| {
        result.unwrap();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_truncation_is_not_undone_and_ends_the_run() {
    for to in [75, 40, 5] {
        let deed = move |log: &Mutex<Log>| {
            log.lock().unwrap().truncate_to(Offset(to), NOW).unwrap();
            append(log, &keyed(&[("key 3", "after the cut")]));
            roll(log);
        };
        meddle(&deed, &|found, result| {
            assert!(matches!(result, Err(CleanError::Disturbed)), "{result:?}");
            let (last, before) = found.split_last().unwrap();
            assert_eq!(*last, row(last.0, "key 3", "after the cut"));
            // A batch that compaction took may have been the one before the cut.
            assert!(last.0 <= to && before.iter().all(|row| row.0 < to));
            assert!(before.iter().all(|found| *found == value(found.0)));
            let kept = |i: i64| before.iter().any(|row| row.0 == i);
            assert!((60..to).all(kept), "the newest of their keys: {before:?}");
        });
    }
}

#[test]
fn a_log_that_begins_anew_stays_new() {
    let deed = |log: &Mutex<Log>| {
        log.lock().unwrap().truncate_fully_and_start_at(Offset(500), NOW).unwrap();
        append(log, &keyed(&[("key 3", "new")]));
    };
    meddle(&deed, &|found, result| {
        assert!(matches!(result, Err(CleanError::Disturbed)));
        assert_eq!(found, [row(500, "key 3", "new")]);
    });
}

#[test]
fn deleted_records_and_segments_stay_deleted() {
    let deed = |log: &Mutex<Log>| {
        let mut log = log.lock().unwrap();
        log.delete_records(Offset(70)).unwrap();
        log.delete_old_segments(NOW, Offset(90)).unwrap();
    };
    let expected: Vec<Row> = (70..90).map(value).collect();
    meddle(&deed, &|found, _| {
        let found: Vec<Row> = found.iter().filter(|row| row.0 >= 70).cloned().collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn an_orderly_stop_finds_every_file_under_its_name() {
    let deed = |log: &Mutex<Log>| log.lock().unwrap().close_clean().unwrap();
    let newest: Vec<Row> = (60..90).map(value).collect();
    meddle(&deed, &|found, result| {
        // Before its first swap is shown, the run is over.
        assert!(matches!(result, Ok(()) | Err(CleanError::Disturbed)), "{result:?}");
        let at = found.len() - newest.len();
        assert_eq!(found[at..], newest);
        assert!(found[..at].iter().all(|row| *row == value(row.0)));
    });
}

#[test]
fn a_deleted_topic_is_let_go_and_its_name_may_be_used_again() {
    for n in 1..7 {
        let disk = MemoryDisk::new();
        let log = log(&disk);
        fill(&log);
        let deed = |log: &Mutex<Log>| log.lock().unwrap().close_for_deletion();
        let meddler = Meddler { log: &log, asked: AtomicUsize::new(0), n, deed: &deed };
        let before = disk.names().len();
        let result = clean_with(&log, &meddler, (1 << 20, 0));
        assert!(matches!(result, Err(CleanError::Disturbed)), "moment {n}: {result:?}");
        assert!(disk.names().len() <= before + 8, "{:?}", disk.names());
    }
}

fn slice(view: &LogView, offset: i64) -> Option<FileSlice> {
    let upper = view.log_end_offset();
    let limits = Limits { bytes_max: 1 << 20, at_least_one: AtLeastOne::Batch, upper };
    view.read(Offset(offset), limits).unwrap().slice
}

#[test]
fn whoever_has_begun_to_read_goes_on_and_sees_what_was_there() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    fill(&log);
    let view = Arc::clone(log.lock().unwrap().view());
    let held = slice(&view, 3).unwrap();
    let before = held.read().unwrap();
    clean_at(&log, 0).unwrap();
    log.lock().unwrap().remove_doomed(Timestamp(NOW.0 + 1_000_000)).unwrap();
    assert_eq!(held.read().unwrap(), before);
}

#[test]
fn any_offset_leads_to_the_next_record_that_survived_at_any_moment() {
    let check = |log: &Mutex<Log>| {
        let view = Arc::clone(log.lock().unwrap().view());
        let rows = rows(log);
        for offset in 0..90 {
            let bytes = slice(&view, offset).map(|slice| slice.read().unwrap());
            let first = bytes.as_deref().and_then(|b| klamm_records::batches(b).next());
            let batch = first.unwrap().unwrap();
            assert!(batch.last_offset() >= Offset(offset));
            let next = rows.iter().map(|row| row.0).find(|found| *found >= offset).unwrap();
            assert!(batch.base_offset.0 <= next, "offset {offset} of {next}");
        }
    };
    meddle(&check, &|found, result| {
        result.unwrap();
        assert_eq!(found.len(), 30);
    });
}

#[test]
fn a_record_is_found_by_its_time_at_any_moment() {
    let check = |log: &Mutex<Log>| {
        let view = Arc::clone(log.lock().unwrap().view());
        let found = view.offset_for_timestamp(NOW, Offset(90)).unwrap().unwrap();
        assert_eq!(found.offset.0, rows(log)[0].0);
        assert!(view.max_timestamp(Offset(90)).unwrap().is_some());
    };
    meddle(&check, &|_, result| result.unwrap());
}

#[test]
fn a_cut_makes_dirty_what_comes_behind_it() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    fill(&log);
    clean_at(&log, 0).unwrap();
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(90)));
    log.lock().unwrap().truncate_to(Offset(80), NOW).unwrap();
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(80)));
}

#[test]
fn a_log_that_was_not_touched_since_the_start_remembers_how_far_it_was_cleaned() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "1")]));
    log.lock().unwrap().close_clean().unwrap();
    let closed = log.lock().unwrap().closed().unwrap();
    let asleep = Log::asleep(&as_disk(&disk), &dir(), compacted(), &closed, NOW);
    let log = Mutex::new(asleep);
    log.lock().unwrap().resume_cleaning_at(Offset(1));
    append(&log, &keyed(&[("a", "2")]));
    assert_eq!(log.lock().unwrap().cleaned_to(), Some(Offset(1)));
}
