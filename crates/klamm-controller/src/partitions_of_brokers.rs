//! What becomes of partitions when a broker comes, goes or stops. Looks through all partitions:
//! brokers change seldom.

use klamm_metadata::{
    CONFIG_BROKER, ConfigResource, PartitionRegistration, TopicImage, VersionedRecord,
};
use klamm_model::NodeId;
use klamm_stdx::Str;

use crate::elections::{Change, EligibleReplicas, Rules};
use crate::{Context, Controller, UncleanLeaderElection};

/// How a broker leaves its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// What it has on disk is still there when it comes back.
    Clean,
    /// Its disk may have lost what it had acknowledged.
    Unclean,
}

impl Controller {
    /// Takes a broker out of every ISR and leadership that it has.
    pub(crate) fn leave_partitions(
        &self,
        context: &Context<'_>,
        broker: NodeId,
        leaving: Leaving,
    ) -> Vec<VersionedRecord> {
        let unclean_shutdown = (leaving == Leaving::Unclean).then_some(broker);
        let involved = |partition: &PartitionRegistration| {
            partition.isr.contains(&broker)
                || partition.leader == Some(broker)
                || (unclean_shutdown.is_some()
                    && partition.eligible_leader_replicas.contains(&broker))
        };
        let cluster = &context.image.cluster;
        let may_lead = |held: &PartitionRegistration, node| {
            node != broker && cluster.is_replica_online(held, node)
        };
        self.change_isrs(context, &may_lead, unclean_shutdown, |partition| {
            involved(partition).then(|| without(&partition.isr, broker))
        })
    }

    /// Gives a broker that came the leaderships that nobody has and it can take.
    pub(crate) fn lead_leaderless_partitions(
        &self,
        context: &Context<'_>,
        broker: NodeId,
    ) -> Vec<VersionedRecord> {
        let cluster = &context.image.cluster;
        let may_lead = |held: &PartitionRegistration, node| {
            (node == broker || cluster.is_active(node)) && cluster.has_online_dir(held, node)
        };
        self.change_isrs(context, &may_lead, None, |partition| {
            partition.leader.is_none().then(|| partition.isr.clone())
        })
    }

    pub(crate) fn change_isrs(
        &self,
        context: &Context<'_>,
        may_lead: &dyn Fn(&PartitionRegistration, NodeId) -> bool,
        unclean_shutdown: Option<NodeId>,
        isr: impl Fn(&PartitionRegistration) -> Option<Vec<NodeId>>,
    ) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        for topic in context.image.topics.iter() {
            let mut rules = None;
            for (index, partition) in &topic.partitions {
                let Some(isr) = isr(partition) else { continue };
                // Configs are looked up only for topics that are concerned.
                let rules = rules.get_or_insert_with(|| Rules {
                    unclean_shutdown,
                    ..self.election_rules(context, topic, may_lead)
                });
                let change = Change::of_isr(partition, rules, isr);
                records
                    .extend(change.record(topic.id, *index).map(|record| context.record(record)));
            }
        }
        records
    }

    /// What elections in a topic go by.
    pub(crate) fn election_rules<'a>(
        &self,
        context: &Context<'_>,
        topic: &TopicImage,
        may_lead: &'a dyn Fn(&PartitionRegistration, NodeId) -> bool,
    ) -> Rules<'a> {
        let config = |name| config_of_topic(context, &topic.name, name);
        let min = config("min.insync.replicas").and_then(|value| value.trim().parse::<i32>().ok());
        let min = min.unwrap_or(self.settings.min_insync_replicas);
        let unclean = match config("unclean.leader.election.enable").map(Str::as_str) {
            Some(text) if text.trim().eq_ignore_ascii_case("true") => {
                UncleanLeaderElection::Enabled
            }
            Some(_) => UncleanLeaderElection::Disabled,
            None => self.settings.unclean_leader_election,
        };
        let eligible = if context.image.features.has_eligible_leader_replicas() {
            EligibleReplicas::Kept
        } else {
            EligibleReplicas::Unknown
        };
        Rules {
            may_lead,
            min_insync_replicas: usize::try_from(min).unwrap_or(1).max(1),
            unclean,
            eligible,
            unclean_shutdown: None,
        }
    }
}

/// A config of a topic, or the one that all brokers give their topics.
fn config_of_topic<'a>(context: &Context<'a>, topic: &Str, name: &str) -> Option<&'a Str> {
    let image = context.image;
    let of_topic = image.config(&ConfigResource::topic(topic.clone()), name);
    of_topic.or_else(|| image.config(&ConfigResource::new(CONFIG_BROKER, Str::new()), name))
}

pub(crate) fn without(nodes: &[NodeId], node: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|other| *other != node).collect()
}
