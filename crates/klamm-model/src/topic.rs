//! Topic names and partitions.

use std::fmt;

use klamm_stdx::Str;

use crate::{TopicId, Uuid};

/// A partition's number within its topic, 0 or more.
pub type PartitionIndex = i32;

/// The topic that holds committed offsets and group metadata.
pub const GROUP_OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that holds the states of transactions.
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
/// The metadata log; its one partition is 0.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// The metadata log's topic id.
pub const METADATA_TOPIC_ID: TopicId = Uuid::METADATA_TOPIC;
/// Longest topic name, in characters. A directory name adds the partition number to it.
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// A partition by the name of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Str>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition by the id of its topic: it survives neither deletion nor recreation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic_id, self.partition)
    }
}

/// Why a topic name is illegal. The texts are the ones that Kafka's clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicNameError {
    /// No characters at all.
    Empty,
    /// `.` or `..`.
    Dots(String),
    /// More than [`TOPIC_NAME_LEN_MAX`] characters.
    TooLong(usize),
    /// A character other than a-z, A-Z, 0-9, '.', '_' and '-'.
    Character(String),
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "topic name is illegal: it is empty"),
            Self::Dots(name) => write!(f, "topic name is illegal: it cannot be '{name}'"),
            Self::TooLong(len) => write!(
                f,
                "topic name is illegal: {len} characters, the longest is {TOPIC_NAME_LEN_MAX}"
            ),
            Self::Character(name) => write!(
                f,
                "topic name is illegal: '{name}' has a character other than ASCII letters, digits, '.', '_' and '-'"
            ),
        }
    }
}

impl std::error::Error for TopicNameError {}

/// Checks a topic name by Kafka's rules (Kafka: `Topic.validate`).
///
/// # Errors
/// The rule that the name breaks.
pub fn check_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_owned()));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(legal) {
        return Err(TopicNameError::Character(name.escape_default().take(300).collect()));
    }
    if name.len() > TOPIC_NAME_LEN_MAX {
        return Err(TopicNameError::TooLong(name.len()));
    }
    Ok(())
}

/// Whether two names differ only in '.' and '_': their metrics would collide, so Kafka refuses
/// the second (Kafka: `Topic.hasCollision`).
#[must_use]
pub fn has_collision(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(x, y)| unify(x) == unify(y))
}

fn unify(c: u8) -> u8 {
    if c == b'.' { b'_' } else { c }
}

/// Whether a topic belongs to the broker: clients see it marked as internal.
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, GROUP_OFFSETS_TOPIC | TRANSACTION_STATE_TOPIC | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_names_are_refused_with_the_rule_they_break() {
        assert_eq!(check_topic_name(""), Err(TopicNameError::Empty));
        assert_eq!(check_topic_name(".."), Err(TopicNameError::Dots("..".into())));
        assert_eq!(check_topic_name("a/b"), Err(TopicNameError::Character("a/b".into())));
        assert_eq!(check_topic_name(&"a".repeat(250)), Err(TopicNameError::TooLong(250)));
        assert!(matches!(check_topic_name("ä"), Err(TopicNameError::Character(_))));
        assert_eq!(check_topic_name(&"a".repeat(249)), Ok(()));
        assert_eq!(check_topic_name("A.b_c-9"), Ok(()));
    }

    #[test]
    fn names_that_differ_only_in_dot_and_underscore_collide() {
        assert!(has_collision("a.b", "a_b"));
        assert!(!has_collision("a.b", "a-b"));
        assert!(!has_collision("a.b", "a.bc"));
    }
}
