//! The simulated disk itself: it loses what was not synced, keeps what was, and fails as told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_sim::{Call, DeviceFault, Fate, PAGE_BYTES, SECTOR_BYTES, SimDisk};

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(3);
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn DiskFile> {
    disk.open(&path(name), OpenMode::Create).unwrap()
}

fn write(file: &Arc<dyn DiskFile>, byte: u8, len: usize, position: u64) {
    file.write_all_at(&[IoSlice::new(&vec![byte; len])], position).unwrap();
}

fn synced(name: &str, byte: u8, len: usize) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = disk();
    let file = create(&disk, name);
    write(&file, byte, len, 0);
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    (disk, file)
}

#[test]
fn what_was_synced_survives_every_crash() {
    let (disk, _file) = synced("a", 1, 10_000);
    for seed in 0..50 {
        assert_eq!(disk.crash(seed).bytes(&path("a")), Some(vec![1; 10_000]));
    }
}

#[test]
fn a_file_without_a_synced_name_is_gone_when_nothing_survives() {
    let disk = disk();
    let file = create(&disk, "a");
    write(&file, 1, 100, 0);
    file.sync().unwrap();
    assert_eq!(disk.crash_with(Fate::Nothing, 1).bytes(&path("a")), None);
    assert_eq!(disk.crash_with(Fate::Everything, 1).bytes(&path("a")), Some(vec![1; 100]));
    assert_eq!(disk.kill().bytes(&path("a")), Some(vec![1; 100]));
}

#[test]
fn what_was_not_synced_survives_in_part_torn_at_sectors_only() {
    let (mut torn, mut whole, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let (disk, file) = synced("a", 1, PAGE_BYTES);
        write(&file, 2, PAGE_BYTES, 0);
        let bytes = disk.crash_with(Fate::Something, seed).bytes(&path("a")).unwrap();
        for sector in bytes.chunks(SECTOR_BYTES) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
        }
        match bytes.iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            PAGE_BYTES => whole += 1,
            _ => torn += 1,
        }
    }
    assert!(torn > 20 && whole > 20 && lost > 20, "{torn} torn, {whole} whole, {lost} lost");
}

#[test]
fn a_length_can_survive_without_its_bytes() {
    let found = (0..200).any(|seed| {
        let (disk, file) = synced("a", 1, 10);
        write(&file, 2, 3 * PAGE_BYTES, 10);
        let bytes = disk.crash_with(Fate::Something, seed).bytes(&path("a")).unwrap();
        bytes.len() > 2 * PAGE_BYTES && bytes[PAGE_BYTES..2 * PAGE_BYTES].iter().all(|b| *b == 0)
    });
    assert!(found);
}

#[test]
fn names_survive_in_any_order_and_a_rename_is_whole() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (disk, _file) = synced("a", 1, 10);
        create(&disk, "b");
        disk.rename(&path("a"), &path("c")).unwrap();
        let disk = disk.crash_with(Fate::Something, seed);
        let names: Vec<String> =
            disk.list(Path::new("/d")).unwrap().into_iter().map(|entry| entry.name).collect();
        let is_whole = names.contains(&"a".to_owned()) != names.contains(&"c".to_owned());
        assert!(is_whole, "{names:?}");
        seen.insert(names.join(" "));
    }
    // The journal may have been written by itself before.
    assert!(seen.len() >= 3, "{seen:?}");
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_pages_are_gone() {
    let lost = (0..20).any(|seed| {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let file = create(&disk, "a");
        disk.sync_dir(Path::new("/d")).unwrap();
        write(&file, 1, 4 * PAGE_BYTES, 0);
        disk.fail(Call::Sync, 1, ErrorKind::Other);
        file.sync().unwrap_err();
        file.sync().expect("the pages count as clean");
        disk.crash(seed).bytes(&path("a")).unwrap() != vec![1; 4 * PAGE_BYTES]
    });
    assert!(lost);
}

#[test]
fn a_full_disk_takes_a_part_and_says_so() {
    let disk = disk();
    let file = create(&disk, "a");
    disk.fill_after(100);
    let error = file.write_all_at(&[IoSlice::new(&[1; 300])], 0).unwrap_err();
    assert_eq!((error.kind(), file.len().unwrap()), (ErrorKind::StorageFull, 100));
    write(&file, 2, 100, 0);
    assert_eq!(disk.space(Path::new("/d")).unwrap().usable_bytes, 0);
}

#[test]
fn a_device_goes_wrong_where_it_was_told_to() {
    let stored = |fault| {
        let disk = disk();
        let file = create(&disk, "a");
        disk.sync_dir(Path::new("/d")).unwrap();
        file.set_len(2 * PAGE_BYTES as u64).unwrap();
        file.sync().unwrap();
        disk.fail_page_write(1, fault);
        // More than a page at once, so that the kernel writes none of it by itself in between.
        write(&file, 1, PAGE_BYTES, 0);
        file.sync().unwrap();
        disk.crash_with(Fate::Nothing, 1).bytes(&path("a")).unwrap()
    };
    let ones = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 1).count();
    assert_eq!(ones(&stored(DeviceFault::Flip(7))), PAGE_BYTES - 1);
    assert_eq!(ones(&stored(DeviceFault::Zero)), 0);
    assert_eq!(ones(&stored(DeviceFault::Lose)), 0);
    assert_eq!(ones(&stored(DeviceFault::Misdirect(1))[PAGE_BYTES..]), PAGE_BYTES);
}

#[test]
fn a_lock_dies_with_its_process() {
    let disk = disk();
    let lock = Disk::lock(&disk, &path(".lock")).unwrap();
    let taken = Disk::lock(&disk, &path(".lock")).map(drop).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::WouldBlock);
    let next = disk.kill();
    Disk::lock(&next, &path(".lock")).map(drop).unwrap();
    drop(lock);
    Disk::lock(&disk, &path(".lock")).map(drop).unwrap();
}

#[test]
fn calls_are_counted_and_recorded_and_end_with_the_power() {
    let disk = disk();
    disk.record();
    let file = create(&disk, "a");
    write(&file, 1, 10, 0);
    assert_eq!((disk.count(Call::Create), disk.count(Call::Write)), (1, 1));
    assert_eq!(disk.trace(), [(Call::Create, path("a")), (Call::Write, path("a"))]);
    disk.power_off_after(1);
    write(&file, 2, 10, 0);
    assert!(disk.is_off());
    file.write_all_at(&[IoSlice::new(b"x")], 0).unwrap_err();
    file.len().unwrap_err();
}
