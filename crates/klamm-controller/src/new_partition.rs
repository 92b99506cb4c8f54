//! The record of a partition that comes into being.

use klamm_metadata::{LeaderRecoveryState, VersionedRecord};
use klamm_model::{ErrorCode, NodeId, PartitionIndex, TopicId, Uuid};
use klamm_persisted::metadata::PartitionRecord;

use crate::{ApiError, Context};

/// The record of a new partition: its live replicas are in sync, the first of them leads.
///
/// # Errors
/// No replica is live.
pub(crate) fn new_partition(
    context: &Context<'_>,
    topic_id: TopicId,
    partition_id: PartitionIndex,
    replicas: &[NodeId],
) -> Result<VersionedRecord, ApiError> {
    let cluster = &context.image.cluster;
    let isr: Vec<i32> =
        replicas.iter().filter(|node| cluster.is_active(**node)).map(|node| node.0).collect();
    let Some(leader) = isr.first().copied() else {
        let message =
            format!("every broker assigned to partition {partition_id} is fenced or about to stop");
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    };
    let directories = if context.version().has_directories() {
        replicas.iter().map(|node| default_directory(context, *node)).collect()
    } else {
        Vec::new()
    };
    Ok(context.record(PartitionRecord {
        partition_id,
        topic_id,
        replicas: replicas.iter().map(|node| node.0).collect(),
        isr,
        leader,
        leader_recovery_state: LeaderRecoveryState::Recovered.code(),
        leader_epoch: 0,
        partition_epoch: 0,
        directories,
        ..PartitionRecord::default()
    }))
}

/// Where a broker will put a replica, if there is no choice (Kafka:
/// `ClusterControlManager.defaultDir`).
fn default_directory(context: &Context<'_>, node: NodeId) -> Uuid {
    match context.image.cluster.broker(node).map(|broker| &broker.log_dirs[..]) {
        Some([only]) => *only,
        Some([]) => Uuid::DIRECTORY_MIGRATING,
        _ => Uuid::DIRECTORY_UNASSIGNED,
    }
}
