//! Which log directories of the brokers hold which replicas, and what becomes of those in one that
//! fails (KIP-858; Kafka: `ReplicationControlManager.handleDirectoriesOffline`,
//! `handleAssignReplicasToDirs`). Never chooses a directory: brokers do.

use klamm_metadata::{BrokerRegistration, PartitionRegistration, VersionedRecord};
use klamm_model::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, TopicIdPartition};
use klamm_persisted::metadata::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use crate::elections::Change;
use crate::liveness::change_of;
use crate::partitions_of_brokers::without;
use crate::producer_ids::check_broker_epoch;
use crate::{ApiError, Context, Controller, ControllerResult};

/// Replicas that a broker may assign at once (Kafka:
/// `AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST`).
pub const ASSIGNMENTS_MAX: usize = 2_250;

/// What became of each assignment, in the order of the request.
pub type AssignedReplicas = Vec<(TopicIdPartition, Result<(), ErrorCode>)>;

impl Controller {
    /// Log directories of a broker have failed: what is in them is in no ISR and leads nothing.
    pub(crate) fn directories_offline(
        &self,
        context: &Context<'_>,
        broker: &BrokerRegistration,
        offline: &[DirectoryId],
    ) -> Vec<VersionedRecord> {
        let (failed, online): (Vec<DirectoryId>, Vec<DirectoryId>) =
            broker.log_dirs.iter().partition(|id| offline.contains(id));
        if failed.is_empty() || !context.version().has_directories() {
            return Vec::new();
        }
        let is_lost = |held: &PartitionRegistration| {
            held.directory(broker.id).is_some_and(|id| failed.contains(&id))
        };
        let cluster = &context.image.cluster;
        let may_lead = |held: &PartitionRegistration, node| {
            cluster.is_replica_online(held, node) && !(node == broker.id && is_lost(held))
        };
        let is_involved = |held: &PartitionRegistration| {
            held.isr.contains(&broker.id) || held.leader == Some(broker.id)
        };
        let mut records = self.change_isrs(context, &may_lead, None, |held| {
            (is_lost(held) && is_involved(held)).then(|| without(&held.isr, broker.id))
        });
        // A list without any would say nothing.
        if !online.is_empty() {
            let change = BrokerRegistrationChangeRecord { log_dirs: online, ..change_of(broker) };
            records.push(context.record(change));
        }
        records
    }

    /// A broker says in which of its log directories replicas are. Each succeeds or fails on its
    /// own. A partition that nobody could lead gets a leader, if it can now.
    pub fn assign_replicas_to_dirs(
        &self,
        context: &Context<'_>,
        (broker, epoch): (NodeId, BrokerEpoch),
        replicas: &[(TopicIdPartition, DirectoryId)],
    ) -> ControllerResult<Result<AssignedReplicas, ApiError>> {
        if let Err(error) = check_broker_epoch(context, broker, epoch) {
            return ControllerResult::unchanged(Err(error));
        }
        if replicas.len() > ASSIGNMENTS_MAX {
            let message = format!("more than {ASSIGNMENTS_MAX} replicas are assigned at once");
            let error = ApiError::new(ErrorCode::InvalidRequest, message);
            return ControllerResult::unchanged(Err(error));
        }
        if !context.version().has_directories() {
            let done = replicas.iter().map(|(replica, _)| (*replica, Ok(()))).collect();
            return ControllerResult::unchanged(Ok(done));
        }
        let mut records = Vec::new();
        let mut results = AssignedReplicas::with_capacity(replicas.len());
        for (replica, directory) in replicas {
            let result = self.assign_replica(context, broker, (*replica, *directory));
            results.push((*replica, result.map(|record| records.extend(record))));
        }
        ControllerResult::new(records, Ok(results))
    }

    fn assign_replica(
        &self,
        context: &Context<'_>,
        broker: NodeId,
        (replica, directory): (TopicIdPartition, DirectoryId),
    ) -> Result<Option<VersionedRecord>, ErrorCode> {
        let TopicIdPartition { topic_id, partition: index } = replica;
        let topic = context.image.topics.by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let held = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let at = held.replicas.iter().position(|node| *node == broker);
        let at = at.ok_or(ErrorCode::NotLeaderOrFollower)?;
        let mut next = PartitionRegistration::clone(held);
        next.directories[at] = directory;
        if next.directories == held.directories {
            return Ok(None);
        }
        let cluster = &context.image.cluster;
        let may_lead = |_: &PartitionRegistration, node| cluster.is_replica_online(&next, node);
        let rules = self.election_rules(context, topic, &may_lead);
        // In a directory that is offline it is in sync with nobody.
        let isr = match cluster.has_online_dir(&next, broker) {
            true => held.isr.clone(),
            false => without(&held.isr, broker),
        };
        let unchanged =
            || PartitionChangeRecord { topic_id, partition_id: index, ..Default::default() };
        let change = Change::of_isr(held, &rules, isr).record(topic_id, index);
        let mut record = change.unwrap_or_else(unchanged);
        record.directories = Some(next.directories);
        Ok(Some(context.record(record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, to_register};
    use crate::{BrokerHeartbeat, BrokerToRegister};
    use klamm_model::{Offset, Uuid};

    /// Broker 1 with two log directories, and partitions of it: in the first, in the second, and
    /// on brokers 1 and 2.
    fn world() -> World {
        world_of("4.3")
    }

    fn world_of(release: &str) -> World {
        let mut world = World::of_release(release);
        world.register_with(&BrokerToRegister {
            log_dirs: vec![Uuid(301), Uuid(302)],
            ..to_register(1)
        });
        world.register(2);
        world.create("a", &[&[1], &[1]]);
        world.create("b", &[&[1, 2]]);
        for (partition, directory) in [(0, 301), (1, 302), (2, 302)] {
            assign(&mut world, partition, directory).unwrap();
        }
        world
    }

    /// The third is in a topic of its own.
    fn place(number: i32) -> (&'static str, i32) {
        if number == 2 { ("b", 0) } else { ("a", number) }
    }

    fn held(world: &World, number: i32) -> &PartitionRegistration {
        let (topic, partition) = place(number);
        world.image().topics.partition(topic, partition).unwrap()
    }

    fn replica(world: &World, number: i32) -> TopicIdPartition {
        let (topic, partition) = place(number);
        TopicIdPartition { topic_id: world.image().topics.id(topic).unwrap(), partition }
    }

    fn assign(world: &mut World, partition: i32, directory: u128) -> Result<(), ErrorCode> {
        let (by, replica) = (world.broker(1), replica(world, partition));
        let replicas = [(replica, Uuid(directory))];
        let results = world.run(|c, context| c.assign_replicas_to_dirs(context, by, &replicas));
        results.unwrap()[0].1
    }

    fn fail(world: &mut World, directories: &[u128]) {
        let (id, epoch) = world.broker(1);
        let offline_log_dirs = directories.iter().copied().map(Uuid).collect();
        let heartbeat =
            BrokerHeartbeat { offline_log_dirs, ..BrokerHeartbeat::new(id, epoch, Offset(99)) };
        let reply = world.run(|c, context| c.broker_heartbeat(context, &heartbeat)).unwrap();
        assert!(!reply.fenced);
    }

    fn leaders(world: &World) -> [Option<i32>; 3] {
        [0, 1, 2].map(|number| held(world, number).leader.map(|node| node.0))
    }

    #[test]
    fn a_log_directory_that_fails_takes_the_leaderships_of_its_partitions_alone() {
        let mut world = world();
        assert_eq!(leaders(&world), [Some(1), Some(1), Some(1)]);
        fail(&mut world, &[302, 999]);
        assert_eq!(leaders(&world), [Some(1), None, Some(2)]);
        let broker = world.image().cluster.broker(NodeId(1)).unwrap();
        assert_eq!(broker.log_dirs, [Uuid(301)]);
        let moved = held(&world, 2);
        assert_eq!(moved.isr, [NodeId(2)]);
        assert!(!world.image().cluster.is_replica_online(moved, NodeId(1)));
        fail(&mut world, &[302]);
        assert!(world.written.is_empty(), "it is said once");
    }

    #[test]
    fn the_last_log_directory_that_fails_takes_all() {
        let mut world = world();
        fail(&mut world, &[301, 302]);
        assert_eq!(leaders(&world), [None, None, Some(2)]);
    }

    #[test]
    fn partitions_have_a_leader_again_when_their_log_directory_is_back() {
        for release in ["4.3", "3.9"] {
            let mut world = world_of(release);
            fail(&mut world, &[302]);
            world.now = world.now.plus_ms(9_000);
            let (_, epoch) = world.broker(1);
            let again = BrokerToRegister {
                incarnation_id: Uuid(7777),
                previous_epoch: Some(epoch),
                log_dirs: vec![Uuid(301), Uuid(302)],
                ..to_register(1)
            };
            world.run(|c, context| c.register_broker(context, &again)).unwrap();
            let (id, epoch) = world.broker(1);
            let beat = BrokerHeartbeat::new(id, epoch, Offset(epoch.0));
            world.run(|c, context| c.broker_heartbeat(context, &beat)).unwrap();
            assert_eq!(leaders(&world), [Some(1), Some(1), Some(2)], "{release}");
        }
    }

    #[test]
    fn a_broker_that_comes_without_a_log_directory_leads_nothing_that_is_in_it() {
        let mut world = world();
        world.now = world.now.plus_ms(9_000);
        let again = BrokerToRegister {
            incarnation_id: Uuid(7777),
            log_dirs: vec![Uuid(301)],
            ..to_register(1)
        };
        world.run(|c, context| c.register_broker(context, &again)).unwrap();
        let (id, epoch) = world.broker(1);
        let beat = BrokerHeartbeat::new(id, epoch, Offset(epoch.0));
        world.run(|c, context| c.broker_heartbeat(context, &beat)).unwrap();
        assert_eq!(leaders(&world), [Some(1), None, Some(2)]);
        // Somebody has carried the files over.
        assert_eq!(assign(&mut world, 1, 301), Ok(()));
        assert_eq!(leaders(&world), [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn an_assignment_is_written_once_and_elects_nobody_new() {
        let mut world = world();
        assert_eq!(assign(&mut world, 1, 301), Ok(()));
        let partition = held(&world, 1);
        assert_eq!((partition.directories[0], partition.leader_epoch.0), (Uuid(301), 0));
        assert_eq!(assign(&mut world, 1, 301), Ok(()));
        assert!(world.written.is_empty());
        // To one that failed, it takes the replica out of the ISR.
        fail(&mut world, &[302]);
        assert_eq!(assign(&mut world, 0, 302), Ok(()));
        assert_eq!(leaders(&world)[0], None);
    }

    #[test]
    fn assignments_of_what_is_not_there_or_not_the_brokers_are_refused() {
        let mut world = world();
        assert_eq!(assign(&mut world, 7, 301), Err(ErrorCode::UnknownTopicOrPartition));
        world.create("c", &[&[2]]);
        let topic_id = world.image().topics.id("c").unwrap();
        let by = world.broker(1);
        let replica = |topic_id| (TopicIdPartition { topic_id, partition: 0 }, Uuid(301));
        let replicas = [replica(topic_id), replica(Uuid(5))];
        let results = world.run(|c, context| c.assign_replicas_to_dirs(context, by, &replicas));
        let codes: Vec<_> = results.unwrap().into_iter().map(|(_, result)| result).collect();
        let expected = [Err(ErrorCode::NotLeaderOrFollower), Err(ErrorCode::UnknownTopicId)];
        assert_eq!(codes, expected);
        let many = vec![replica(topic_id); ASSIGNMENTS_MAX + 1];
        let refused = world.run(|c, context| c.assign_replicas_to_dirs(context, by, &many));
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest);
        let stale = (NodeId(1), BrokerEpoch(0));
        let refused = world.run(|c, context| c.assign_replicas_to_dirs(context, stale, &[]));
        assert_eq!(refused.unwrap_err().code, ErrorCode::StaleBrokerEpoch);
    }
}
