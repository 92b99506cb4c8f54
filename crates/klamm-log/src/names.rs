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
    const NAME_BYTES_MAX: usize = 255;
    let tail = format!("-{partition}.{:032x}{DELETE_DIR_SUFFIX}", random.0);
    let kept = topic.len().min(NAME_BYTES_MAX - tail.len());
    format!("{}{tail}", &topic[..kept])
}

/// Whether a directory waits for its removal.
#[must_use]
pub fn is_doomed_dir(name: &str) -> bool {
    name.strip_suffix(DELETE_DIR_SUFFIX).is_some_and(|stem| {
        stem.rsplit_once('.')
            .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    })
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
}
