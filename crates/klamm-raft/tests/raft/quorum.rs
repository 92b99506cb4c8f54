//! The metadata log of one node: what is committed is there again, whatever happens between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::support::{FailingDisk, TempDir, env, formatted, group, options};
use klamm_env::Disk;
use klamm_metadata::{Loader, MetadataImage, MetadataVersion, Provenance};
use klamm_model::{LeaderEpoch, NodeId, Offset, Timestamp, Uuid};
use klamm_raft::{Opened, Quorum, QuorumOptions, RaftError, SnapshotRules, Voter};

const WALL: Timestamp = Timestamp(1_800_000_000_000);

fn open(options: &QuorumOptions) -> Opened {
    Quorum::open(&env().disk, options, WALL).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(options: &QuorumOptions) -> String {
    Quorum::open(&env().disk, options, WALL).expect_err("it must not open").to_string()
}

/// The image of everything that is in the log.
fn read_to_the_end<'l>(loader: &'l mut Loader, quorum: &Quorum) -> &'l MetadataImage {
    loader.read_to(Provenance {
        next_offset: quorum.next_offset(),
        epoch: quorum.epoch(),
        append_time: WALL,
    });
    loader.image()
}

fn names(image: &MetadataImage) -> Vec<String> {
    image.topics.names().map(ToString::to_string).collect()
}

fn file(options: &QuorumOptions, name: &str) -> std::path::PathBuf {
    options.log_dir.join("__cluster_metadata-0").join(name)
}

const LOG: &str = "00000000000000000000.log";

#[test]
fn a_new_cluster_begins_as_kafkas_does() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let Opened { mut quorum, image, is_new_cluster } = open(&options);
    assert!(is_new_cluster);
    assert_eq!(quorum.epoch(), LeaderEpoch(1));
    assert_eq!(quorum.kraft_version(), 1);
    // Leader change, kraft version, voters; begin, six features, one config, end.
    assert_eq!(quorum.next_offset(), Offset(12));
    assert_eq!(quorum.high_watermark(), Offset(0));
    assert_eq!(image.features.metadata_version, MetadataVersion::LATEST_STABLE);
    assert_eq!(image.provenance.next_offset, Offset(12));
    quorum.sync().unwrap();
    assert_eq!(quorum.high_watermark(), Offset(12));
    let ours = std::fs::read(file(&options, LOG)).unwrap();
    let kafkas = include_bytes!("fixtures/kafka-metadata.log");
    // All but times, ids and checksums: the layout is the same to the byte.
    let lengths = |bytes: &[u8]| {
        let batches = klamm_records::batches(bytes).map(|batch| batch.unwrap());
        batches.map(|b| (b.header().base_offset, b.bytes().len())).take(2).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&ours), lengths(kafkas));
    let state = std::fs::read(file(&options, "quorum-state")).unwrap();
    assert_eq!(state, include_bytes!("fixtures/kafka-quorum-state"));
}

#[test]
fn what_kafka_wrote_opens_and_goes_on() {
    let dir = TempDir::new();
    let metadata = dir.0.join("__cluster_metadata-0");
    std::fs::create_dir_all(&metadata).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(metadata.join(name), bytes).unwrap();
    put(LOG, include_bytes!("fixtures/kafka-metadata.log"));
    put("quorum-state", include_bytes!("fixtures/kafka-quorum-state"));
    put(
        "00000000000000000000-0000000000.checkpoint",
        include_bytes!("fixtures/kafka-first-snapshot.checkpoint"),
    );
    let options = options(&dir.0, "CrP5o7cuTpO20lAD6ZT5eA".parse().unwrap());
    let Opened { mut quorum, image, is_new_cluster } = open(&options);
    assert!(!is_new_cluster);
    assert_eq!(quorum.epoch(), LeaderEpoch(2));
    assert!(image.cluster.broker(NodeId(1)).is_some());
    assert_eq!(image.cluster.controllers.len(), 1);
    let end = quorum.next_offset();
    assert_eq!(quorum.append(&[group(1)], WALL).unwrap(), [end]);
    quorum.close().unwrap();
    assert!(names(&open(&options).image).contains(&"t1".to_owned()));
}

#[test]
fn many_groups_share_a_sync_and_each_learns_its_offset() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let (disk, state) = FailingDisk::counting();
    let mut quorum = Quorum::open(&disk, &options, WALL).unwrap().quorum;
    quorum.sync().unwrap();
    let before = state.syncs.load(Ordering::Relaxed);
    let groups = [group(1), [group(2), group(3)].concat(), Vec::new(), group(4)];
    let offsets = quorum.append(&groups, WALL).unwrap();
    assert_eq!(offsets, [12, 14, 14, 15].map(Offset));
    assert_eq!(state.syncs.load(Ordering::Relaxed) - before, 1);
    assert_eq!(quorum.high_watermark(), Offset(16));
    assert_eq!(quorum.append(&[], WALL).unwrap(), []);
    drop(quorum);
    assert_eq!(names(&open(&options).image), ["t1", "t2", "t3", "t4"]);
}

#[test]
fn each_life_has_an_epoch_of_its_own() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    for epoch in 1..=3 {
        let mut quorum = open(&options).quorum;
        assert_eq!(quorum.epoch(), LeaderEpoch(epoch));
        quorum.sync().unwrap();
    }
    // A lost or empty quorum-state is made up for by the log.
    std::fs::write(file(&options, "quorum-state"), "").unwrap();
    assert_eq!(open(&options).quorum.epoch(), LeaderEpoch(4));
}

#[test]
fn wherever_the_power_goes_nothing_committed_is_lost() {
    let life = |disk: &Arc<dyn Disk>, options: &QuorumOptions| -> Vec<String> {
        let mut acknowledged = Vec::new();
        let Ok(Opened { mut quorum, image, .. }) = Quorum::open(disk, options, WALL) else {
            return acknowledged;
        };
        let mut loader = Loader::new(&image);
        for n in 0..6 {
            if quorum.append(&[group(n)], WALL).is_err() {
                assert!(matches!(quorum.append(&[group(99)], WALL), Err(RaftError::Closed)));
                return acknowledged;
            }
            acknowledged.push(format!("t{n}"));
            loader.replay(&crate::support::topic(n)).unwrap();
            let image = read_to_the_end(&mut loader, &quorum);
            if n % 2 == 1 && quorum.write_snapshot(image, WALL).is_err() {
                return acknowledged;
            }
        }
        drop(quorum.close());
        acknowledged
    };
    let total = {
        let dir = TempDir::new();
        let (disk, state) = FailingDisk::counting();
        assert_eq!(life(&disk, &formatted(&dir.0)).len(), 6);
        state.spent()
    };
    assert!(total > 40, "{total}");
    for n in 0..total {
        let dir = TempDir::new();
        let options = formatted(&dir.0);
        let (disk, state) = FailingDisk::after(n);
        let acknowledged = life(&disk, &options);
        state.lose_unsynced();
        let image = open(&options).image;
        let found = names(&image);
        for name in &acknowledged {
            assert!(found.contains(name), "after {n} changes {name} is lost: {found:?}");
        }
        assert!(found.len() <= acknowledged.len() + 1, "after {n} changes");
        assert_eq!(image.features.metadata_version, MetadataVersion::LATEST_STABLE);
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let mut quorum = open(&options).quorum;
    quorum.append(&[group(1)], WALL).unwrap();
    let kept = std::fs::metadata(file(&options, LOG)).unwrap().len();
    quorum.append(&[group(2)], WALL).unwrap();
    drop(quorum);
    let bytes = std::fs::read(file(&options, LOG)).unwrap();
    for len in kept as usize..bytes.len() {
        std::fs::write(file(&options, LOG), &bytes[..len]).unwrap();
        assert_eq!(names(&open(&options).image), ["t1"], "{len}");
    }
}

#[test]
fn damage_before_committed_records_is_never_cut() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let mut quorum = open(&options).quorum;
    quorum.append(&[group(1)], WALL).unwrap();
    let end_of_first = std::fs::metadata(file(&options, LOG)).unwrap().len() as usize;
    quorum.append(&[group(2)], WALL).unwrap();
    drop(quorum);
    let bytes = std::fs::read(file(&options, LOG)).unwrap();
    for at in (8..end_of_first).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        // The base offset and the leader epoch are outside the checksum.
        if klamm_records::batches(&damaged).all(|b| b.is_ok_and(|b| b.check_crc().is_ok())) {
            continue;
        }
        std::fs::write(file(&options, LOG), &damaged).unwrap();
        let error = refused(&options);
        assert!(error.contains("damaged and committed ones follow"), "{at}: {error}");
        assert_eq!(std::fs::read(file(&options, LOG)).unwrap(), damaged, "{at}");
    }
}

#[test]
fn a_snapshot_stands_for_the_log_before_it() {
    let dir = TempDir::new();
    let mut options = formatted(&dir.0);
    options.snapshots =
        SnapshotRules { bytes_between: 200, retention_bytes: Some(1), ..options.snapshots };
    options.segment_bytes = 400;
    let Opened { mut quorum, image, .. } = open(&options);
    let mut loader = Loader::new(&image);
    for n in 0..20 {
        quorum.append(&[group(n)], WALL).unwrap();
        loader.replay(&crate::support::topic(n)).unwrap();
        if quorum.is_snapshot_due(WALL) {
            let image = read_to_the_end(&mut loader, &quorum);
            let id = quorum.write_snapshot(image, WALL).unwrap();
            assert_eq!(id.end_offset, quorum.next_offset());
            assert!(!quorum.is_snapshot_due(WALL));
        }
    }
    assert!(quorum.log().log_start_offset() > Offset(12));
    drop(quorum);
    let opened = open(&options);
    assert_eq!(opened.image.topics.len(), 20);
    assert_eq!(opened.quorum.kraft_version(), 1);
    assert!(!opened.is_new_cluster);
    let entries = std::fs::read_dir(file(&options, "")).unwrap();
    let n = entries
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "checkpoint"))
        .count();
    assert_eq!(n, 1);
}

#[test]
fn a_snapshot_alone_is_enough_and_a_damaged_one_gives_way_to_an_older() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let Opened { mut quorum, image, .. } = open(&options);
    let mut loader = Loader::new(&image);
    let mut ids = Vec::new();
    for n in 0..2 {
        quorum.append(&[group(n)], WALL).unwrap();
        loader.replay(&crate::support::topic(n)).unwrap();
        let stale = quorum.write_snapshot(&image, WALL);
        assert!(matches!(stale, Err(RaftError::StaleImage { .. })));
        let image = read_to_the_end(&mut loader, &quorum);
        ids.push(quorum.write_snapshot(image, WALL).unwrap());
    }
    drop(quorum);
    let name = |n: usize| format!("{:020}-{:010}.checkpoint", ids[n].end_offset.0, ids[n].epoch.0);
    let newest = file(&options, &name(1));
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() - 10]).unwrap();
    assert_eq!(names(&open(&options).image), ["t0", "t1"]);
    // Without the log the older one would hide what is committed.
    std::fs::remove_file(file(&options, LOG)).unwrap();
    std::fs::write(&newest, &bytes).unwrap();
    assert_eq!(names(&open(&options).image), ["t0", "t1"]);
    for id in [0, 1] {
        std::fs::write(file(&options, &name(id)), b"garbage").unwrap();
    }
    assert!(refused(&options).contains("checkpoint"));
}

#[test]
fn a_node_that_may_not_lead_is_told_why() {
    let dir = TempDir::new();
    let formatted = formatted(&dir.0);
    let other_node = QuorumOptions { node_id: NodeId(2), ..formatted.clone() };
    assert!(refused(&other_node).contains("node 2 is not among the voters: 1"));
    let other_dir = QuorumOptions { directory_id: Uuid(777), ..formatted };
    assert!(refused(&other_dir).contains("another's"));
    let empty = TempDir::new();
    assert!(refused(&options(&empty.0, Uuid(777))).contains("klamm storage format"));
    let fixed = |ids: &[i32]| QuorumOptions {
        fixed_voters: ids
            .iter()
            .map(|id| Voter { node_id: NodeId(*id), directory_id: None, endpoints: Vec::new() })
            .collect(),
        ..options(&empty.0, Uuid(777))
    };
    assert!(refused(&fixed(&[1, 2])).contains("2 voters"));
    let opened = open(&fixed(&[1]));
    assert_eq!(opened.quorum.kraft_version(), 0);
    assert_eq!(opened.quorum.next_offset(), Offset(10));
}

#[test]
fn garbage_in_small_files_is_told_and_never_overwritten() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    std::fs::write(file(&options, "quorum-state"), "{").unwrap();
    assert!(refused(&options).contains("quorum-state"));
    std::fs::remove_file(file(&options, "quorum-state")).unwrap();
    let bootstrap = dir.0.join("bootstrap.checkpoint");
    let bytes = std::fs::read(&bootstrap).unwrap();
    for len in [0, 1, 60, 100, bytes.len() - 1] {
        std::fs::write(&bootstrap, &bytes[..len]).unwrap();
        assert!(refused(&options).contains("bootstrap.checkpoint"), "{len}");
        std::fs::remove_dir_all(dir.0.join("__cluster_metadata-0")).unwrap();
        let fresh = TempDir::new();
        let again = formatted_like(&fresh, &options);
        std::fs::rename(fresh.0.join("__cluster_metadata-0"), dir.0.join("__cluster_metadata-0"))
            .unwrap();
        assert_eq!(again, options.directory_id);
    }
}

/// Formats a directory with a given id, so that its first snapshot fits another.
fn formatted_like(dir: &TempDir, options: &QuorumOptions) -> Uuid {
    let mut like = crate::support::standalone(&dir.0);
    like.voters = klamm_raft::FormatVoters::Initial(vec![Voter {
        node_id: NodeId(1),
        directory_id: Some(options.directory_id),
        endpoints: vec![crate::support::endpoint()],
    }]);
    klamm_raft::format(&env(), &like).expect("an empty directory").formatted[0].1
}

#[test]
fn a_group_that_fits_no_batch_is_refused_and_nothing_is_written() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let mut quorum = open(&options).quorum;
    let end = quorum.next_offset();
    let large = vec![bytes::Bytes::from(vec![0; klamm_raft::BATCH_BYTES_MAX])];
    let result = quorum.append(&[group(1), large], WALL);
    assert!(matches!(result, Err(RaftError::TooLarge { .. })));
    assert_eq!(quorum.next_offset(), end);
    quorum.append(&[group(1)], WALL).unwrap();
}

#[test]
fn a_log_larger_than_what_is_looked_at_together_is_checked_to_its_end() {
    let dir = TempDir::new();
    let options = formatted(&dir.0);
    let mut quorum = open(&options).quorum;
    let value = "x".repeat(30_000);
    let config = |n: u32| -> Vec<bytes::Bytes> {
        let record = klamm_persisted::metadata::ConfigRecord {
            resource_type: 4,
            resource_name: "".into(),
            name: format!("k{}", n % 10).into(),
            value: Some(value.as_str().into()),
        };
        vec![klamm_persisted::metadata::MetadataRecord::from(record).to_frame(0).unwrap()]
    };
    let groups: Vec<_> = (0..200).map(config).collect();
    for _ in 0..4 {
        quorum.append(&groups, WALL).unwrap();
    }
    drop(quorum);
    let bytes = std::fs::read(file(&options, LOG)).unwrap();
    assert!(bytes.len() > 20 * 1024 * 1024);
    assert_eq!(open(&options).image.configs.len(), 1);
    std::fs::write(file(&options, LOG), &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(open(&options).image.configs.len(), 1);
    for at in [1_000, 9_000_000, bytes.len() - 100] {
        let mut damaged = [&bytes[..], &bytes[..174]].concat();
        damaged[at] ^= 1;
        std::fs::write(file(&options, LOG), &damaged).unwrap();
        assert!(refused(&options).contains("committed ones follow"), "{at}");
    }
}
