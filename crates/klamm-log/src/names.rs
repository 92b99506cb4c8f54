//! The names of files and directories, as Kafka has them (Kafka: `LogFileUtils`, `UnifiedLog`).

use klamm_model::{Offset, PartitionIndex, TopicPartition, Uuid};

/// Batches.
pub const LOG_SUFFIX: &str = ".log";
/// Sparse offset index.
pub const INDEX_SUFFIX: &str = ".index";
/// Sparse time index.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Aborted transactions.
pub const TRANSACTION_INDEX_SUFFIX: &str = ".txnindex";
/// Producers.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// A file that is to be removed.
pub const DELETED_SUFFIX: &str = ".deleted";
/// A directory that is to be removed.
pub const DELETE_DIR_SUFFIX: &str = "-delete";
/// A directory with a replica that is about to take the place of the one in another directory.
pub const FUTURE_DIR_SUFFIX: &str = "-future";
/// Longest name that file systems take.
pub const NAME_BYTES_MAX: usize = 255;
/// Leader epochs and their start offsets.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// How far a directory's logs were cleaned.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// The topic's id.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The name of a file of the segment that starts at `base_offset`.
#[must_use]
pub fn segment_file(base_offset: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base_offset.0)
}

/// The offset in a segment file's name, if it is one with this suffix.
#[must_use]
pub fn base_offset(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let is_offset = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    is_offset.then(|| digits.parse().ok().map(Offset)).flatten()
}

/// The directory of a partition.
#[must_use]
pub fn partition_dir(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// The partition of a directory name; `None` if it is not one's.
#[must_use]
pub fn parse_partition_dir(name: &str) -> Option<TopicPartition> {
    if is_doomed_dir(name) {
        return None;
    }
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let partition = is_number.then(|| partition.parse().ok()).flatten()?;
    klamm_model::check_topic_name(topic).ok()?;
    Some(TopicPartition::new(topic, partition))
}

/// The name under which a partition's directory waits for its removal. Kafka keeps it within the
/// 255 bytes that file systems allow by cutting the topic's name.
#[must_use]
pub fn doomed_dir(topic: &str, partition: PartitionIndex, random: Uuid) -> String {
    let tail = format!("-{partition}.{:032x}{DELETE_DIR_SUFFIX}", random.0);
    let kept = topic.len().min(NAME_BYTES_MAX - tail.len());
    format!("{}{tail}", &topic[..kept])
}

/// Whether a directory waits for its removal.
#[must_use]
pub fn is_doomed_dir(name: &str) -> bool {
    without_id(name, DELETE_DIR_SUFFIX).is_some()
}

/// The directory of a replica that will take the place of the one in another log directory (Kafka:
/// `UnifiedLog.logFutureDirName`). `None` if the topic's name leaves no room for it.
#[must_use]
pub fn future_dir(topic: &str, partition: PartitionIndex, random: Uuid) -> Option<String> {
    let name = format!("{topic}-{partition}.{:032x}{FUTURE_DIR_SUFFIX}", random.0);
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// The partition of a future replica's directory; `None` if it is not one's.
#[must_use]
pub fn parse_future_dir(name: &str) -> Option<TopicPartition> {
    parse_partition_dir(without_id(name, FUTURE_DIR_SUFFIX)?)
}

/// What stands before the random id in a name with a suffix.
fn without_id<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(segment_file(Offset(42), LOG_SUFFIX), "00000000000000000042.log");
        assert_eq!(base_offset("00000000000000000042.log", LOG_SUFFIX), Some(Offset(42)));
        assert_eq!(base_offset("42.log", LOG_SUFFIX), None);
        assert_eq!(base_offset("0000000000000000004x.log", LOG_SUFFIX), None);
        assert_eq!(parse_partition_dir("my-topic-7"), Some(TopicPartition::new("my-topic", 7)));
        assert_eq!(parse_partition_dir("topic"), None);
        assert_eq!(parse_partition_dir("topic-"), None);
        let doomed = doomed_dir("t", 0, Uuid(5));
        assert_eq!(doomed, "t-0.00000000000000000000000000000005-delete");
        assert!(is_doomed_dir(&doomed));
        assert_eq!(parse_partition_dir(&doomed), None);
        assert!(doomed_dir(&"a".repeat(249), 123, Uuid(5)).len() <= 255);
    }

    #[test]
    fn a_future_replica_has_a_directory_of_its_own() {
        let future = future_dir("my-topic", 7, Uuid(5)).unwrap();
        assert_eq!(future, "my-topic-7.00000000000000000000000000000005-future");
        assert_eq!(parse_future_dir(&future), Some(TopicPartition::new("my-topic", 7)));
        assert_eq!(parse_partition_dir(&future), None);
        assert!(!is_doomed_dir(&future));
        for other in ["my-topic-7", "my-topic-7-future", "my-topic-7.5-future", &future[1..8]] {
            assert_eq!(parse_future_dir(other), None, "{other}");
        }
        assert_eq!(future_dir(&"a".repeat(249), 0, Uuid(5)), None);
    }
}
