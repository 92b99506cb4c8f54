//! After an orderly stop nothing of a log is touched before it is used.

use klamm_env::{Disk, OpenMode};
use klamm_model::Offset;
use klamm_replication::AppendRefused;

use crate::node::*;

fn closed_with_records(name: &str) -> Storage {
    let storage = Storage::new(name, 1);
    let partitions = storage.open(1);
    for i in 0..5 {
        let partition = lead(&partitions, wanted("a", i, None));
        // The last was never appended to.
        for value in 0..i.min(3) {
            assert!(commit(&partition, &format!("{i} {value}")) || i == 4);
        }
    }
    partitions.close(1);
    storage
}

fn expected(i: i32) -> Vec<String> {
    (0..i.min(3)).map(|value| format!("{i} {value}")).collect()
}

#[test]
fn after_an_orderly_stop_logs_are_read_and_appended_to_as_before() {
    let storage = closed_with_records("asleep");
    for round in 0..3 {
        let opens = storage.disk.opens_below(&storage.path(0).join("a-1"));
        let partitions = storage.open(1);
        let all: Vec<_> = (0..5).map(|i| lead(&partitions, wanted("a", i, None))).collect();
        let touched = storage.disk.opens_below(&storage.path(0).join("a-1")) - opens;
        assert_eq!(touched, 0, "no file is opened at the start");
        for (i, partition) in (0..5).zip(&all) {
            assert_eq!(values(partition)[..i.min(3) as usize], expected(i), "a-{i}");
            let end = partition.view().log_end_offset();
            assert_eq!(partition.view().synced_offset(), end);
            assert_eq!(
                partition.view().end_of_epoch(klamm_model::LeaderEpoch(3)).is_some(),
                end > Offset(0)
            );
        }
        // Two go on, one is only read, two are left alone.
        for i in [0, 2] {
            let before = values(&all[i]).len();
            assert!(commit(&all[i], &format!("round {round}")));
            let after = values(&all[i]);
            assert_eq!((after.len(), &after[before]), (before + 1, &format!("round {round}")));
        }
        partitions.close(i64::from(round) + 2);
    }
    // And after a crash.
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "before the crash"));
    drop((partitions, partition));
    let partitions = storage.open(1);
    for i in 0..5 {
        let partition = lead(&partitions, wanted("a", i, None));
        assert!(commit(&partition, "last"));
        let found = values(&partition);
        assert_eq!(found[..i.min(3) as usize], expected(i));
        let rounds = match i {
            0 => 4,
            2 => 3,
            _ => 0,
        };
        assert_eq!(found.len(), i.min(3) as usize + rounds + 1, "a-{i}: {found:?}");
    }
}

#[test]
fn a_log_whose_file_changed_since_the_stop_refuses_appends_and_the_others_do_not() {
    let storage = closed_with_records("changed");
    let path = storage.path(0).join("a-3/00000000000000000000.log");
    let file = storage.disk.open(&path, OpenMode::ReadWrite).unwrap();
    file.set_len(file.len().unwrap() / 2).unwrap();
    let partitions = storage.open(1);
    let changed = lead(&partitions, wanted("a", 3, None));
    let other = lead(&partitions, wanted("a", 2, None));
    let refused = append_at(&changed, "more", NOW).unwrap_err().to_string();
    assert!(refused.contains("a-3"), "{refused}");
    assert!(matches!(append_at(&changed, "more", NOW), Err(AppendRefused::Offline)));
    assert!(commit(&other, "more"), "the directory is sound");
}

#[test]
fn what_a_stop_has_left_is_not_believed_after_another_stop() {
    let storage = closed_with_records("epochs");
    // Somebody else ran between, appended, and stopped in order: only the marker is new.
    let closed = storage.path(0).join("klamm-closed-logs");
    let aside = storage.path(0).join("aside");
    storage.disk.rename(&closed, &aside).unwrap();
    let partitions = storage.open(1);
    assert!(commit(&lead(&partitions, wanted("a", 2, None)), "by somebody else"));
    partitions.close(7);
    drop(partitions);
    storage.disk.rename(&aside, &closed).unwrap();
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 2, None));
    assert_eq!(values(&partition), ["2 0", "2 1", "by somebody else"]);
}
