//! Group commit: many requests, few syncs, and what happens when one fails.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use klamm_env::Disk;
use klamm_log::{Flusher, Log, LogError, SyncTicket, Syncable, Urgency};

use crate::batches::*;
use crate::disk::MemoryDisk;

/// A log behind a lock, whose tickets can be held back.
#[derive(Debug)]
struct Owned {
    log: Mutex<Log>,
    is_held: Mutex<bool>,
    released: Condvar,
    /// Its directory is renamed as soon as its ticket is taken.
    is_missing: AtomicBool,
    is_gone: AtomicBool,
    asked: AtomicU64,
    honoured: AtomicU64,
    failed: AtomicU64,
}

impl Owned {
    fn new(log: Log) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::new(log),
            is_held: Mutex::new(false),
            released: Condvar::new(),
            is_missing: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            honoured: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.released.notify_all();
    }

    fn count(&self, counter: impl Fn(&Self) -> &AtomicU64) -> u64 {
        counter(self).load(Ordering::SeqCst)
    }
}

impl Syncable for Owned {
    fn ticket(&self) -> Result<Option<SyncTicket>, LogError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let held = self.is_held.lock().unwrap();
        drop(self.released.wait_while(held, |is_held| *is_held).unwrap());
        let mut ticket = self.log.lock().unwrap().sync_ticket();
        if let (true, Ok(Some(ticket))) = (self.is_missing.load(Ordering::SeqCst), &mut ticket) {
            ticket.dirs = vec![Path::new("/klamm-nowhere/renamed").to_owned()];
        }
        ticket
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::SeqCst)
    }

    fn on_synced(&self, ticket: &SyncTicket, result: Result<(), &io::Error>) {
        let mut log = self.log.lock().unwrap();
        match result {
            Ok(()) => {
                log.on_synced(ticket.up_to);
                self.honoured.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) => {
                log.on_sync_failed();
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn logs(disk: &Arc<MemoryDisk>, n: usize) -> Vec<Arc<Owned>> {
    let log = |i| {
        let dir = Path::new("/data").join(format!("topic-{i}"));
        Owned::new(Log::create(&as_disk(disk), &dir, None, config(), NOW).unwrap())
    };
    (0..n).map(log).collect()
}

fn start(disk: &Arc<MemoryDisk>) -> (Flusher, Arc<AtomicU64>) {
    start_on(as_disk(disk))
}

fn start_on(disk: Arc<dyn Disk>) -> (Flusher, Arc<AtomicU64>) {
    let failures = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&failures);
    let flusher = Flusher::start(disk, Path::new("/data"), move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (flusher.unwrap(), failures)
}

#[test]
fn many_requests_during_a_round_are_one_sync_in_the_next() {
    let disk = MemoryDisk::new();
    let logs = logs(&disk, 2);
    let (flusher, _) = start(&disk);
    logs[0].hold(true);
    fill(&mut logs[0].log.lock().unwrap(), 1);
    flusher.request(Arc::clone(&logs[0]) as Arc<dyn Syncable>, Urgency::Now);
    while logs[0].count(|log| &log.asked) == 0 {
        std::thread::yield_now();
    }
    // The round runs: what arrives now joins the next.
    for _ in 0..100 {
        fill(&mut logs[1].log.lock().unwrap(), 1);
        flusher.request(Arc::clone(&logs[1]) as Arc<dyn Syncable>, Urgency::Now);
    }
    logs[0].hold(false);
    flusher.stop();
    assert_eq!(logs[1].count(|log| &log.asked), 1);
    assert_eq!(logs[1].count(|log| &log.honoured), 1);
    assert_eq!(logs[1].log.lock().unwrap().recovery_point().0, 100);
    assert_eq!(logs[0].log.lock().unwrap().recovery_point().0, 1);
}

#[test]
fn what_nobody_waits_for_goes_with_what_somebody_waits_for() {
    let disk = MemoryDisk::new();
    let logs = logs(&disk, 2);
    let (flusher, _) = start(&disk);
    logs.iter().for_each(|log| fill(&mut log.log.lock().unwrap(), 1));
    flusher.request(Arc::clone(&logs[0]) as Arc<dyn Syncable>, Urgency::Soon);
    flusher.request(Arc::clone(&logs[1]) as Arc<dyn Syncable>, Urgency::Now);
    while logs[1].count(|log| &log.honoured) == 0 {
        std::thread::yield_now();
    }
    // A round of two is synced in the order of the requests.
    assert_eq!(logs[0].count(|log| &log.honoured), 1);
}

#[test]
fn what_nobody_waits_for_is_synced_nonetheless_and_many_requests_are_one_sync() {
    let disk = MemoryDisk::new();
    let logs = logs(&disk, 1);
    let (flusher, _) = start(&disk);
    for _ in 0..10 {
        fill(&mut logs[0].log.lock().unwrap(), 1);
        flusher.request(Arc::clone(&logs[0]) as Arc<dyn Syncable>, Urgency::Soon);
    }
    while logs[0].log.lock().unwrap().recovery_point().0 < 10 {
        std::thread::yield_now();
    }
    let syncs = logs[0].count(|log| &log.honoured);
    assert!(syncs < 10, "{syncs} syncs for 10 requests that nobody waited for");
}

#[test]
fn a_stop_waits_for_what_was_asked_and_comes_twice_without_harm() {
    let disk = MemoryDisk::new();
    let logs = logs(&disk, 20);
    let (flusher, failures) = start(&disk);
    for log in &logs {
        fill(&mut log.log.lock().unwrap(), 3);
        flusher.request(Arc::clone(log) as Arc<dyn Syncable>, Urgency::Now);
    }
    flusher.stop();
    flusher.stop();
    assert!(logs.iter().all(|log| log.log.lock().unwrap().recovery_point().0 == 3));
    assert_eq!(failures.load(Ordering::SeqCst), 0);
}

#[test]
fn after_the_first_failure_nothing_is_synced_and_everybody_hears_of_it() {
    let disk = MemoryDisk::new();
    // Few enough to be synced one after another.
    let logs = logs(&disk, 3);
    for log in &logs {
        let mut log = log.log.lock().unwrap();
        fill(&mut log, 1);
        // The epochs' file is written now, so that the next change is the sync.
        drop(log.sync_ticket().unwrap());
    }
    let (flusher, failures) = start(&disk);
    let syncs = disk.counts.of(|c| &c.syncs);
    disk.fail_after(0);
    for log in &logs {
        flusher.request(Arc::clone(log) as Arc<dyn Syncable>, Urgency::Now);
    }
    flusher.stop();
    assert_eq!(disk.counts.of(|c| &c.syncs), syncs + 1);
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    assert!(logs.iter().all(|log| log.count(|log| &log.failed) == 1));
    assert!(logs.iter().all(|log| log.log.lock().unwrap().recovery_point().0 == 0));
    assert!(logs.iter().all(|log| append(&mut log.log.lock().unwrap(), &values(["x"])).is_err()));
}

#[test]
fn a_ticket_that_cannot_be_made_is_a_failure_of_the_directory() {
    let disk = MemoryDisk::new();
    let logs = logs(&disk, 1);
    fill(&mut logs[0].log.lock().unwrap(), 1);
    let (flusher, failures) = start(&disk);
    disk.fail_after(0);
    flusher.request(Arc::clone(&logs[0]) as Arc<dyn Syncable>, Urgency::Now);
    flusher.stop();
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    assert!(append(&mut logs[0].log.lock().unwrap(), &values(["x"])).is_err());
}

#[test]
fn a_log_that_is_deleted_while_it_is_synced_is_no_failure_but_one_that_is_missing_is() {
    for (is_gone, failures_expected) in [(true, 0), (false, 1)] {
        let disk = MemoryDisk::new();
        let logs = logs(&disk, 1);
        fill(&mut logs[0].log.lock().unwrap(), 1);
        logs[0].is_missing.store(true, Ordering::SeqCst);
        logs[0].is_gone.store(is_gone, Ordering::SeqCst);
        // The real disk has no such directory.
        let (flusher, failures) = start_on(Arc::new(klamm_env::real::RealDisk));
        flusher.request(Arc::clone(&logs[0]) as Arc<dyn Syncable>, Urgency::Now);
        flusher.stop();
        assert_eq!(failures.load(Ordering::SeqCst), failures_expected);
        assert_eq!(logs[0].count(|log| &log.honoured), 0);
    }
}
