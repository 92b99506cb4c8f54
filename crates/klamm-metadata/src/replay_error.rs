//! Why a record does not fit. Never says what to do about it.

use std::fmt;

use klamm_model::{BrokerEpoch, NodeId, PartitionIndex, TopicId};
use klamm_stdx::Str;

use crate::MetadataVersionError;

/// A record that does not fit what came before it: the log is not one that a controller wrote,
/// or it is from a newer Kafka. The delta has not taken any part of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayError {
    /// A partition of a topic that does not exist, or a topic that should be removed.
    UnknownTopic {
        /// Its id.
        id: TopicId,
    },
    /// A topic by a name that does not exist.
    UnknownTopicName {
        /// Its name.
        name: Str,
    },
    /// A topic whose name or id is taken.
    TopicExists {
        /// Its name.
        name: Str,
        /// Its id.
        id: TopicId,
    },
    /// A change of a partition that does not exist.
    UnknownPartition {
        /// Its topic.
        topic_id: TopicId,
        /// Its number.
        partition: PartitionIndex,
    },
    /// A partition that contradicts itself.
    Partition {
        /// Its topic.
        topic_id: TopicId,
        /// Its number.
        partition: PartitionIndex,
        /// In what.
        why: &'static str,
    },
    /// A change of a broker that is not registered.
    UnknownBroker {
        /// The broker.
        id: NodeId,
    },
    /// A change of another life of a broker.
    BrokerEpoch {
        /// The broker.
        id: NodeId,
        /// The life that is registered.
        registered: BrokerEpoch,
        /// The life that the record is about.
        record: BrokerEpoch,
    },
    /// A change of a broker with no meaning.
    Broker {
        /// The broker.
        id: NodeId,
        /// Which part.
        why: &'static str,
    },
    /// Something to remove is not there.
    Unknown {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A version of the metadata that this program does not know.
    MetadataVersion(MetadataVersionError),
    /// A transaction begins in another, or ends or aborts where none is open.
    Transaction {
        /// What is wrong.
        why: &'static str,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic { id } => write!(f, "there is no topic with id {id}"),
            Self::UnknownTopicName { name } => write!(f, "there is no topic '{name}'"),
            Self::TopicExists { name, id } => {
                write!(f, "topic '{name}' with id {id} exists already by its name or its id")
            }
            Self::UnknownPartition { topic_id, partition } => {
                write!(f, "there is no partition {partition} of the topic with id {topic_id}")
            }
            Self::Partition { topic_id, partition, why } => {
                write!(f, "partition {partition} of the topic with id {topic_id}: {why}")
            }
            Self::UnknownBroker { id } => write!(f, "broker {id} is not registered"),
            Self::BrokerEpoch { id, registered, record } => write!(
                f,
                "broker {id} is registered with epoch {registered}, the record is about {record}"
            ),
            Self::Broker { id, why } => write!(f, "broker {id}: {why}"),
            Self::Unknown { what, id } => write!(f, "there is no {what} {id}"),
            Self::MetadataVersion(error) => error.fmt(f),
            Self::Transaction { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<MetadataVersionError> for ReplayError {
    fn from(error: MetadataVersionError) -> Self {
        Self::MetadataVersion(error)
    }
}
