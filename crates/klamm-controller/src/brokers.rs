//! Brokers register, and leave for good. Never lets two processes be the same broker.

use klamm_metadata::{
    BrokerRegistration, Endpoint, FeaturesImage, SupportedFeature, features, supported_features,
};
use klamm_model::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, Uuid};
use klamm_persisted::metadata::UnregisterBrokerRecord;
use klamm_stdx::Str;

use crate::partitions_of_brokers::Leaving;
use crate::{ApiError, Context, Controller, ControllerResult};

/// A broker that wants to be part of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerToRegister {
    /// The broker.
    pub id: NodeId,
    /// The cluster that it believes to be in.
    pub cluster_id: Str,
    /// What it calls this life.
    pub incarnation_id: Uuid,
    /// The epoch of its last life, if it ended in order.
    pub previous_epoch: Option<BrokerEpoch>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can run.
    pub features: Vec<SupportedFeature>,
    /// Where it stands.
    pub rack: Option<Str>,
    /// Its log directories that are online.
    pub log_dirs: Vec<DirectoryId>,
    /// Those that take no new replicas.
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

impl BrokerToRegister {
    /// What a broker of this program can run.
    #[must_use]
    pub fn our_features() -> Vec<SupportedFeature> {
        let feature = |(name, levels): (&'static str, std::ops::RangeInclusive<i16>)| {
            let (level_min, level_max) = levels.into_inner();
            SupportedFeature { name: Str::from_static(name), level_min, level_max }
        };
        supported_features().into_iter().map(feature).collect()
    }

    fn supports(&self, name: &str, level: i16) -> bool {
        let feature = self.features.iter().find(|feature| feature.name == *name);
        // Who does not name a feature runs it at level 0: off.
        feature.map_or(level == 0, |f| (f.level_min..=f.level_max).contains(&level))
    }
}

impl Controller {
    /// Registers a broker, fenced; its epoch is the offset of the record. A broker that asks
    /// again in the same life keeps its epoch and state.
    pub fn register_broker(
        &mut self,
        context: &Context<'_>,
        broker: &BrokerToRegister,
    ) -> ControllerResult<Result<BrokerEpoch, ApiError>> {
        if let Err(error) = self.check_registration(context, broker) {
            return ControllerResult::unchanged(Err(error));
        }
        let before = context.image.cluster.broker(broker.id);
        let same = before.filter(|before| before.incarnation_id == broker.incarnation_id);
        let mut records = Vec::new();
        if let (Some(before), None) = (before, same) {
            let leaving = leaving(broker.previous_epoch, before, &context.image.features);
            records = self.leave_partitions(context, broker.id, leaving);
        }
        let epoch = match same {
            Some(same) => same.epoch,
            None => BrokerEpoch(context.next_offset.plus(records.len() as i64).0),
        };
        let version = context.version();
        let registration = BrokerRegistration {
            id: broker.id,
            epoch,
            incarnation_id: broker.incarnation_id,
            endpoints: broker.endpoints.clone(),
            features: broker.features.clone(),
            rack: broker.rack.clone(),
            fenced: same.is_none_or(|same| same.fenced),
            in_controlled_shutdown: same.is_some_and(|same| same.in_controlled_shutdown),
            is_migrating_zk_broker: false,
            log_dirs: if version.has_directories() { broker.log_dirs.clone() } else { Vec::new() },
            cordoned_log_dirs: broker
                .cordoned_log_dirs
                .clone()
                .filter(|_| version.has_cordoned_log_dirs()),
        };
        match registration.to_record(version) {
            Ok(record) => records.push(context.record(record)),
            Err(error) => {
                let error = ApiError::new(ErrorCode::UnsupportedVersion, error.to_string());
                return ControllerResult::unchanged(Err(error));
            }
        }
        self.heartbeats.on_contact(broker.id, epoch, context.now);
        ControllerResult::new(records, Ok(epoch))
    }

    fn check_registration(
        &self,
        context: &Context<'_>,
        broker: &BrokerToRegister,
    ) -> Result<(), ApiError> {
        let refuse = |code, message| Err(ApiError::new(code, message));
        if broker.id.0 < 0 {
            let message = format!("broker id {} is negative", broker.id);
            return refuse(ErrorCode::InvalidRequest, message);
        }
        if broker.cluster_id != self.settings.cluster_id {
            let message = format!(
                "this is cluster '{}', the broker is of cluster '{}'",
                self.settings.cluster_id, broker.cluster_id
            );
            return refuse(ErrorCode::InconsistentClusterId, message);
        }
        if let Some(before) = context.image.cluster.broker(broker.id)
            && before.incarnation_id != broker.incarnation_id
            && !before.in_controlled_shutdown
            && self.heartbeats.has_session(before.id, before.epoch, context.now)
        {
            let message = format!(
                "broker {} is registered and alive; if it was restarted, its old session ends within {} ms",
                broker.id, self.settings.broker_session_timeout_ms
            );
            return refuse(ErrorCode::DuplicateBrokerRegistration, message);
        }
        check_features(&context.image.features, broker)?;
        if context.version().has_directories() {
            check_directories(context, broker)?;
        }
        Ok(())
    }

    /// Forgets a broker; its replicas are no longer in sync anywhere.
    pub fn unregister_broker(
        &mut self,
        context: &Context<'_>,
        id: NodeId,
    ) -> ControllerResult<Result<(), ApiError>> {
        let Some(broker) = context.image.cluster.broker(id) else {
            let message = format!("broker {id} is not registered");
            let error = ApiError::new(ErrorCode::BrokerIdNotRegistered, message);
            return ControllerResult::unchanged(Err(error));
        };
        let mut records = self.leave_partitions(context, id, Leaving::Unclean);
        records.push(
            context
                .record(UnregisterBrokerRecord { broker_id: id.0, broker_epoch: broker.epoch.0 }),
        );
        self.heartbeats.forget(id);
        ControllerResult::new(records, Ok(()))
    }
}

/// Whether the last life of a broker ended in order, so that nothing acknowledged is missing
/// (KIP-966). Without eligible leader replicas nobody asks.
fn leaving(
    previous: Option<BrokerEpoch>,
    before: &BrokerRegistration,
    features: &FeaturesImage,
) -> Leaving {
    if !features.has_eligible_leader_replicas() || previous == Some(before.epoch) {
        Leaving::Clean
    } else {
        Leaving::Unclean
    }
}

fn check_features(levels: &FeaturesImage, broker: &BrokerToRegister) -> Result<(), ApiError> {
    let metadata_version = (features::METADATA_VERSION, levels.metadata_version.level());
    let others = levels.levels.iter().map(|(name, level)| (name.as_str(), *level));
    for (name, level) in std::iter::once(metadata_version).chain(others) {
        if !broker.supports(name, level) {
            let message = format!("broker {} cannot run {name} at level {level}", broker.id);
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    Ok(())
}

fn check_directories(context: &Context<'_>, broker: &BrokerToRegister) -> Result<(), ApiError> {
    let refuse = |message| Err(ApiError::new(ErrorCode::InvalidRegistration, message));
    if broker.log_dirs.is_empty() {
        return refuse(format!("broker {} names no log directory", broker.id));
    }
    if broker.log_dirs.len() > LOG_DIRS_MAX {
        return refuse(format!(
            "broker {} names more than {LOG_DIRS_MAX} log directories",
            broker.id
        ));
    }
    for (i, id) in broker.log_dirs.iter().enumerate() {
        if *id < DIRECTORY_ID_FIRST {
            return refuse(format!("log directory id {id} is reserved"));
        }
        if broker.log_dirs[..i].contains(id) {
            return refuse(format!("log directory id {id} is named twice"));
        }
        let others = context.image.cluster.brokers.values();
        let owner = others.filter(|o| o.id != broker.id).find(|o| o.log_dirs.contains(id));
        if let Some(owner) = owner {
            return refuse(format!("log directory id {id} belongs to broker {}", owner.id));
        }
    }
    Ok(())
}

/// Log directories that a broker may have: lists are compared with each other.
const LOG_DIRS_MAX: usize = 1_000;
/// Ids below this mean something else, such as "lost" (Kafka: `DirectoryId.reserved`).
const DIRECTORY_ID_FIRST: Uuid = Uuid(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, to_register};
    use klamm_persisted::metadata::MetadataRecord;

    fn register(world: &mut World, broker: &BrokerToRegister) -> Result<BrokerEpoch, ErrorCode> {
        world.run(|c, context| c.register_broker(context, broker)).map_err(|error| error.code)
    }

    #[test]
    fn a_broker_is_registered_fenced_with_the_offset_of_its_record_as_epoch() {
        let mut world = World::of_release("4.3");
        assert_eq!(register(&mut world, &to_register(1)), Ok(BrokerEpoch(6)));
        let broker = world.image().cluster.broker(NodeId(1)).unwrap();
        assert!(broker.fenced && broker.epoch == BrokerEpoch(6));
        assert!(matches!(world.written[0].record, MetadataRecord::RegisterBroker(_)));
        assert_eq!(world.written[0].version, 4);
    }

    #[test]
    fn asking_again_in_the_same_life_changes_neither_epoch_nor_state() {
        let mut world = World::with_brokers(1);
        let (_, epoch) = world.broker(1);
        assert_eq!(register(&mut world, &to_register(1)), Ok(epoch));
        assert!(!world.image().cluster.broker(NodeId(1)).unwrap().fenced);
    }

    #[test]
    fn another_process_is_refused_until_the_session_of_the_first_is_over() {
        let mut world = World::with_brokers(1);
        let (_, epoch) = world.broker(1);
        let second = BrokerToRegister { incarnation_id: Uuid(9999), ..to_register(1) };
        assert_eq!(register(&mut world, &second), Err(ErrorCode::DuplicateBrokerRegistration));
        world.now = world.now.plus_ms(9_000);
        assert!(register(&mut world, &second).unwrap() > epoch);
        assert!(world.image().cluster.broker(NodeId(1)).unwrap().fenced);
    }

    #[test]
    fn a_new_life_takes_no_leaderships_over_from_the_old() {
        let mut world = World::with_brokers(2);
        world.create("a", &[&[1, 2]]);
        world.now = world.now.plus_ms(9_000);
        let second = BrokerToRegister { incarnation_id: Uuid(9999), ..to_register(1) };
        register(&mut world, &second).unwrap();
        let partition = world.image().topics.partition("a", 0).unwrap();
        assert_eq!((partition.leader, &partition.isr[..]), (Some(NodeId(2)), &[NodeId(2)][..]));
    }

    #[test]
    fn a_broker_of_another_cluster_or_without_the_clusters_features_is_refused() {
        let mut world = World::of_release("4.3");
        let other = BrokerToRegister { cluster_id: "other".into(), ..to_register(1) };
        assert_eq!(register(&mut world, &other), Err(ErrorCode::InconsistentClusterId));
        let none = BrokerToRegister { features: Vec::new(), ..to_register(1) };
        assert_eq!(register(&mut world, &none), Err(ErrorCode::UnsupportedVersion));
        let mut old = to_register(1);
        old.features.iter_mut().for_each(|f| f.level_max = f.level_max.min(29));
        assert_eq!(register(&mut world, &old), Err(ErrorCode::UnsupportedVersion));
        let negative = BrokerToRegister { id: NodeId(-1), ..to_register(1) };
        assert_eq!(register(&mut world, &negative), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn log_directories_must_be_named_once_and_be_nobody_elses() {
        let mut world = World::with_brokers(1);
        for log_dirs in [vec![], vec![Uuid(1)], vec![Uuid(301); 2], vec![Uuid(201)]] {
            let broker = BrokerToRegister { log_dirs, ..to_register(2) };
            assert_eq!(register(&mut world, &broker), Err(ErrorCode::InvalidRegistration));
        }
    }

    #[test]
    fn a_cluster_of_an_old_version_gets_records_that_it_can_read() {
        let mut world = World::of_release("3.6");
        register(&mut world, &to_register(1)).unwrap();
        assert_eq!(world.written[0].version, 2);
    }

    #[test]
    fn a_broker_that_is_forgotten_is_in_no_isr() {
        let mut world = World::with_brokers(2);
        world.create("a", &[&[1, 2]]);
        let gone = |world: &mut World| world.run(|c, ctx| c.unregister_broker(ctx, NodeId(1)));
        assert_eq!(gone(&mut world), Ok(()));
        assert!(world.image().cluster.broker(NodeId(1)).is_none());
        assert_eq!(world.image().topics.partition("a", 0).unwrap().isr, [NodeId(2)]);
        assert_eq!(gone(&mut world).unwrap_err().code, ErrorCode::BrokerIdNotRegistered);
    }
}
