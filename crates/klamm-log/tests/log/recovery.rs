//! Opening a log: after an orderly stop, after a crash, and when files are gone or garbage.

use std::sync::Arc;

use klamm_log::{Log, LogConfig, names::segment_file};
use klamm_model::Offset;

use crate::batches::*;
use crate::disk::MemoryDisk;

/// Three segments, the last with some batches; all of it synced and closed.
fn three_segments() -> (Arc<MemoryDisk>, Vec<(i64, String)>) {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    for epoch in 0..3 {
        for i in 0..30 {
            let spec = values(["some value", "another"]).epoch(epoch).by(epoch.into(), 0, 2 * i);
            append(&mut log, &spec).unwrap();
        }
        if epoch < 2 {
            log.roll(NOW).unwrap();
        }
    }
    log.close_clean().unwrap();
    let expected = records(log.view());
    assert_eq!(expected.len(), 180);
    (disk, expected)
}

fn log_file(base: i64) -> std::path::PathBuf {
    path(&segment_file(Offset(base), ".log"))
}

fn last_base(disk: &Arc<MemoryDisk>) -> i64 {
    open(&disk.copy(), clean()).0.view().segment_bases().last().unwrap().0
}

#[test]
fn after_an_orderly_stop_almost_nothing_is_read() {
    let (disk, expected) = three_segments();
    let segments = open(&disk.copy(), clean()).0.view().segment_count() as u64;
    let size = open(&disk.copy(), clean()).0.view().size_bytes();
    let (reads, bytes) = (disk.counts.of(|c| &c.reads), disk.counts.of(|c| &c.read_bytes));
    let (log, report) = open(&disk, clean());
    let reads = disk.counts.of(|c| &c.reads) - reads;
    let bytes = disk.counts.of(|c| &c.read_bytes) - bytes;
    assert_eq!(report, klamm_log::RecoveryReport::default());
    // Of a sealed segment two index entries and the transaction index; of the last its indexes,
    // its first header and what is behind the last entry.
    assert!(reads <= 2 * (segments - 1) + 8, "{reads} reads for {segments} segments");
    assert!(bytes < size / 2, "{bytes} bytes of {size}");
    assert_eq!(records(log.view()), expected);
    assert_eq!(log.recovery_point(), Offset(180));
    assert_eq!(log.producers().len(), 3);
}

#[test]
fn a_tail_cut_at_any_byte_ends_at_the_last_whole_batch() {
    let (disk, expected) = three_segments();
    let base = last_base(&disk);
    let whole = disk.bytes(&log_file(base)).unwrap();
    let batch = values(["some value", "another"]).by(2, 0, 0).bytes().len();
    for len in whole.len() - 3 * batch..=whole.len() {
        let disk = disk.copy();
        disk.put(&log_file(base), &whole[..len]);
        let (mut log, report) = open(&disk, unclean(0));
        let lost = (whole.len() - len).div_ceil(batch);
        assert_eq!(report.bytes_cut as usize, len % batch, "cut to {len}");
        assert_eq!(log.log_end_offset().0, 180 - 2 * lost as i64);
        assert_eq!(records(log.view()), expected[..180 - 2 * lost]);
        fill(&mut log, 1);
        assert_eq!(records(log.view()).len(), 181 - 2 * lost);
    }
}

#[test]
fn a_tail_of_garbage_or_zeros_is_cut_off() {
    let (disk, expected) = three_segments();
    let base = last_base(&disk);
    let whole = disk.bytes(&log_file(base)).unwrap();
    let old = values(["old", "old"]).bytes_at(0);
    for tail in [&[0_u8; 5000][..], &[0xff; 61], &[7; 3], &[2; 200], &old, &whole[..100]] {
        let disk = disk.copy();
        disk.put(&log_file(base), &[&whole[..], tail].concat());
        let (log, report) = open(&disk, unclean(0));
        assert_eq!(report.bytes_cut as usize, tail.len());
        assert_eq!(records(log.view()), expected);
        assert_eq!(disk.bytes(&log_file(base)).unwrap(), whole);
    }
}

#[test]
fn a_flipped_bit_above_the_recovery_point_ends_the_log_before_its_batch() {
    let (disk, expected) = three_segments();
    let base = last_base(&disk);
    let whole = disk.bytes(&log_file(base)).unwrap();
    let batch = values(["some value", "another"]).by(2, 0, 0).bytes().len();
    // The leader epoch is the only field that no checksum covers and no rule binds.
    for at in (0..3 * batch).filter(|at| !(12..16).contains(&(at % batch))) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let disk = disk.copy();
        disk.put(&log_file(base), &bytes);
        let (log, _) = open(&disk, unclean(0));
        let valid = 2 * (at / batch) as i64;
        // A base offset may grow by a flip: then the batch is where it says, and valid.
        if (0..8).contains(&(at % batch)) && log.log_end_offset().0 != base + valid {
            continue;
        }
        assert_eq!(log.log_end_offset().0, base + valid, "byte {at}");
        assert_eq!(records(log.view())[..], expected[..(base + valid) as usize]);
    }
}

#[test]
fn what_follows_a_torn_segment_is_dropped_with_all_its_files() {
    let (disk, expected) = three_segments();
    let whole = disk.bytes(&log_file(0)).unwrap();
    disk.put(&log_file(0), &whole[..whole.len() - 1]);
    let (mut log, report) = open(&disk, unclean(0));
    assert!(report.bytes_cut > 4000);
    assert_eq!(log.view().segment_count(), 1);
    let end = log.log_end_offset().0;
    assert_eq!(records(log.view()), expected[..end as usize]);
    let left: Vec<String> = disk.names();
    assert!(left.iter().all(|name| !name.contains("60.")), "{left:?}");
    fill(&mut log, 200);
    log.close_clean().unwrap();
    assert_eq!(open(&disk, clean()).0.log_end_offset().0, end + 200);
}

#[test]
fn bytes_that_never_reached_the_disk_leave_no_gap() {
    let (disk, expected) = three_segments();
    let bases = open(&disk.copy(), clean()).0.view().segment_bases();
    let whole = disk.bytes(&log_file(bases[1].0)).unwrap();
    let batch = values(["some value", "another"]).by(2, 0, 0).bytes().len();
    for kept in [0, 1, 5] {
        let disk = disk.copy();
        disk.put(&log_file(bases[1].0), &whole[..kept * batch]);
        let (log, _) = open(&disk, unclean(bases[1].0));
        let end = bases[1].0 + 2 * kept as i64;
        assert_eq!(log.log_end_offset().0, end);
        assert_eq!(records(log.view()), expected[..end as usize]);
    }
}

#[test]
fn any_small_file_may_be_missing_short_or_garbage() {
    let (disk, expected) = three_segments();
    let small: Vec<String> =
        disk.names().into_iter().filter(|name| !name.ends_with(".log")).collect();
    assert!(small.len() >= 3 * 2 + 3, "{small:?}");
    for name in &small {
        let bytes = disk.bytes(&path(name)).unwrap();
        let damages: [Option<Vec<u8>>; 8] = [
            None,
            Some(Vec::new()),
            Some(vec![0; bytes.len()]),
            Some(vec![0xff; bytes.len() + 5]),
            Some(vec![0x11; 24]),
            Some(bytes[..bytes.len() / 2].to_vec()),
            Some(bytes[..bytes.len().saturating_sub(1)].to_vec()),
            Some([&bytes[..], &[0; 48]].concat()),
        ];
        for (i, damage) in damages.iter().enumerate() {
            for opening in [clean(), unclean(0), unclean(100), unclean(180)] {
                let disk = disk.copy();
                match damage {
                    Some(bytes) => disk.put(&path(name), bytes),
                    None => disk.remove(&path(name)),
                }
                let (mut log, _) = open(&disk, opening);
                assert_eq!(records(log.view()), expected, "{name} damaged by {i}");
                assert_eq!(log.producers().len(), 3, "{name} damaged by {i}");
                assert_eq!(log.view().latest_epoch().unwrap().0, 2);
                assert_eq!(log.view().epoch_at(Offset(0)).unwrap().0, 0);
                let end = log.view().log_end_offset();
                let found = log.view().offset_for_timestamp(NOW, end).unwrap().unwrap();
                assert_eq!(found.offset.0, 0, "{name} damaged by {i}");
                fill(&mut log, 1);
                log.close_clean().unwrap();
                assert_eq!(open(&disk, clean()).0.log_end_offset().0, 181);
            }
        }
    }
}

#[test]
fn a_batch_larger_than_what_is_read_at_once_is_checked() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, LogConfig { segment_bytes: 1 << 30, ..config() });
    let large = "x".repeat(2_500_000);
    for value in ["a", &large, "b", &large, &large, "c"] {
        append(&mut log, &values([value])).unwrap();
    }
    let (log, report) = open(&disk.copy(), unclean(0));
    assert_eq!((log.log_end_offset().0, report.bytes_cut), (6, 0));
    let whole = disk.bytes(&log_file(0)).unwrap();
    disk.put(&log_file(0), &whole[..whole.len() - 1_000_000]);
    let (log, _) = open(&disk, unclean(0));
    assert_eq!(log.log_end_offset().0, 4);
}

#[test]
fn a_recovery_point_above_the_end_and_a_start_above_the_end_are_coped_with() {
    let (disk, expected) = three_segments();
    let (log, _) = open(&disk.copy(), unclean(10_000));
    assert_eq!((log.recovery_point(), records(log.view())), (Offset(180), expected));
    let opening = klamm_log::Opening { log_start_offset: Offset(500), ..unclean(0) };
    let (mut log, _) = open(&disk, opening);
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (500, 500));
    fill(&mut log, 2);
    log.close_clean().unwrap();
    let (log, _) = open(&disk, klamm_log::Opening { was_clean: true, ..opening });
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (500, 502));
}

#[test]
fn a_log_may_start_anywhere_and_have_empty_segments() {
    let disk = MemoryDisk::new();
    disk.put(&log_file(100), &values(["a", "b"]).bytes_at(100));
    disk.put(&log_file(102), &[]);
    for opening in [clean(), unclean(0), unclean(102)] {
        let (mut log, _) = open(&disk.copy(), opening);
        assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (100, 102));
        fill(&mut log, 1);
        assert_eq!(records(log.view()).len(), 3);
    }
    let nothing = klamm_log::Opening { log_start_offset: Offset(70), ..clean() };
    let (mut log, _) = open(&MemoryDisk::new(), nothing);
    fill(&mut log, 1);
    assert_eq!((log.log_start_offset().0, log.log_end_offset().0), (70, 71));
}

#[test]
fn what_others_left_half_done_is_removed_or_finished() {
    let (disk, expected) = three_segments();
    for name in ["00000000000000000000.log.deleted", "00000000000000000000.timeindex.cleaned"] {
        disk.put(&path(name), b"garbage");
    }
    disk.put(&path("00000000000000000777.index"), b"no log has it");
    disk.put(&path("leader-epoch-checkpoint.tmp"), b"0\n");
    let bases = open(&disk.copy(), clean()).0.view().segment_bases();
    // A compacted segment 0 that replaces the first two: two batches are left of it.
    let mut compacted = values(["some value", "another"]).by(0, 0, 0).bytes_at(0);
    compacted.extend(values(["kept"]).epoch(1).bytes_at(bases[2].0 - 1));
    disk.put(&path("00000000000000000000.log.swap"), &compacted);
    disk.put(&path("00000000000000000000.index.swap"), &[]);
    let config =
        LogConfig { cleanup: klamm_log::Cleanup { delete: false, compact: true }, ..config() };
    // While a `.cleaned` file is there, none was replaced.
    let (log, _) = open(&disk.copy(), clean());
    assert_eq!(records(log.view()), expected);
    disk.remove(&path("00000000000000000000.timeindex.cleaned"));
    let (log, _) = Log::open(&as_disk(&disk), &dir(), config, unclean(0), NOW).unwrap();
    let mut kept = expected[..2].to_vec();
    kept.push((bases[2].0 - 1, "kept".to_owned()));
    kept.extend_from_slice(&expected[bases[2].0 as usize..]);
    assert_eq!(records(log.view()), kept);
    assert_eq!(log.view().segment_bases(), [&bases[..1], &bases[2..]].concat());
    let left = disk.names();
    let is_left_over = |name: &String| {
        name.contains("777")
            || [".swap", ".deleted", ".cleaned", ".tmp"].iter().any(|s| name.ends_with(s))
    };
    assert!(!left.iter().any(is_left_over), "{left:?}");
}

#[test]
fn a_torn_topic_id_is_none_and_a_wrong_one_is_an_error() {
    let disk = MemoryDisk::new();
    let read = |bytes: &[u8]| {
        disk.put(&path("partition.metadata"), bytes);
        klamm_log::read_partition_metadata(disk.as_ref(), &dir())
    };
    assert!(read(b"").unwrap().is_none());
    assert!(read(&[0; 43]).unwrap().is_none());
    for torn in [&b"vers"[..], b"version: 0\n", b"version: 0\ntopic_id: AAAA"] {
        assert!(read(torn).unwrap().is_none());
    }
    for wrong in
        [&b"version: 0\ntopic_id: x!"[..], b"version: 1\ntopic_id: x", b"garbage", &[0xff; 43]]
    {
        assert!(read(wrong).is_err());
    }
}
