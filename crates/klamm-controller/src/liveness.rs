//! Brokers are heard, fenced, unfenced and stopped. Never trusts silence: who is not heard for a
//! session leads nothing.
//!
//! ```text
//!   register          caught up                wants to stop
//!  ----------> FENCED ---------> UNFENCED --------------------> CONTROLLED SHUTDOWN
//!                ^  silence or wish |                                    |
//!                +------------------+        leads nothing any more      |
//!                +-------------------------------------------------------+
//! ```
//!
//! All moves but the first are made by [`Controller::broker_heartbeat`], silence by
//! [`Controller::on_timeout`].

use klamm_env::Moment;
use klamm_metadata::{BrokerRegistration, MetadataImage, VersionedRecord};
use klamm_model::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, Offset};
use klamm_persisted::metadata::BrokerRegistrationChangeRecord;

use crate::partitions_of_brokers::Leaving;
use crate::producer_ids::check_broker_epoch;
use crate::{ApiError, Context, Controller, ControllerResult};

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerHeartbeat {
    /// The broker.
    pub id: NodeId,
    /// This life of it.
    pub epoch: BrokerEpoch,
    /// The last offset of the metadata log that it has replayed.
    pub metadata_offset: Offset,
    /// What it wants.
    pub wish: BrokerWish,
    /// Its log directories that have failed (KIP-858).
    pub offline_log_dirs: Vec<DirectoryId>,
}

impl BrokerHeartbeat {
    /// Of a broker that wants to serve, and whose log directories are sound.
    #[must_use]
    pub fn new(id: NodeId, epoch: BrokerEpoch, metadata_offset: Offset) -> Self {
        let (wish, offline_log_dirs) = (BrokerWish::Serve, Vec::new());
        Self { id, epoch, metadata_offset, wish, offline_log_dirs }
    }
}

/// What a broker wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerWish {
    /// To serve clients.
    Serve,
    /// To serve nobody.
    BeFenced,
    /// To stop.
    Stop,
}

/// What a broker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// It knows at least of its own registration.
    pub caught_up: bool,
    /// It serves nobody.
    pub fenced: bool,
    /// It may stop now: nobody needs it any more.
    pub may_stop: bool,
}

/// What a broker is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Fenced,
    Unfenced,
    Stopping,
    Stopped,
}

const FENCE: i8 = 1;
const UNFENCE: i8 = -1;
const IN_CONTROLLED_SHUTDOWN: i8 = 1;

impl Controller {
    /// A broker is alive, and perhaps moves on.
    pub fn broker_heartbeat(
        &mut self,
        context: &Context<'_>,
        heartbeat: &BrokerHeartbeat,
    ) -> ControllerResult<Result<HeartbeatReply, ApiError>> {
        let (id, epoch) = (heartbeat.id, heartbeat.epoch);
        if let Err(error) = check_broker_epoch(context, id, epoch) {
            return ControllerResult::unchanged(Err(error));
        }
        let Some(broker) = context.image.cluster.broker(id) else {
            return ControllerResult::unchanged(Err(ErrorCode::StaleBrokerEpoch.into()));
        };
        self.heartbeats.on_contact(id, epoch, context.now);
        let caught_up = heartbeat.metadata_offset.0 >= broker.epoch.0;
        let next = next_state(context.image, broker, heartbeat.wish, caught_up);
        let mut records = self.directories_offline(context, broker, &heartbeat.offline_log_dirs);
        records.append(&mut match next {
            Next::Fenced | Next::Stopped if !broker.fenced => self.fence(context, broker),
            Next::Unfenced if broker.fenced => self.unfence(context, broker),
            Next::Stopping if !broker.in_controlled_shutdown => self.stop(context, broker),
            _ => Vec::new(),
        });
        let reply = HeartbeatReply {
            caught_up,
            fenced: matches!(next, Next::Fenced | Next::Stopped),
            may_stop: next == Next::Stopped,
        };
        ControllerResult::new(records, Ok(reply))
    }

    /// Fences the first broker whose session is over; called again while
    /// [`Controller::next_timeout`] is in the past.
    pub fn on_timeout(&mut self, context: &Context<'_>) -> ControllerResult<Option<NodeId>> {
        let expired = self.heartbeats.expired(&context.image.cluster, context.now);
        let Some(broker) = expired.first().and_then(|id| context.image.cluster.broker(*id)) else {
            return ControllerResult::unchanged(None);
        };
        ControllerResult::new(self.fence(context, broker), Some(broker.id))
    }

    /// The controller starts to decide: brokers that are unfenced get a session to be heard in.
    pub fn on_activation(&mut self, image: &MetadataImage, now: Moment) {
        self.heartbeats.on_activation(&image.cluster, now);
    }

    /// When [`Controller::on_timeout`] has something to do, unless something happens before.
    #[must_use]
    pub fn next_timeout(&self, image: &MetadataImage) -> Option<Moment> {
        self.heartbeats.next_timeout(&image.cluster)
    }

    fn fence(&self, context: &Context<'_>, broker: &BrokerRegistration) -> Vec<VersionedRecord> {
        let mut records = self.leave_partitions(context, broker.id, Leaving::Clean);
        records.push(
            context.record(BrokerRegistrationChangeRecord { fenced: FENCE, ..change_of(broker) }),
        );
        records
    }

    fn unfence(&self, context: &Context<'_>, broker: &BrokerRegistration) -> Vec<VersionedRecord> {
        let change = BrokerRegistrationChangeRecord { fenced: UNFENCE, ..change_of(broker) };
        let mut records = vec![context.record(change)];
        records.append(&mut self.lead_leaderless_partitions(context, broker.id));
        records
    }

    fn stop(&self, context: &Context<'_>, broker: &BrokerRegistration) -> Vec<VersionedRecord> {
        let change = BrokerRegistrationChangeRecord {
            in_controlled_shutdown: IN_CONTROLLED_SHUTDOWN,
            ..change_of(broker)
        };
        let mut records = vec![context.record(change)];
        records.append(&mut self.leave_partitions(context, broker.id, Leaving::Clean));
        records
    }
}

pub(crate) fn change_of(broker: &BrokerRegistration) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch.0,
        ..BrokerRegistrationChangeRecord::default()
    }
}

fn next_state(
    image: &MetadataImage,
    broker: &BrokerRegistration,
    wish: BrokerWish,
    caught_up: bool,
) -> Next {
    match wish {
        BrokerWish::Stop if broker.fenced => Next::Stopped,
        // Once stopping, it leads nothing, unless nobody else could: then waiting cannot help.
        BrokerWish::Stop if broker.in_controlled_shutdown || !leads_any(image, broker.id) => {
            Next::Stopped
        }
        BrokerWish::Stop => Next::Stopping,
        // A broker that is stopping does not change its mind in the same life.
        _ if broker.in_controlled_shutdown => Next::Stopping,
        BrokerWish::BeFenced => Next::Fenced,
        BrokerWish::Serve if broker.fenced && !caught_up => Next::Fenced,
        BrokerWish::Serve => Next::Unfenced,
    }
}

fn leads_any(image: &MetadataImage, id: NodeId) -> bool {
    let mut partitions = image.topics.iter().flat_map(|topic| topic.partitions.values());
    partitions.any(|partition| partition.leader == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLUSTER_ID, TestRules, World, to_register};
    use crate::{BrokerToRegister, Settings};
    use BrokerWish::{BeFenced, Serve, Stop};
    use klamm_model::Uuid;
    use std::sync::Arc;

    fn beat(world: &mut World, id: i32, offset: i64, wish: BrokerWish) -> HeartbeatReply {
        let (id, epoch) = world.broker(id);
        let heartbeat = BrokerHeartbeat { wish, ..BrokerHeartbeat::new(id, epoch, Offset(offset)) };
        world.run(|c, context| c.broker_heartbeat(context, &heartbeat)).unwrap()
    }

    fn leader(world: &World) -> Option<i32> {
        world.image().topics.partition("a", 0).unwrap().leader.map(|node| node.0)
    }

    fn fenced(world: &World, id: i32) -> bool {
        world.image().cluster.broker(NodeId(id)).unwrap().fenced
    }

    #[test]
    fn a_broker_is_unfenced_when_it_has_seen_its_own_registration() {
        let mut world = World::of_release("4.3");
        world.run(|c, context| c.register_broker(context, &to_register(1))).unwrap();
        let (_, epoch) = world.broker(1);
        let reply = beat(&mut world, 1, epoch.0 - 1, Serve);
        assert_eq!(reply, HeartbeatReply { caught_up: false, fenced: true, may_stop: false });
        let reply = beat(&mut world, 1, epoch.0, Serve);
        assert_eq!(reply, HeartbeatReply { caught_up: true, fenced: false, may_stop: false });
        assert!(!fenced(&world, 1));
        beat(&mut world, 1, epoch.0, Serve);
        assert!(world.written.is_empty());
    }

    #[test]
    fn silence_for_a_session_fences_and_moves_leaderships() {
        let mut world = World::with_brokers(2);
        world.create("a", &[&[1, 2]]);
        world.now = world.now.plus_ms(8_999);
        beat(&mut world, 2, 100, Serve);
        assert_eq!(world.run(|c, context| c.on_timeout(context)), None);
        let next = world.controller.next_timeout(world.image()).unwrap();
        assert_eq!(next, world.now.plus_ms(1));
        world.now = next;
        assert_eq!(world.run(|c, context| c.on_timeout(context)), Some(NodeId(1)));
        assert!(fenced(&world, 1) && !fenced(&world, 2));
        assert_eq!(leader(&world), Some(2));
        assert_eq!(world.run(|c, context| c.on_timeout(context)), None);
    }

    #[test]
    fn a_broker_that_comes_back_leads_what_nobody_else_could() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        beat(&mut world, 1, 100, BeFenced);
        assert_eq!((fenced(&world, 1), leader(&world)), (true, None));
        beat(&mut world, 1, 100, Serve);
        assert_eq!((fenced(&world, 1), leader(&world)), (false, Some(1)));
    }

    #[test]
    fn a_broker_stops_after_its_leaderships_have_moved() {
        let mut world = World::with_brokers(2);
        world.create("a", &[&[1, 2]]);
        assert!(!beat(&mut world, 1, 100, Stop).may_stop);
        assert_eq!(leader(&world), Some(2));
        assert!(world.image().cluster.broker(NodeId(1)).unwrap().in_controlled_shutdown);
        assert!(beat(&mut world, 1, 100, Stop).may_stop);
        assert!(fenced(&world, 1));
    }

    #[test]
    fn the_last_broker_may_stop_too() {
        let mut world = World::with_brokers(1);
        world.create("a", &[&[1]]);
        beat(&mut world, 1, 100, Stop);
        assert!(beat(&mut world, 1, 100, Stop).may_stop);
        assert_eq!(leader(&world), None);
    }

    #[test]
    fn a_broker_that_leads_nothing_or_is_fenced_stops_at_once() {
        let mut world = World::with_brokers(1);
        assert!(beat(&mut world, 1, 100, Stop).may_stop);
        assert!(beat(&mut world, 1, 100, Stop).may_stop);
    }

    #[test]
    fn a_new_controller_gives_every_broker_a_session_but_takes_none_for_alive() {
        let mut world = World::with_brokers(1);
        world.controller = Controller::new(Settings::new(CLUSTER_ID), Arc::new(TestRules));
        assert_eq!(world.controller.next_timeout(world.image()), None);
        let (image, now) = (world.image().clone(), world.now);
        world.controller.on_activation(&image, now);
        assert_eq!(world.controller.next_timeout(&image), Some(now.plus_ms(9_000)));
        let restarted = BrokerToRegister { incarnation_id: Uuid(9999), ..to_register(1) };
        assert!(world.run(|c, context| c.register_broker(context, &restarted)).is_ok());
    }

    #[test]
    fn a_heartbeat_of_another_life_or_broker_is_refused() {
        let mut world = World::with_brokers(1);
        let (id, epoch) = world.broker(1);
        for (id, epoch) in [(id, BrokerEpoch(epoch.0 - 1)), (NodeId(9), epoch)] {
            let beat = BrokerHeartbeat::new(id, epoch, Offset(0));
            let error = world.run(|c, context| c.broker_heartbeat(context, &beat)).unwrap_err();
            assert_eq!(error.code, ErrorCode::StaleBrokerEpoch);
        }
    }
}
