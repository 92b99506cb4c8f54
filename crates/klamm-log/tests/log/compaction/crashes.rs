//! A crash at every step of a run: what comes back is the log before or after a swap, and no
//! record that was promised is missing.

use std::sync::{Arc, Mutex};

use klamm_log::{CleanError, Log, LogError, Opening};
use klamm_model::Offset;

use super::support::*;
use crate::batches::{NOW, as_disk, clean, dir, path, sync, unclean};
use crate::disk::MemoryDisk;

fn fill(log: &Mutex<Log>, first_id: i64) {
    for i in 0..20 {
        append(log, &keyed(&[(&format!("key {}", i % 15), &format!("a longer value {i}"))]));
        if i % 10 == 3 {
            let id = first_id + i;
            append(log, &keyed(&[("gone", "aborted")]).by(id, 0, 0).transactional());
            end(log, id, true);
        }
    }
}

fn filled() -> (Arc<MemoryDisk>, Mutex<Log>) {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    fill(&log, 0);
    roll(&log);
    // What is small now becomes one segment in the run that is looked at.
    clean_at(&log, 0).unwrap();
    fill(&log, 100);
    // A mark in a segment that will be replaced.
    log.lock().unwrap().prepare_checkpoint(1).unwrap();
    sync(&mut log.lock().unwrap(), &disk);
    roll(&log);
    append(&log, &keyed(&[("dirty", "1")]));
    sync(&mut log.lock().unwrap(), &disk);
    (disk, log)
}

/// Reads as a consumer of committed records does.
fn committed(log: &Mutex<Log>) -> Vec<Row> {
    let view = Arc::clone(log.lock().unwrap().view());
    let aborted = view.aborted_transactions(Offset(0), Offset(i64::MAX));
    let batches = read(&view);
    let is_shown = |header: &klamm_records::BatchHeader| {
        let in_aborted = aborted.iter().any(|t| {
            header.producer.is_some_and(|p| p.id == t.producer_id)
                && (t.first_offset..=t.last_offset).contains(&header.base_offset)
        });
        let is_hidden = header.attributes.is_transactional() && in_aborted;
        !header.attributes.is_control() && !is_hidden
    };
    batches.into_iter().filter(|(header, _)| is_shown(header)).flat_map(|(_, rows)| rows).collect()
}

/// No segment reaches into the next: nothing that was replaced has come back beside the new.
fn check_apart(disk: &MemoryDisk, log: &Mutex<Log>) {
    let bases = log.lock().unwrap().view().segment_bases();
    for pair in bases.windows(2) {
        let name = klamm_log::names::segment_file(pair[0], klamm_log::names::LOG_SUFFIX);
        let bytes = disk.bytes(&path(&name)).unwrap();
        let last = klamm_records::batches(&bytes).last().map(|b| b.unwrap().next_offset());
        assert!(last.is_none_or(|end| end <= pair[1]), "{last:?} in {bases:?}");
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_last_record_of_every_key_and_no_aborted_one() {
    let (_, log) = filled();
    let expected = last_of_keys(&committed(&log));
    let mut crashes = 0;
    for n in 0.. {
        let (disk, log) = filled();
        let recovery_point = log.lock().unwrap().recovery_point();
        let mark = log.lock().unwrap().mark();
        assert!(mark.is_some());
        disk.fail_after(n);
        let result = clean_at(&log, 0);
        if !disk.has_failed() {
            result.unwrap();
            assert!(n > 30, "{n}");
            break;
        }
        // A leftover that cannot be removed stops nobody.
        let is_io = matches!(result, Err(CleanError::Log(LogError::Io { .. })));
        assert!(is_io || result.is_ok(), "{result:?}");
        disk.fail_never();
        for seed in 0..24_usize {
            let mut state = seed;
            let random = |bound| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % bound
            };
            let after = if seed < 4 { disk.crash(random) } else { disk.crash_in_part(random) };
            let opening = unclean(if seed % 2 == 0 { recovery_point.0 } else { 0 });
            let opening = Opening { mark: mark.filter(|_| seed % 3 == 0), ..opening };
            let opened = Log::open(&as_disk(&after), &dir(), compacted(), opening, NOW).unwrap().0;
            let opened = Mutex::new(opened);
            let found = committed(&opened);
            assert_eq!(last_of_keys(&found), expected, "step {n}, seed {seed}");
            assert_eq!(
                opened.lock().unwrap().log_end_offset(),
                log.lock().unwrap().log_end_offset()
            );
            check_apart(&after, &opened);
            let left = |name: &String| [".swap", ".cleaned"].iter().any(|s| name.ends_with(s));
            assert!(!after.names().iter().any(left), "{:?}", after.names());
            clean_at(&opened, 0).unwrap();
            assert_eq!(last_of_keys(&committed(&opened)), expected, "cleaned after {n}, {seed}");
            crashes += 1;
        }
    }
    assert!(crashes > 400, "{crashes}");
}

#[test]
fn a_restart_in_the_middle_of_a_swap_is_met_by_another_crash() {
    let (_, log) = filled();
    let expected = last_of_keys(&committed(&log));
    for n in 0.. {
        let (disk, log) = filled();
        disk.fail_after(n);
        let _was_cut_short = clean_at(&log, 0);
        if !disk.has_failed() {
            break;
        }
        for m in 0.. {
            let again = disk.copy();
            again.fail_after(m);
            let opened = Log::open(&as_disk(&again), &dir(), compacted(), unclean(0), NOW);
            if !again.has_failed() {
                assert_eq!(last_of_keys(&committed(&Mutex::new(opened.unwrap().0))), expected);
                break;
            }
            let after = again.crash(|bound| bound - 1);
            let opened = Log::open(&as_disk(&after), &dir(), compacted(), unclean(0), NOW);
            let found = committed(&Mutex::new(opened.unwrap().0));
            assert_eq!(last_of_keys(&found), expected, "crash {m} after crash {n}");
        }
    }
}

#[test]
fn a_swap_that_kafka_left_brings_no_aborted_transaction_of_the_old_segment() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    append(&log, &keyed(&[("a", "aborted")]).by(7, 0, 0).transactional());
    end(&log, 7, true);
    roll(&log);
    append(&log, &keyed(&[("a", "kept")]).by(7, 0, 1).transactional());
    end(&log, 7, false);
    log.lock().unwrap().close_clean().unwrap();
    let aborted = |log: &Log| log.view().aborted_transactions(Offset(0), Offset(100)).len();
    assert_eq!(aborted(&log.lock().unwrap()), 1);
    // Both the record and the marker have gone; Kafka writes no index without entries.
    disk.put(&path("00000000000000000000.log.swap"), &[]);
    let opened = Log::open(&as_disk(&disk), &dir(), compacted(), clean(), NOW).unwrap().0;
    assert_eq!(aborted(&opened), 0);
    assert_eq!(rows(&Mutex::new(opened)), [row(2, "a", "kept")]);
}

#[test]
fn what_a_table_has_learned_is_durable_before_anything_goes() {
    let disk = MemoryDisk::new();
    let log = log(&disk);
    // Too large to become one segment.
    let filler = "f".repeat(800);
    append(&log, &keyed(&[("a", "old"), ("f0", &filler)]));
    roll(&log);
    sync(&mut log.lock().unwrap(), &disk);
    // Nothing but a cleaner syncs this one, and nothing of it goes.
    append(&log, &keyed(&[("a", "new"), ("f1", &filler)]));
    roll(&log);
    append(&log, &keyed(&[("b", "1")]));
    clean_at(&log, 0).unwrap();
    // Names and bytes that were never synced are lost.
    let mut calls = 0;
    let after = disk.crash(|bound| {
        calls += 1;
        if calls == 1 { 1 } else { bound.min(1) - 1 }
    });
    let opened = Log::open(&as_disk(&after), &dir(), compacted(), unclean(0), NOW).unwrap().0;
    let found = rows(&Mutex::new(opened));
    assert!(found.contains(&row(2, "a", "new")), "{found:?}");
    assert!(!found.contains(&row(0, "a", "old")), "{found:?}");
}

#[test]
fn a_disk_without_room_ends_the_run_and_nothing_else() {
    let (_, log) = filled();
    let expected = last_of_keys(&committed(&log));
    let mut refusals = 0;
    for n in 0.. {
        let (disk, log) = filled();
        disk.full_after(n);
        let result = clean_at(&log, 0);
        disk.give_room();
        if result.is_ok() {
            break;
        }
        assert!(matches!(result, Err(CleanError::Log(LogError::Full { .. }))), "{n}: {result:?}");
        assert!(!disk.names().iter().any(|name| name.ends_with(".cleaned")), "{:?}", disk.names());
        assert_eq!(last_of_keys(&committed(&log)), expected);
        append(&log, &keyed(&[("dirty", "1")]));
        clean_at(&log, 0).unwrap();
        let after = last_of_keys(&committed(&log));
        assert_eq!(after.len(), expected.len());
        refusals += 1;
    }
    assert!(refusals > 8, "{refusals}");
}
