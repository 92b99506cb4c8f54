//! A group's offsets at its coordinator: committed and fetched.

use std::collections::BTreeMap;

use klamm_model::{ErrorCode, Offset, PartitionIndex, TopicPartition};
use klamm_protocol::{
    ApiKey, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};
use klamm_stdx::Str;

use super::membership::Membership;
use crate::admin::{check, only};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::retry::Retry;

/// The newest version of both requests that names topics: names need no look-up.
const NAMES_UNTIL: i16 = 9;
/// The first version of OffsetFetch that asks for groups.
const GROUPS_FROM: i16 = 8;

pub(super) async fn commit(
    membership: &Membership,
    offsets: &[(TopicPartition, Offset)],
) -> Result<()> {
    let request = OffsetCommitRequest {
        group_id: membership.options.group_id.clone(),
        generation_id_or_member_epoch: membership.generation_id,
        member_id: membership.member_id.clone(),
        group_instance_id: membership.options.instance_id.clone(),
        topics: commit_topics(offsets),
        ..OffsetCommitRequest::default()
    };
    let mut retry = Retry::default();
    loop {
        match commit_once(membership, &request).await {
            // A rebalance is for the caller: nothing here would make it end.
            Err(error)
                if error.is_retriable()
                    && error.code() != Some(ErrorCode::RebalanceInProgress)
                    && retry.again().await => {}
            other => return other,
        }
    }
}

fn commit_topics(offsets: &[(TopicPartition, Offset)]) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: BTreeMap<Str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics.entry(partition.topic.clone()).or_default().push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_metadata: Some(Str::new()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    let topic = |(name, partitions)| OffsetCommitRequestTopic {
        name,
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    topics.into_iter().map(topic).collect()
}

/// Sets offsets of a group that has no members, once.
pub(crate) async fn set(
    connection: &Connection,
    group_id: &Str,
    offsets: &[(TopicPartition, Offset)],
) -> Result<()> {
    let request = OffsetCommitRequest {
        group_id: group_id.clone(),
        generation_id_or_member_epoch: -1,
        topics: commit_topics(offsets),
        ..OffsetCommitRequest::default()
    };
    let version = connection.version(ApiKey::OffsetCommit)?.min(NAMES_UNTIL);
    let response = connection.call_version(&request, version).await?;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let what =
                format!("setting the offset of group '{group_id}' in {}-{index}", topic.name);
            check(partition.error_code, None, &what)?;
        }
    }
    Ok(())
}

async fn commit_once(membership: &Membership, request: &OffsetCommitRequest) -> Result<()> {
    let connection = membership.coordinator().await?;
    let version = connection.version(ApiKey::OffsetCommit)?.min(NAMES_UNTIL);
    let response = connection.call_version(request, version).await?;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let doing =
                format!("committing the offset of {}-{}", topic.name, partition.partition_index);
            check(partition.error_code, None, &membership.what(&doing))?;
        }
    }
    Ok(())
}

pub(super) async fn fetch(
    membership: &Membership,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Offset>> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut topics: BTreeMap<Str, Vec<PartitionIndex>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition);
    }
    let topic = |(name, partition_indexes)| OffsetFetchRequestTopics {
        name,
        partition_indexes,
        ..OffsetFetchRequestTopics::default()
    };
    let topics: Vec<_> = topics.into_iter().map(topic).collect();
    let mut retry = Retry::default();
    loop {
        let asked = match membership.coordinator().await {
            Ok(connection) => {
                ask(&connection, &membership.options.group_id, Some(topics.clone())).await
            }
            Err(error) => Err(error),
        };
        match asked {
            Err(error) if error.is_retriable() && retry.again().await => {}
            other => return other,
        }
    }
}

/// The offsets of a group: of some partitions, or all that it has.
pub(crate) async fn ask(
    connection: &Connection,
    group_id: &Str,
    topics: Option<Vec<OffsetFetchRequestTopics>>,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let version = connection.version(ApiKey::OffsetFetch)?.min(NAMES_UNTIL);
    if version < GROUPS_FROM {
        return Err(ClientError::NotServed { api: ApiKey::OffsetFetch });
    }
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group_id.clone(),
            topics,
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let response = connection.call_version(&request, version).await?;
    let what = format!("reading the offsets of group '{group_id}'");
    let group = only(response.groups, &what)?;
    check(group.error_code, None, &what)?;
    let mut offsets = BTreeMap::new();
    for topic in group.topics {
        let name = topic.name.detached();
        for partition in topic.partitions {
            check(partition.error_code, None, &what)?;
            if partition.committed_offset >= 0 {
                let key = TopicPartition::new(name.clone(), partition.partition_index);
                offsets.insert(key, Offset(partition.committed_offset));
            }
        }
    }
    Ok(offsets)
}
