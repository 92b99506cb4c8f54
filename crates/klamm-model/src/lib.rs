//! Kafka's nouns as types, so that an offset is never mistaken for an epoch. No behaviour, no I/O.

mod error_code;
mod ids;
mod topic;
mod uuid;

pub use error_code::ErrorCode;
pub use ids::{
    Acks, BrokerEpoch, GenerationId, IsolationLevel, LeaderEpoch, NodeId, Offset, ProducerEpoch,
    ProducerId, Timestamp, Verification,
};
pub use topic::{
    GROUP_OFFSETS_TOPIC, METADATA_TOPIC, METADATA_TOPIC_ID, PartitionIndex, TOPIC_NAME_LEN_MAX,
    TRANSACTION_STATE_TOPIC, TopicIdPartition, TopicNameError, TopicPartition, check_topic_name,
    has_collision, is_internal_topic,
};
pub use uuid::{DirectoryId, TopicId, Uuid, UuidParseError};
