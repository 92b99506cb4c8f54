//! How the partitions of a new topic are placed, as whoever asks for it says.

use klamm_model::{ErrorCode, NodeId, PartitionIndex};

use crate::{ApiError, Context};

/// Replicas that a partition may be assigned to by hand; a broker holds a partition once, and no
/// cluster has this many brokers.
const REPLICAS_MAX: usize = 10_000;

/// How partitions are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// By the controller.
    Automatic {
        /// How many partitions; -1 for `num.partitions`.
        partition_count: i32,
        /// How many replicas each; -1 for `default.replication.factor`.
        replication_factor: i16,
    },
    /// By whoever asks: partition number and its replicas.
    Manual(Vec<(PartitionIndex, Vec<NodeId>)>),
    /// By both at once, which is refused.
    Contradicting,
}

impl Default for Layout {
    fn default() -> Self {
        Self::Automatic { partition_count: -1, replication_factor: -1 }
    }
}

impl Layout {
    /// What a CreateTopics request says.
    #[must_use]
    pub fn from_request(
        partition_count: i32,
        replication_factor: i16,
        assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    ) -> Self {
        if assignments.is_empty() {
            Self::Automatic { partition_count, replication_factor }
        } else if partition_count == -1 && replication_factor == -1 {
            Self::Manual(assignments)
        } else {
            Self::Contradicting
        }
    }
}

/// The replicas of partitions that were all assigned by hand.
///
/// # Errors
/// Partitions are left out, or one is assigned in a way that cannot be.
pub(crate) fn manual(
    context: &Context<'_>,
    assignments: &[(PartitionIndex, Vec<NodeId>)],
) -> Result<Vec<Vec<NodeId>>, ApiError> {
    let mut sorted: Vec<_> = assignments.iter().collect();
    sorted.sort_unstable_by_key(|(index, _)| *index);
    for (expected, (index, _)) in sorted.iter().enumerate() {
        if usize::try_from(*index) != Ok(expected) {
            let message = format!(
                "assigned partitions must be numbered from 0 without gaps: expected {expected}, found {index}"
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    let replicas: Vec<Vec<NodeId>> = sorted.into_iter().map(|(_, nodes)| nodes.clone()).collect();
    let factor = replicas.first().map_or(0, Vec::len);
    for nodes in &replicas {
        check_assignment(context, nodes, factor)?;
    }
    Ok(replicas)
}

/// Checks the replicas that someone assigned to a partition.
///
/// # Errors
/// They are none, repeated, unknown, or not `replication_factor` many.
pub(crate) fn check_assignment(
    context: &Context<'_>,
    replicas: &[NodeId],
    replication_factor: usize,
) -> Result<(), ApiError> {
    let refuse = |message| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("a partition is assigned to no broker".to_owned());
    }
    // Far more than a replica list needs: the list is compared with itself below.
    if replicas.len() > REPLICAS_MAX {
        return refuse(format!("a partition is assigned to more than {REPLICAS_MAX} brokers"));
    }
    for (i, node) in replicas.iter().enumerate() {
        if context.image.cluster.broker(*node).is_none() {
            return refuse(format!(
                "a partition is assigned to broker {node}, which is not registered"
            ));
        }
        if replicas[..i].contains(node) {
            return refuse(format!("a partition is assigned to broker {node} more than once"));
        }
    }
    if replicas.len() != replication_factor {
        return refuse(format!(
            "a partition is assigned to {} broker(s), the others to {replication_factor}",
            replicas.len()
        ));
    }
    Ok(())
}
