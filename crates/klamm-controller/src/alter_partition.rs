//! A leader says who is in sync (KIP-497, KIP-903). Never believes a leader of the past, and
//! never takes a replica into the ISR that could not lead.

use klamm_metadata::{
    LeaderRecoveryState, NO_LEADER_CHANGE, PartitionRegistration, VersionedRecord,
};
use klamm_model::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, TopicIdPartition};
use klamm_persisted::metadata::PartitionChangeRecord;

use crate::elections::Change;
use crate::producer_ids::check_broker_epoch;
use crate::{ApiError, Context, Controller, ControllerResult};

/// A replica that the leader takes for in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSyncReplica {
    /// The broker.
    pub id: NodeId,
    /// The life of it that is in sync; `None` where the leader does not know.
    pub epoch: Option<BrokerEpoch>,
}

/// What a leader says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    /// The partition.
    pub partition: TopicIdPartition,
    /// The leadership that says it.
    pub leader_epoch: LeaderEpoch,
    /// The last change that the leader has seen.
    pub partition_epoch: i32,
    /// Who is in sync.
    pub isr: Vec<InSyncReplica>,
    /// Whether the leader has recovered.
    pub leader_recovery_state: LeaderRecoveryState,
}

/// What became of each partition, in the order of the request: the partition as it is now.
pub type AlteredPartitions = Vec<(TopicIdPartition, Result<PartitionRegistration, ErrorCode>)>;

impl Controller {
    /// Changes ISRs as their leader says; each partition succeeds or fails on its own. A
    /// partition is in a request once: the second is told that its epoch is old.
    pub fn alter_partitions(
        &self,
        context: &Context<'_>,
        (leader, epoch): (NodeId, BrokerEpoch),
        requests: &[AlterPartition],
    ) -> ControllerResult<Result<AlteredPartitions, ApiError>> {
        if let Err(error) = check_broker_epoch(context, leader, epoch) {
            return ControllerResult::unchanged(Err(error));
        }
        let mut changed = std::collections::BTreeSet::new();
        let mut records = Vec::new();
        let mut results = AlteredPartitions::with_capacity(requests.len());
        for request in requests {
            let result = if changed.contains(&request.partition) {
                Err(ErrorCode::InvalidUpdateVersion)
            } else {
                self.alter_partition(context, leader, request)
            };
            let result = result.map(|(next, record)| {
                changed.insert(request.partition);
                records.extend(record);
                next
            });
            results.push((request.partition, result));
        }
        ControllerResult::new(records, Ok(results))
    }

    fn alter_partition(
        &self,
        context: &Context<'_>,
        leader: NodeId,
        request: &AlterPartition,
    ) -> Result<(PartitionRegistration, Option<VersionedRecord>), ErrorCode> {
        let TopicIdPartition { topic_id, partition: index } = request.partition;
        let topic = context.image.topics.by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        check_claim(context, partition, leader, request)?;
        let cluster = &context.image.cluster;
        let may_lead = |held: &PartitionRegistration, node| cluster.is_replica_online(held, node);
        let rules = self.election_rules(context, topic, &may_lead);
        let isr: Vec<NodeId> = request.isr.iter().map(|replica| replica.id).collect();
        let recovered = request.leader_recovery_state != partition.leader_recovery_state;
        let mut record = Change::of_isr(partition, &rules, isr).record(topic_id, index);
        if recovered {
            let record = record.get_or_insert_with(|| unchanged(request.partition));
            record.leader_recovery_state = request.leader_recovery_state.code();
        }
        let Some(record) = record else {
            return Ok((PartitionRegistration::clone(partition), None));
        };
        let next = partition.merged(&record).map_err(|_| ErrorCode::UnknownServerError)?;
        if record.leader != NO_LEADER_CHANGE {
            // The change stands, but whoever asked leads no longer.
            tracing::debug!(partition = %request.partition, "an ISR change elects another leader");
        }
        Ok((next, Some(context.record(record))))
    }
}

fn unchanged(partition: TopicIdPartition) -> PartitionChangeRecord {
    PartitionChangeRecord {
        topic_id: partition.topic_id,
        partition_id: partition.partition,
        ..Default::default()
    }
}

/// Checks that the leader leads, has seen the last change, and names an ISR that can be (Kafka:
/// `ReplicationControlManager.validateAlterPartitionData`).
fn check_claim(
    context: &Context<'_>,
    partition: &PartitionRegistration,
    leader: NodeId,
    request: &AlterPartition,
) -> Result<(), ErrorCode> {
    // The leader knows more than the controller: the controller is behind, or was replaced.
    if request.leader_epoch > partition.leader_epoch
        || request.partition_epoch > partition.partition_epoch
    {
        return Err(ErrorCode::NotController);
    }
    if request.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(leader) {
        return Err(ErrorCode::InvalidRequest);
    }
    if request.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let isr = &request.isr;
    let is_replica = |replica: &InSyncReplica| partition.replicas.contains(&replica.id);
    let unique =
        isr.iter().enumerate().all(|(i, replica)| isr[..i].iter().all(|r| r.id != replica.id));
    // A list with a replica twice is longer than the replicas: refused before it is compared.
    if isr.len() > partition.replicas.len()
        || !isr.iter().all(is_replica)
        || !unique
        || !isr.iter().any(|replica| replica.id == leader)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    let recovering = LeaderRecoveryState::Recovering;
    let relapses = partition.leader_recovery_state != recovering;
    if request.leader_recovery_state == recovering && (isr.len() > 1 || relapses) {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |replica: &InSyncReplica| {
        let broker = context.image.cluster.broker(replica.id);
        broker.is_some_and(|b| b.is_active() && replica.epoch.is_none_or(|e| e == b.epoch))
    };
    if !isr.iter().all(eligible) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use crate::{BrokerHeartbeat, BrokerWish};
    use klamm_model::Offset;

    /// A partition on 1, 2 and 3, led by 1.
    fn world() -> World {
        let mut world = World::with_brokers(3);
        world.create("a", &[&[1, 2, 3]]);
        world
    }

    fn claim(world: &World, isr: &[i32]) -> AlterPartition {
        let topic_id = world.image().topics.id("a").unwrap();
        let now = world.image().topics.partition("a", 0).unwrap();
        AlterPartition {
            partition: TopicIdPartition { topic_id, partition: 0 },
            leader_epoch: now.leader_epoch,
            partition_epoch: now.partition_epoch,
            isr: isr.iter().map(|id| InSyncReplica { id: NodeId(*id), epoch: None }).collect(),
            leader_recovery_state: now.leader_recovery_state,
        }
    }

    fn alter(world: &mut World, by: i32, claim: &AlterPartition) -> Result<Vec<i32>, ErrorCode> {
        let by = world.broker(by);
        let claims = std::slice::from_ref(claim);
        let results = world.run(|c, context| c.alter_partitions(context, by, claims)).unwrap();
        let (_, result) = results.into_iter().next().unwrap();
        result.map(|partition| partition.isr.iter().map(|node| node.0).collect())
    }

    #[test]
    fn a_leader_shrinks_and_grows_its_isr() {
        let mut world = world();
        let shrink = claim(&world, &[1, 2]);
        assert_eq!(alter(&mut world, 1, &shrink), Ok(vec![1, 2]));
        let grow = claim(&world, &[1, 2, 3]);
        assert_eq!(alter(&mut world, 1, &grow), Ok(vec![1, 2, 3]));
        let partition = world.image().topics.partition("a", 0).unwrap();
        assert_eq!((partition.partition_epoch, partition.leader_epoch.0), (2, 0));
        let same = claim(&world, &[1, 2, 3]);
        assert_eq!(alter(&mut world, 1, &same), Ok(vec![1, 2, 3]));
        assert!(world.written.is_empty());
    }

    #[test]
    fn a_leader_of_the_past_or_of_the_future_is_refused() {
        let mut world = world();
        let first = claim(&world, &[1, 2]);
        alter(&mut world, 1, &first).unwrap();
        assert_eq!(alter(&mut world, 1, &first), Err(ErrorCode::InvalidUpdateVersion));
        let now = claim(&world, &[1]);
        assert_eq!(alter(&mut world, 2, &now), Err(ErrorCode::InvalidRequest));
        let future = AlterPartition { leader_epoch: LeaderEpoch(1), ..now.clone() };
        assert_eq!(alter(&mut world, 1, &future), Err(ErrorCode::NotController));
        let future = AlterPartition { partition_epoch: 9, ..now.clone() };
        assert_eq!(alter(&mut world, 1, &future), Err(ErrorCode::NotController));
        let past = AlterPartition { leader_epoch: LeaderEpoch(-1), ..now };
        assert_eq!(alter(&mut world, 1, &past), Err(ErrorCode::FencedLeaderEpoch));
    }

    #[test]
    fn an_isr_that_cannot_be_is_refused() {
        let mut world = world();
        for isr in [&[][..], &[2, 3], &[1, 4], &[1, 1], &[1, 2, 3, 2]] {
            let claim = claim(&world, isr);
            assert_eq!(alter(&mut world, 1, &claim), Err(ErrorCode::InvalidRequest), "{isr:?}");
        }
        let mut relapse = claim(&world, &[1]);
        relapse.leader_recovery_state = LeaderRecoveryState::Recovering;
        assert_eq!(alter(&mut world, 1, &relapse), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_replica_that_is_fenced_or_in_another_life_is_not_in_sync() {
        let mut world = world();
        let (id, epoch) = world.broker(3);
        let wish = BrokerWish::BeFenced;
        let heartbeat = BrokerHeartbeat { wish, ..BrokerHeartbeat::new(id, epoch, Offset(0)) };
        world.run(|c, context| c.broker_heartbeat(context, &heartbeat)).unwrap();
        let fenced = claim(&world, &[1, 2, 3]);
        assert_eq!(alter(&mut world, 1, &fenced), Err(ErrorCode::IneligibleReplica));
        let mut other = claim(&world, &[1, 2]);
        other.isr[1].epoch = Some(BrokerEpoch(0));
        assert_eq!(alter(&mut world, 1, &other), Err(ErrorCode::IneligibleReplica));
    }

    #[test]
    fn unknown_partitions_and_brokers_are_refused() {
        let mut world = world();
        let mut unknown = claim(&world, &[1]);
        unknown.partition.partition = 7;
        assert_eq!(alter(&mut world, 1, &unknown), Err(ErrorCode::UnknownTopicOrPartition));
        unknown.partition.topic_id = klamm_model::Uuid(7);
        assert_eq!(alter(&mut world, 1, &unknown), Err(ErrorCode::UnknownTopicId));
        let by = (NodeId(1), BrokerEpoch(999));
        let stale = world.run(|c, context| c.alter_partitions(context, by, &[]));
        assert_eq!(stale.unwrap_err().code, ErrorCode::StaleBrokerEpoch);
    }

    #[test]
    fn a_partition_that_is_there_twice_changes_once() {
        let mut world = world();
        let claims = [claim(&world, &[1, 2]), claim(&world, &[1])];
        let by = world.broker(1);
        let results = world.run(|c, context| c.alter_partitions(context, by, &claims)).unwrap();
        assert!(results[0].1.is_ok());
        assert_eq!(results[1].1, Err(ErrorCode::InvalidUpdateVersion));
    }
}
