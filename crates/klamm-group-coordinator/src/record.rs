//! The records of `__consumer_offsets`, and how they are written (Kafka:
//! `GroupCoordinatorRecordHelpers`). The versions are the ones that Kafka 4.3 writes.

use std::fmt;

use bytes::Bytes;
use klamm_codec::{DecodeError, EncodeError};
use klamm_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use klamm_persisted::group::{
    GroupMetadataKey, GroupRecordKey, GroupRecordValue, OffsetCommitKey, OffsetCommitValue,
};
use klamm_stdx::Str;

use crate::consumer::ConsumerRecord;
use crate::offsets::CommittedOffset;
use crate::snapshot::GroupSnapshot;

/// Version of a group's value.
const GROUP_VERSION: i16 = 3;
/// Version of an offset's value; the one with a topic id.
const OFFSET_VERSION: i16 = 4;
/// Version of an offset's value that says when it expires.
const OFFSET_WITH_EXPIRY_VERSION: i16 = 1;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A group as it is.
    Group(GroupSnapshot),
    /// A group is no more.
    GroupTombstone {
        /// Its name.
        group_id: Str,
    },
    /// A committed offset, or its end.
    Offset {
        /// The group.
        group_id: Str,
        /// The topic.
        topic: Str,
        /// The partition.
        partition: PartitionIndex,
        /// `None` is a tombstone.
        offset: Option<CommittedOffset>,
    },
    /// What a consumer group is made of.
    Consumer(ConsumerRecord),
}

/// Why a record of the log is unusable.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordError {
    /// A kind of record that this version does not know; it is skipped.
    UnknownKind(i64),
    /// A kind that belongs to a protocol that is not built; it is skipped.
    NotServed(&'static str),
    /// Not a record.
    Broken(DecodeError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "unknown kind of group record: {kind}"),
            Self::NotServed(name) => write!(f, "group record {name} is not served yet"),
            Self::Broken(error) => write!(f, "not a group record: {error}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnknownKind { kind, .. } => Self::UnknownKind(kind),
            error => Self::Broken(error),
        }
    }
}

/// What a record takes beside its key and value, at most.
const RECORD_BYTES: usize = 32;

impl Record {
    /// The group that is another with it; offsets change none.
    pub(crate) fn changed_group(&self) -> Option<&Str> {
        match self {
            Self::Group(group) => Some(&group.group_id),
            Self::GroupTombstone { group_id } => Some(group_id),
            Self::Consumer(record) => Some(&record.group_id),
            Self::Offset { .. } => None,
        }
    }

    /// About what it takes in a batch.
    pub(crate) fn size_in_bytes(&self) -> usize {
        let len = |(key, value): (Bytes, Option<Bytes>)| key.len() + value.map_or(0, |v| v.len());
        RECORD_BYTES + self.to_key_value().map_or(0, len)
    }

    /// Key and value as they stand in the log; no value is a tombstone.
    ///
    /// # Errors
    /// A text is too long for its field.
    pub fn to_key_value(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Group(snapshot) => {
                let value = GroupRecordValue::from(snapshot.to_value());
                Ok((group_key(&snapshot.group_id)?, Some(value.to_frame(GROUP_VERSION)?)))
            }
            Self::GroupTombstone { group_id } => Ok((group_key(group_id)?, None)),
            Self::Offset { group_id, topic, partition, offset } => {
                let key = OffsetCommitKey {
                    group: group_id.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                };
                let value = offset.as_ref().map(offset_value).transpose()?;
                Ok((GroupRecordKey::from(key).to_frame()?, value))
            }
            Self::Consumer(record) => record.to_key_value(),
        }
    }

    /// A record from the log.
    ///
    /// # Errors
    /// Its kind is unknown or not served, or its bytes are no record.
    pub fn from_key_value(key: Bytes, value: Option<Bytes>) -> Result<Self, RecordError> {
        let key = GroupRecordKey::from_frame(key)?;
        let kind = key.kind();
        let value = match value {
            Some(value) => Some(GroupRecordValue::from_frame(kind, value)?.0),
            None => None,
        };
        match (key, value) {
            (GroupRecordKey::GroupMetadata(key), Some(GroupRecordValue::GroupMetadata(value))) => {
                Ok(Self::Group(GroupSnapshot::from_value(key.group.detached(), value)))
            }
            (GroupRecordKey::GroupMetadata(key), None) => {
                Ok(Self::GroupTombstone { group_id: key.group.detached() })
            }
            (GroupRecordKey::OffsetCommit(key), Some(GroupRecordValue::OffsetCommit(value))) => {
                Ok(offset_record(&key, Some(committed(&value))))
            }
            (GroupRecordKey::OffsetCommit(key), None) => Ok(offset_record(&key, None)),
            (key, value) => {
                let name = key.name();
                let record = ConsumerRecord::from_parts(key, value);
                record.map(Self::Consumer).ok_or(RecordError::NotServed(name))
            }
        }
    }
}

fn group_key(group_id: &Str) -> Result<Bytes, EncodeError> {
    GroupRecordKey::from(GroupMetadataKey { group: group_id.clone() }).to_frame()
}

fn offset_record(key: &OffsetCommitKey, offset: Option<CommittedOffset>) -> Record {
    Record::Offset {
        group_id: key.group.detached(),
        topic: key.topic.detached(),
        partition: key.partition,
        offset,
    }
}

fn offset_value(offset: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let version = match offset.expires_at {
        Some(_) => OFFSET_WITH_EXPIRY_VERSION,
        None => OFFSET_VERSION,
    };
    let value = OffsetCommitValue {
        offset: offset.offset.0,
        leader_epoch: offset.leader_epoch.map_or(-1, |epoch| epoch.0),
        metadata: offset.metadata.clone(),
        commit_timestamp: offset.committed_at.0,
        expire_timestamp: offset.expires_at.map_or(-1, |at| at.0),
        topic_id: offset.topic_id.unwrap_or(TopicId::ZERO),
    };
    GroupRecordValue::from(value).to_frame(version)
}

fn committed(value: &OffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(value.offset),
        leader_epoch: (value.leader_epoch >= 0).then_some(LeaderEpoch(value.leader_epoch)),
        metadata: value.metadata.detached(),
        committed_at: Timestamp(value.commit_timestamp),
        expires_at: (value.expire_timestamp >= 0).then_some(Timestamp(value.expire_timestamp)),
        topic_id: (!value.topic_id.is_zero()).then_some(value.topic_id),
    }
}
