//! A consumer group as tools show it.

use klamm_metadata::MetadataImage;
use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

use super::group::{ConsumerGroup, ConsumerState};
use super::limits::ConsumerLimits;
use super::member::Member;

/// A topic by both names, and some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPartitions {
    /// Its id.
    pub topic_id: TopicId,
    /// Its name.
    pub topic: Str,
    /// Partitions, in order.
    pub partitions: Vec<PartitionIndex>,
}

/// A consumer group as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// Its name.
    pub group_id: Str,
    /// Where it stands.
    pub state: ConsumerState,
    /// The group's epoch.
    pub epoch: i32,
    /// The target's.
    pub target_epoch: i32,
    /// The assignor of the next target.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// A member as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// Where it runs.
    pub rack_id: Option<Str>,
    /// Its epoch.
    pub epoch: i32,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// Topics by name.
    pub names: Vec<Str>,
    /// Topics by pattern.
    pub regex: Option<Str>,
    /// What it has.
    pub assignment: Vec<NamedPartitions>,
    /// What it is to have.
    pub target: Vec<NamedPartitions>,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

impl ConsumerGroup {
    /// As tools show it; topics that are gone are left out.
    pub(crate) fn describe(
        &self,
        image: &MetadataImage,
        limits: &ConsumerLimits,
    ) -> DescribedConsumerGroup {
        let line = |(id, member): (&Str, &Member)| self.describe_member(image, id, member);
        DescribedConsumerGroup {
            group_id: self.group_id.clone(),
            state: self.state(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor(limits).name(),
            members: self.members.iter().map(line).collect(),
        }
    }

    fn describe_member(
        &self,
        image: &MetadataImage,
        member_id: &Str,
        member: &Member,
    ) -> DescribedConsumer {
        let named = |topic_id: &TopicId, partitions: Vec<PartitionIndex>| {
            let topic = image.topics.by_id(*topic_id)?.name.clone();
            Some(NamedPartitions { topic_id: *topic_id, topic, partitions })
        };
        let has = member.current.assigned.iter();
        let target = self.targets.get(member_id).into_iter().flatten();
        let subscription = &member.subscription;
        DescribedConsumer {
            member_id: member_id.clone(),
            instance_id: subscription.instance_id.clone(),
            rack_id: subscription.rack_id.clone(),
            epoch: member.current.epoch,
            client_id: subscription.client_id.clone(),
            client_host: subscription.client_host.clone(),
            names: subscription.names.clone(),
            regex: subscription.regex.clone(),
            assignment: has
                .filter_map(|(id, partitions)| named(id, partitions.keys().copied().collect()))
                .collect(),
            target: target
                .filter_map(|(id, partitions)| named(id, partitions.iter().copied().collect()))
                .collect(),
            is_classic: subscription.classic.is_some(),
        }
    }
}
