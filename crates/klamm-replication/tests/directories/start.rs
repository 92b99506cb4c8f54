//! Directories and logs that cannot be opened, and where new partitions go.

use klamm_env::{Disk, OpenMode};
use klamm_log::LogDir;
use klamm_replication::{Age, AppendRefused, NewPartition, ReadRefused};

use crate::node::*;

fn old(topic: &str, partition: i32, directory: Option<u128>) -> NewPartition {
    NewPartition { age: Age::Old, ..wanted(topic, partition, directory) }
}

#[test]
fn partitions_in_a_directory_that_cannot_be_opened_are_offline_and_no_others_take_their_place() {
    let storage = Storage::new("unopened", 2);
    let partitions = storage.open(2);
    for i in 0..2 {
        let partition = lead(&partitions, wanted("a", i, Some(i as u128)));
        assert!(commit(&partition, "before"));
    }
    partitions.close(1);
    drop(partitions);
    // A file where the directory was.
    let aside = storage.path(1).with_extension("aside");
    storage.disk.rename(&storage.path(1), &aside).unwrap();
    storage.disk.open(&storage.path(1), OpenMode::CreateNew).unwrap();

    let partitions = storage.open(2);
    assert_eq!(partitions.directories().failed(), [storage.path(1)]);
    let named = vec![old("a", 0, Some(0)), old("a", 1, Some(1))];
    assert_eq!(partitions.assign(named).len(), 1);
    // The metadata of a second one does not say where it is.
    assert_eq!(partitions.assign(vec![old("b", 0, None)]).len(), 1);
    for (topic, i) in [("a", 1), ("b", 0)] {
        let partition = partitions.by_name(topic, i).unwrap();
        assert!(matches!(append_at(&partition, "no", NOW), Err(AppendRefused::Offline)));
        assert!(matches!(partition.check_leader(None), Err(ReadRefused::Offline)));
    }
    let healthy = partitions.by_name("a", 0).unwrap();
    assert!(commit(&healthy, "after"));
    let created = lead(&partitions, wanted("c", 0, None));
    assert!(commit(&created, "new ones have room elsewhere"));
    let names: Vec<String> =
        storage.disk.list(&storage.path(0)).unwrap().into_iter().map(|e| e.name).collect();
    assert!(!names.contains(&"a-1".to_owned()) && !names.contains(&"b-0".to_owned()), "{names:?}");
    partitions.close(1);
    drop((partitions, healthy, created));

    storage.disk.remove_file(&storage.path(1)).unwrap();
    storage.disk.rename(&aside, &storage.path(1)).unwrap();
    let partitions = storage.open(2);
    let mended = lead(&partitions, old("a", 1, Some(1)));
    assert_eq!(values(&mended), ["before"]);
}

#[test]
fn a_damaged_log_is_offline_alone_and_stays_so_until_it_is_mended() {
    let storage = Storage::new("damaged", 1);
    let partitions = storage.open(1);
    for i in 0..2 {
        let partition = lead(&partitions, wanted("a", i, None));
        assert!(commit(&partition, "before") && commit(&partition, "damaged"));
    }
    partitions.write_checkpoints();
    drop(partitions);
    // The mark would have it passed over; without it all is checked.
    storage.disk.remove_file(&storage.path(0).join("klamm-recovery-checkpoint")).unwrap();
    let file = storage.path(0).join("a-0/00000000000000000000.log");
    let log = storage.disk.open(&file, OpenMode::ReadWrite).unwrap();
    let last = log.len().unwrap() - 3;
    log.write_all_at(&[std::io::IoSlice::new(&[0xff]), std::io::IoSlice::new(&[])], last).unwrap();

    for _ in 0..2 {
        let partitions = storage.open(1);
        let failed = partitions.assign(vec![old("a", 0, Some(0)), old("a", 1, Some(0))]);
        let error = failed.first().unwrap().1.to_string();
        assert!(error.contains("truncate --size=") && error.contains("a-0"), "{error}");
        let damaged = partitions.by_name("a", 0).unwrap();
        assert!(matches!(damaged.check_leader(None), Err(ReadRefused::Offline)));
        assert!(commit(&partitions.by_name("a", 1).unwrap(), "more"));
        // An orderly stop is none for the directory: the next start looks again.
        partitions.close(1);
        assert!(!partitions.directories().all()[0].log_dir().was_clean());
    }
    assert_eq!(log.len().unwrap(), last + 3, "nothing was cut");
}

#[test]
fn new_partitions_go_where_the_fewest_are_even_those_of_one_topic() {
    let storage = Storage::new("placement", 3);
    let partitions = storage.open(3);
    lead(&partitions, wanted("first", 0, Some(1)));
    assert!(partitions.assign((0..5).map(|i| wanted("many", i, None)).collect()).is_empty());
    let counts: Vec<usize> =
        partitions.directories().all().iter().map(|d| d.partition_count()).collect();
    assert_eq!(counts, [2, 2, 2]);
}

#[test]
fn a_cordoned_directory_gets_no_new_partitions_and_keeps_those_it_has() {
    let storage = Storage::new("cordoned", 2);
    let partitions = storage.open(2);
    let kept = lead(&partitions, wanted("first", 0, Some(0)));
    let cordoned = storage.path(0).display().to_string();
    partitions.directories().cordon(std::slice::from_ref(&cordoned));
    assert!(partitions.assign((0..4).map(|i| wanted("many", i, None)).collect()).is_empty());
    let counts = || -> Vec<usize> {
        partitions.directories().all().iter().map(|d| d.partition_count()).collect()
    };
    assert_eq!(counts(), [1, 4]);
    assert!(commit(&kept, "goes on"));
    partitions.directories().cordon(&[]);
    assert!(partitions.assign((4..7).map(|i| wanted("many", i, None)).collect()).is_empty());
    assert_eq!(counts(), [4, 4], "it counts again");
}

#[test]
fn a_directory_of_somebody_else_stops_the_node() {
    let storage = Storage::new("foreign", 2);
    let path = storage.path(1);
    let meta = LogDir::meta_properties(storage.disk.as_ref(), &path).unwrap().unwrap();
    let meta = klamm_log::MetaProperties { cluster_id: "other".into(), ..meta };
    LogDir::format(storage.disk.as_ref(), &path, &meta, NOW).unwrap();
    let options = klamm_log::LogDirsOptions {
        paths: vec![storage.path(0), path.clone()],
        node_id: klamm_model::NodeId(1),
    };
    let error = klamm_log::LogDirs::open(&storage.env().disk, &options).unwrap_err().to_string();
    assert!(error.contains("other") && error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn what_cannot_be_read_in_a_directory_is_named() {
    let storage = Storage::new("unreadable", 1);
    let path = storage.path(0);
    let marker = path.join(".kafka_cleanshutdown");
    storage.disk.create_dir_all(&marker).unwrap();
    let lock = storage.disk.lock(&path.join(".lock")).unwrap();
    let opened = LogDir::open(&storage.env().disk, &path, lock, klamm_model::NodeId(1), None);
    let error = opened.unwrap_err().to_string();
    assert!(error.contains(&marker.display().to_string()), "{error}");
}
