//! Which topic a directory belongs to.

use klamm_env::Disk;

use crate::node::*;

#[test]
fn a_directory_that_does_not_say_whose_it_is_says_it_from_the_next_start_on() {
    let storage = Storage::new("whose", 1);
    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "x"));
    let dir = partition.checkpoint().unwrap().dir;
    drop((partitions, partition));
    // As a crash before the first sync leaves it.
    let path = dir.join("partition.metadata");
    let file = storage.disk.open(&path, klamm_env::OpenMode::ReadWrite).unwrap();
    file.set_len(0).unwrap();

    let partitions = storage.open(1);
    let partition = lead(&partitions, wanted("a", 0, None));
    assert!(commit(&partition, "y"));
    assert_eq!(values(&partition), ["x", "y"]);
    let found = klamm_log::read_partition_metadata(storage.disk.as_ref(), &dir).unwrap();
    assert_eq!(found, Some(topic_id("a")));
}
