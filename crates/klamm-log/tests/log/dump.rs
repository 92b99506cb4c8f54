//! Files looked at offline, whole and damaged.

use klamm_env::{Disk, OpenMode};
use klamm_log::dump::{DumpError, dump_batches, leader_epochs, offsets, transaction_index};
use klamm_log::{decode_index, decode_snapshot, decode_time_index};
use klamm_model::Offset;

use crate::batches::*;
use crate::disk::MemoryDisk;

#[test]
fn batches_are_given_with_their_positions_up_to_what_is_none() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    fill(&mut log, 5);
    let name = path("00000000000000000000.log");
    let whole = disk.bytes(&name).unwrap();
    let dump = || dump_batches(disk.open(&name, OpenMode::Read).unwrap()).unwrap();
    let all: Vec<_> = dump().map(Result::unwrap).collect();
    assert_eq!(all.len(), 5);
    assert_eq!(all[1].position as usize, whole.len() / 5);
    assert_eq!(all.iter().map(|batch| batch.bytes.clone()).collect::<Vec<_>>().concat(), whole);
    assert!(all.iter().all(|batch| batch.checksum.is_ok()));

    let mut flipped = whole.clone();
    flipped[whole.len() / 5 + 70] ^= 1;
    disk.put(&name, &flipped);
    let checksums: Vec<bool> = dump().map(|batch| batch.unwrap().checksum.is_ok()).collect();
    assert_eq!(checksums, [true, false, true, true, true]);

    for (cut, tail) in [(1, &[][..]), (30, &[]), (0, &[0; 100]), (0, &[2; 7]), (0, &[0xff; 61])] {
        disk.put(&name, &[&whole[..whole.len() - cut], tail].concat());
        let mut dump = dump();
        let given = dump.by_ref().take_while(Result::is_ok).count();
        assert_eq!(given, 5 - cut.min(1));
        assert!(dump.next().is_none(), "an error is the end");
    }
    let last = dump().last().unwrap();
    let at = whole.len() as u64;
    assert!(
        matches!(last, Err(DumpError::NotABatch { position, rest_bytes: 61, .. }) if position == at)
    );
}

#[test]
fn the_small_files_of_a_log_are_decoded() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, config());
    append(&mut log, &values(["a"]).epoch(4).by(9, 1, 0).transactional()).unwrap();
    end(&mut log, 9, 1, true).unwrap();
    fill(&mut log, 20);
    log.close_clean().unwrap();
    let bytes = |name: &str| disk.bytes(&path(name)).unwrap();
    assert!(decode_index(&bytes("00000000000000000000.index")).len() > 3);
    assert_eq!(decode_time_index(&bytes("00000000000000000000.timeindex")).len(), 1);
    let aborted = transaction_index(&bytes("00000000000000000000.txnindex"));
    assert_eq!((aborted.len(), aborted[0].last_offset), (1, Offset(1)));
    assert_eq!(decode_snapshot(&bytes("00000000000000000022.snapshot")).unwrap().len(), 1);
    let epochs = leader_epochs(&bytes("leader-epoch-checkpoint")).unwrap();
    assert_eq!((epochs[0].0.0, epochs[0].1), (4, Offset(0)));
    assert!(leader_epochs(b"0\n1\n-3 5\n").is_err());
    assert_eq!(offsets(b"0\n1\nt 3 7\n").unwrap()[0].1, Offset(7));
    assert!(offsets(b"0\n2\nt 3 7\n").is_err());
}
