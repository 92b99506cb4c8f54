//! A disk that fails at any one call: nothing that was promised is lost, nothing more is taken.

use std::sync::Arc;

use klamm_log::{Log, LogError};
use klamm_model::{Offset, Timestamp};

use crate::batches::*;
use crate::disk::MemoryDisk;

/// Work until it is done or something fails; gives what was promised to be durable, and the log.
fn work(disk: &Arc<MemoryDisk>) -> (i64, Option<Log>, Option<String>) {
    let mut synced = 0;
    let created = Log::create(&as_disk(disk), &dir(), Some(klamm_model::Uuid(5)), config(), NOW);
    let mut log = match created {
        Ok(log) => log,
        Err(error) => return (0, None, Some(error.to_string())),
    };
    let result = steps(&mut log, disk, &mut synced);
    (synced, Some(log), result.err())
}

fn steps(log: &mut Log, disk: &Arc<MemoryDisk>, synced: &mut i64) -> Result<(), String> {
    let say = |error: LogError| error.to_string();
    for i in 0..6 {
        let data = values(["a", "b"]).epoch(i).by(1, 0, 2 * i).transactional();
        append(log, &data).map_err(|e| e.to_string())?;
        end(log, 1, 0, i % 2 == 0).map_err(|e| e.to_string())?;
        if i % 2 == 1 {
            log.roll(NOW).map_err(say)?;
        }
        if let Some(ticket) = log.sync_ticket().map_err(say)? {
            if let Err(error) = ticket.sync(disk.as_ref()) {
                log.on_sync_failed();
                return Err(format!("/data/topic-0: {error}"));
            }
            log.on_synced(ticket.up_to);
            *synced = ticket.up_to.0;
        }
    }
    log.delete_records(Offset(3)).map_err(say)?;
    // What is cut off on purpose is not promised any more.
    *synced = 15;
    log.truncate_to(Offset(15), NOW).map_err(say)?;
    log.delete_old_segments(NOW, Offset(15)).map_err(say)?;
    log.remove_doomed(Timestamp(NOW.0 + 60_000)).map_err(say)?;
    fill(log, 0);
    log.close_clean().map_err(say)?;
    *synced = log.log_end_offset().0;
    Ok(())
}

#[test]
fn whatever_call_fails_nothing_promised_is_lost_and_nothing_more_is_taken() {
    let whole = MemoryDisk::new();
    assert_eq!(work(&whole).2, None);
    let mut failures = 0;
    loop {
        let disk = MemoryDisk::new();
        disk.fail_after(failures);
        let (synced, log, error) = work(&disk);
        if !disk.has_failed() {
            assert_eq!(error, None);
            break;
        }
        disk.fail_never();
        let error =
            error.unwrap_or_else(|| panic!("call {failures} failed and nobody heard of it"));
        assert!(error.starts_with("/data/topic-0"), "call {failures}: {error}");
        if let Some(mut log) = log {
            let refused = append(&mut log, &values(["no"]));
            assert!(refused.is_err(), "call {failures}: {error}");
            assert!(log.close_clean().is_err());
            assert!(log.sync_ticket().is_err());
        }
        for seed in 0..6_u64 {
            let mut state = seed;
            let crashed = disk.crash(|n| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                (state >> 33) as usize % n
            });
            let (log, _) = open(&crashed, unclean(0));
            assert!(
                log.log_end_offset().0 >= synced,
                "call {failures}, seed {seed}: {} of {synced} are left",
                log.log_end_offset()
            );
            let (log, _) = open(&crashed, unclean(synced));
            assert!(log.log_end_offset().0 >= synced);
            records(log.view());
        }
        failures += 1;
    }
    assert!(failures > 80, "{failures} calls");
}

/// Does one step until it finds room; gives how often it did not.
fn insist<T>(
    log: &mut Log,
    disk: &MemoryDisk,
    refusals: &mut usize,
    step: impl Fn(&mut Log) -> Result<T, String>,
) -> T {
    for _ in 0..2 {
        let before = records(log.view());
        match step(log) {
            Ok(done) => return done,
            Err(error) => assert!(error.contains("no space is left"), "{error}"),
        }
        *refusals += 1;
        assert_eq!(records(log.view()), before, "what is there is read as before");
        let ticket = log.sync_ticket().expect("a full disk closes nothing");
        if let Some(ticket) = ticket {
            ticket.sync(disk).unwrap();
            log.on_synced(ticket.up_to);
        }
        disk.give_room();
    }
    panic!("refused with room on the disk");
}

/// Appends, rolls and deletes on a disk that becomes full after `n` growing calls.
fn work_when_full(disk: &Arc<MemoryDisk>, config: klamm_log::LogConfig, n: i64) -> (Log, usize) {
    let mut log = create(disk, config);
    let mut refusals = 0;
    disk.full_after(n);
    for i in 0..8 {
        let data = values(["a", "b"]).epoch(i / 2).by(1, 0, 2 * i).transactional();
        insist(&mut log, disk, &mut refusals, |log| {
            append(log, &data).map(drop).map_err(|e| e.to_string())
        });
        insist(&mut log, disk, &mut refusals, |log| {
            end(log, 1, 0, i % 2 == 0).map(drop).map_err(|e| e.to_string())
        });
        if i % 3 == 2 {
            insist(&mut log, disk, &mut refusals, |log| log.roll(NOW).map_err(|e| e.to_string()));
        }
    }
    insist(&mut log, disk, &mut refusals, |log| {
        log.delete_old_segments(NOW, log.log_end_offset()).map_err(|e| e.to_string())
    });
    (log, refusals)
}

#[test]
fn a_disk_that_is_full_refuses_what_grows_and_all_goes_on_when_there_is_room() {
    let config = klamm_log::LogConfig { preallocate: true, ..config() };
    let whole = MemoryDisk::new();
    let (log, _) = work_when_full(&whole, config.clone(), i64::MAX);
    let expected = (records(log.view()), log.view().aborted_transactions(Offset(0), Offset(99)));
    let mut n = 0;
    loop {
        let disk = MemoryDisk::new();
        let (mut log, refusals) = work_when_full(&disk, config.clone(), n);
        let found = |log: &Log| {
            (records(log.view()), log.view().aborted_transactions(Offset(0), Offset(99)))
        };
        assert_eq!(found(&log), expected, "full after {n} calls");
        let crashed = disk.copy();
        let (recovered, report) = open(&crashed, unclean(log.recovery_point().0));
        assert_eq!((found(&recovered), report.bytes_cut), (expected.clone(), 0), "after {n}");
        let epochs =
            |log: &Log| (0..24).map(|o| log.view().epoch_at(Offset(o))).collect::<Vec<_>>();
        assert_eq!(epochs(&recovered), epochs(&log), "full after {n} calls");
        disk.give_room();
        log.close_clean().unwrap();
        assert_eq!(found(&open(&disk, clean()).0), expected, "full after {n} calls");
        n += 1;
        if !disk.has_failed() {
            break;
        }
        // Leader epochs and aborted transactions can wait without anybody being refused.
        assert!(refusals <= 1, "full after {n} calls");
    }
    assert!(n > 30, "{n} calls");
}

#[test]
fn a_write_that_can_neither_be_finished_nor_cut_off_closes_the_log() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 2);
    disk.full_after(0);
    // The write fails for want of room, and then the cut fails.
    disk.fail_after(1);
    let error = append(&mut log, &values(["lost"])).unwrap_err().to_string();
    assert!(error.contains("the device failed"), "{error}");
    disk.fail_never();
    disk.give_room();
    assert!(append(&mut log, &values(["more"])).is_err(), "the log is closed");
    let before = records(log.view());
    let (log, report) = open(&disk.copy(), unclean(0));
    assert_eq!(records(log.view()), before);
    assert!(report.bytes_cut > 0, "the torn tail is cut by the next life");
}
