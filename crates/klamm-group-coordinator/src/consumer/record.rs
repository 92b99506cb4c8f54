//! A consumer group's records in `__consumer_offsets` (Kafka: `GroupCoordinatorRecordHelpers`).
//! All of them have version 0 in Kafka 4.3.

use std::collections::BTreeSet;

use bytes::Bytes;
use klamm_codec::EncodeError;
use klamm_model::Timestamp;
use klamm_persisted::group::consumer_group_current_member_assignment_value::TopicPartitions;
use klamm_persisted::group::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use klamm_persisted::group::consumer_group_target_assignment_member_value::TopicPartition;
use klamm_persisted::group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, GroupRecordKey, GroupRecordValue,
};
use klamm_stdx::Str;

use super::change::{Change, GroupEpoch, ResolvedRegex, TargetEpoch};
use super::member::{Current, MemberState, Subscription};
use super::partitions::{Owned, Partitions};

/// Version of every value here.
const VERSION: i16 = 0;

/// A record of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The group.
    pub group_id: Str,
    /// What it says.
    pub change: Change,
}

impl ConsumerRecord {
    /// Key and value as they stand in the log.
    ///
    /// # Errors
    /// A text is too long for its field.
    pub(crate) fn to_key_value(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let group_id = self.group_id.clone();
        let (key, value): (GroupRecordKey, Option<GroupRecordValue>) = match &self.change {
            Change::Group(value) => {
                (ConsumerGroupMetadataKey { group_id }.into(), value.map(group_value))
            }
            Change::Member(member_id, value) => (
                ConsumerGroupMemberMetadataKey { group_id, member_id: member_id.clone() }.into(),
                value.as_deref().map(member_value),
            ),
            Change::TargetEpoch(value) => (
                ConsumerGroupTargetAssignmentMetadataKey { group_id }.into(),
                value.map(target_epoch_value),
            ),
            Change::Target(member_id, value) => (
                ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: member_id.clone() }
                    .into(),
                value.as_ref().map(target_value),
            ),
            Change::Current(member_id, value) => (
                ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member_id.clone() }
                    .into(),
                value.as_deref().map(current_value),
            ),
            Change::Regex(regex, value) => (
                ConsumerGroupRegularExpressionKey { group_id, regular_expression: regex.clone() }
                    .into(),
                value.as_ref().map(regex_value),
            ),
            Change::PartitionMetadata => (
                klamm_persisted::group::ConsumerGroupPartitionMetadataKey { group_id }.into(),
                None,
            ),
        };
        Ok((key.to_frame()?, value.map(|value| value.to_frame(VERSION)).transpose()?))
    }

    /// A record from the log; `None` if it is no record of a consumer group.
    pub(crate) fn from_parts(key: GroupRecordKey, value: Option<GroupRecordValue>) -> Option<Self> {
        use {GroupRecordKey as Key, GroupRecordValue as Value};
        let (group_id, change) = match (key, value) {
            (Key::ConsumerGroupMetadata(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupMetadata(value)) => {
                        Some(GroupEpoch { epoch: value.epoch, metadata_hash: value.metadata_hash })
                    }
                    _ => None,
                };
                (key.group_id, Change::Group(value))
            }
            (Key::ConsumerGroupMemberMetadata(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupMemberMetadata(value)) => Some(subscription(value)),
                    _ => None,
                };
                (key.group_id, Change::Member(key.member_id.detached(), value.map(Box::new)))
            }
            (Key::ConsumerGroupTargetAssignmentMetadata(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupTargetAssignmentMetadata(value)) => {
                        Some(TargetEpoch {
                            epoch: value.assignment_epoch,
                            at: Timestamp(value.assignment_timestamp),
                        })
                    }
                    _ => None,
                };
                (key.group_id, Change::TargetEpoch(value))
            }
            (Key::ConsumerGroupTargetAssignmentMember(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupTargetAssignmentMember(value)) => Some(target(value)),
                    _ => None,
                };
                (key.group_id, Change::Target(key.member_id.detached(), value))
            }
            (Key::ConsumerGroupCurrentMemberAssignment(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupCurrentMemberAssignment(value)) => {
                        Some(current(value))
                    }
                    _ => None,
                };
                (key.group_id, Change::Current(key.member_id.detached(), value.map(Box::new)))
            }
            (Key::ConsumerGroupRegularExpression(key), value) => {
                let value = match value {
                    Some(Value::ConsumerGroupRegularExpression(value)) => Some(resolved(&value)),
                    _ => None,
                };
                (key.group_id, Change::Regex(key.regular_expression.detached(), value))
            }
            (Key::ConsumerGroupPartitionMetadata(key), _) => {
                (key.group_id, Change::PartitionMetadata)
            }
            _ => return None,
        };
        Some(Self { group_id: group_id.detached(), change })
    }
}

fn group_value(value: GroupEpoch) -> GroupRecordValue {
    ConsumerGroupMetadataValue { epoch: value.epoch, metadata_hash: value.metadata_hash }.into()
}

fn target_epoch_value(value: TargetEpoch) -> GroupRecordValue {
    ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: value.epoch,
        assignment_timestamp: value.at.0,
    }
    .into()
}

fn member_value(member: &Subscription) -> GroupRecordValue {
    ConsumerGroupMemberMetadataValue {
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.names.clone(),
        subscribed_topic_regex: member.regex.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.assignor.clone(),
        classic_member_metadata: member.classic.clone(),
    }
    .into()
}

fn subscription(value: ConsumerGroupMemberMetadataValue) -> Subscription {
    let own = |text: Option<Str>| text.map(|text| text.detached());
    let mut names: Vec<Str> = value.subscribed_topic_names.iter().map(Str::detached).collect();
    names.sort_unstable();
    names.dedup();
    Subscription {
        instance_id: own(value.instance_id),
        rack_id: own(value.rack_id),
        client_id: value.client_id.detached(),
        client_host: value.client_host.detached(),
        names,
        regex: own(value.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: own(value.server_assignor),
        classic: value.classic_member_metadata.map(detached),
    }
}

/// In memory of its own: what it was read from can be recycled.
fn detached(classic: ClassicMemberMetadata) -> ClassicMemberMetadata {
    let own = |protocol: ClassicProtocol| ClassicProtocol {
        name: protocol.name.detached(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    let supported_protocols = classic.supported_protocols.into_iter().map(own).collect();
    ClassicMemberMetadata { supported_protocols, ..classic }
}

fn target_value(target: &Partitions) -> GroupRecordValue {
    let line = |(topic_id, partitions): (&_, &BTreeSet<i32>)| TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    let topic_partitions = target.iter().map(line).collect();
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions }.into()
}

fn target(value: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let line = |t: TopicPartition| (t.topic_id, t.partitions.into_iter().collect());
    value.topic_partitions.into_iter().map(line).collect()
}

fn current_value(current: &Current) -> GroupRecordValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: current.state.code(),
        assigned_partitions: owned_lines(&current.assigned),
        partitions_pending_revocation: owned_lines(&current.revoking),
    }
    .into()
}

fn owned_lines(owned: &Owned) -> Vec<TopicPartitions> {
    let line =
        |(topic_id, partitions): (&_, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
    owned.iter().map(line).collect()
}

fn current(value: ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    let epoch = value.member_epoch;
    Current {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::from_code(value.state),
        assigned: owned(value.assigned_partitions, epoch),
        revoking: owned(value.partitions_pending_revocation, epoch),
    }
}

/// Before Kafka 4.3 the epochs of partitions were not kept: then they count from the member's.
fn owned(lines: Vec<TopicPartitions>, member_epoch: i32) -> Owned {
    let line = |t: TopicPartitions| {
        let epochs = t.assignment_epochs.filter(|e| e.len() == t.partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![member_epoch; t.partitions.len()]);
        (t.topic_id, t.partitions.into_iter().zip(epochs).collect())
    };
    lines.into_iter().map(line).collect()
}

fn regex_value(regex: &ResolvedRegex) -> GroupRecordValue {
    ConsumerGroupRegularExpressionValue {
        topics: regex.topics.clone(),
        version: regex.version,
        timestamp: regex.at.0,
    }
    .into()
}

fn resolved(value: &ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
    ResolvedRegex {
        topics: value.topics.iter().map(Str::detached).collect(),
        version: value.version,
        at: Timestamp(value.timestamp),
    }
}
