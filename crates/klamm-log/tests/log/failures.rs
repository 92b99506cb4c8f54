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
