//! What the cluster knows of one partition. Never decides who leads; it is told.

use klamm_model::{DirectoryId, LeaderEpoch, NodeId, PartitionIndex, TopicId, Uuid};
use klamm_persisted::metadata::{PartitionChangeRecord, PartitionRecord};

use crate::{MetadataVersion, ReplayError, SnapshotError};

/// `PartitionChangeRecord.leader`: the leader stays.
pub const NO_LEADER_CHANGE: i32 = -2;
/// `leader` of a record: nobody leads.
pub const NO_LEADER: i32 = -1;
/// `PartitionChangeRecord.leader_recovery_state`: it stays.
const NO_RECOVERY_CHANGE: i8 = -1;

/// Whether the leader may lack records that were acknowledged (KIP-704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderRecoveryState {
    /// It has them all.
    #[default]
    Recovered,
    /// It was elected uncleanly and has not cleaned up yet.
    Recovering,
}

impl LeaderRecoveryState {
    /// From a record.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }

    /// For a record.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }
}

/// The state of one partition (Kafka: `PartitionRegistration`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionRegistration {
    /// Who holds it, in order of preference.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the same order.
    pub directories: Vec<DirectoryId>,
    /// Who has everything that is committed.
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment takes away.
    pub removing_replicas: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<NodeId>,
    /// Not in the ISR but may lead without loss (KIP-966).
    pub eligible_leader_replicas: Vec<NodeId>,
    /// Who led last, when nobody is eligible (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// Who leads, if anyone.
    pub leader: Option<NodeId>,
    /// Whether the leader lacks something.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Grows with every election.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: i32,
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn leader(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

impl PartitionRegistration {
    /// The partition that a record describes.
    ///
    /// # Errors
    /// The record contradicts itself.
    pub fn from_record(record: &PartitionRecord) -> Result<Self, ReplayError> {
        let refuse = |why| ReplayError::Partition {
            topic_id: record.topic_id,
            partition: record.partition_id,
            why,
        };
        let directories = if record.directories.is_empty() {
            vec![Uuid::DIRECTORY_MIGRATING; record.replicas.len()]
        } else {
            record.directories.clone()
        };
        if directories.len() != record.replicas.len() {
            return Err(refuse("it has not one directory for each replica"));
        }
        Ok(Self {
            replicas: nodes(&record.replicas),
            directories,
            isr: nodes(&record.isr),
            removing_replicas: nodes(&record.removing_replicas),
            adding_replicas: nodes(&record.adding_replicas),
            eligible_leader_replicas: nodes(
                record.eligible_leader_replicas.as_deref().unwrap_or_default(),
            ),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: leader(record.leader),
            leader_recovery_state: LeaderRecoveryState::from_code(record.leader_recovery_state)
                .ok_or_else(|| refuse("its leader recovery state is unknown"))?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        })
    }

    /// This partition after a change; the leader epoch grows if the record names a leader, the
    /// partition epoch always (Kafka: `PartitionRegistration.merge`).
    ///
    /// # Errors
    /// The record contradicts itself or the partition.
    pub fn merged(&self, record: &PartitionChangeRecord) -> Result<Self, ReplayError> {
        let refuse = |why| ReplayError::Partition {
            topic_id: record.topic_id,
            partition: record.partition_id,
            why,
        };
        let mut next = self.clone();
        if let Some(replicas) = &record.replicas {
            next.replicas = nodes(replicas);
            next.directories = next
                .replicas
                .iter()
                .map(|replica| self.directory_or_unassigned(*replica))
                .collect();
        }
        if let Some(directories) = &record.directories {
            next.directories.clone_from(directories);
        }
        if next.directories.len() != next.replicas.len() {
            return Err(refuse("it has not one directory for each replica"));
        }
        set(&mut next.isr, record.isr.as_deref());
        set(&mut next.removing_replicas, record.removing_replicas.as_deref());
        set(&mut next.adding_replicas, record.adding_replicas.as_deref());
        set(&mut next.eligible_leader_replicas, record.eligible_leader_replicas.as_deref());
        set(&mut next.last_known_elr, record.last_known_elr.as_deref());
        if record.leader != NO_LEADER_CHANGE {
            next.leader = leader(record.leader);
            let epoch = self.leader_epoch.0.checked_add(1);
            next.leader_epoch =
                LeaderEpoch(epoch.ok_or_else(|| refuse("its leader epoch is used up"))?);
        }
        if record.leader_recovery_state != NO_RECOVERY_CHANGE {
            next.leader_recovery_state =
                LeaderRecoveryState::from_code(record.leader_recovery_state)
                    .ok_or_else(|| refuse("its leader recovery state is unknown"))?;
        }
        let epoch = self.partition_epoch.checked_add(1);
        next.partition_epoch = epoch.ok_or_else(|| refuse("its partition epoch is used up"))?;
        Ok(next)
    }

    /// The log directory of a replica; `None` if the node is no replica.
    #[must_use]
    pub fn directory(&self, replica: NodeId) -> Option<DirectoryId> {
        let at = self.replicas.iter().position(|node| *node == replica)?;
        self.directories.get(at).copied()
    }

    fn directory_or_unassigned(&self, replica: NodeId) -> DirectoryId {
        self.directory(replica).unwrap_or(Uuid::DIRECTORY_UNASSIGNED)
    }

    /// Whether a reassignment is under way.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// The record that describes this partition to a cluster on `version`.
    ///
    /// # Errors
    /// The version has no place for something that this partition has.
    pub fn to_record(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        version: MetadataVersion,
    ) -> Result<PartitionRecord, SnapshotError> {
        let mut record = PartitionRecord {
            partition_id: partition,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            removing_replicas: ids(&self.removing_replicas),
            adding_replicas: ids(&self.adding_replicas),
            leader: self.leader.map_or(NO_LEADER, |leader| leader.0),
            leader_recovery_state: self.leader_recovery_state.code(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            ..PartitionRecord::default()
        };
        let unwritable = |what| SnapshotError::Unwritable { what, version };
        if version.has_directories() {
            record.directories.clone_from(&self.directories);
        } else if self.directories.iter().any(|id| *id != Uuid::DIRECTORY_MIGRATING) {
            return Err(unwritable("the log directories of replicas"));
        }
        let elr = [&self.eligible_leader_replicas, &self.last_known_elr];
        if version.has_eligible_leader_replicas() {
            let [eligible, last_known] =
                elr.map(|nodes| (!nodes.is_empty()).then(|| ids(nodes.as_slice())));
            record.eligible_leader_replicas = eligible;
            record.last_known_elr = last_known;
        } else if elr.iter().any(|nodes| !nodes.is_empty()) {
            return Err(unwritable("eligible leader replicas"));
        }
        Ok(record)
    }
}

fn set(field: &mut Vec<NodeId>, change: Option<&[i32]>) {
    if let Some(change) = change {
        *field = nodes(change);
    }
}

#[cfg(test)]
mod tests;
