//! A classic group becomes one of the consumer protocol: each member keeps its id, what it asks
//! for and what its leader gave it last, in the generation as its epoch (Kafka:
//! `ConsumerGroup.fromClassicGroup`). The members are told to rejoin when this is in the log.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, PartitionIndex, Timestamp, TopicId};
use klamm_persisted::group::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use klamm_stdx::Str;

use super::CONSUMER_PROTOCOL_TYPE;
use super::embedded::{Assigned, Subscribed, assignment, by_id, subscription};
use crate::classic::{Group, Member, State};
use crate::consumer::{
    Change, ConsumerGroup, ConsumerLimits, Current, GroupEpoch, MemberState, Owned, Partitions,
    Refusal, Subscription, TargetEpoch, TopicPartitions, metadata_hash,
};

/// The hash of a group that was rebalancing, or that left something undivided: it is the hash of no
/// topics, so that the first heartbeat brings a new epoch and a new target.
const NOT_LOOKED_AT: i64 = 0;

/// The consumer group that a classic one becomes, and the records that make it.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND` with the reason: it stays what it is.
pub(crate) fn upgrade(
    group: &Group,
    limits: &ConsumerLimits,
    image: &MetadataImage,
) -> Result<(Vec<Change>, ConsumerGroup), Refusal> {
    check(group, limits)?;
    let epoch = group.generation_id.0;
    let mut taken = HashSet::new();
    let mut members = Vec::with_capacity(group.members.len());
    for member in group.members() {
        let (mut told, mut given) = understood(group, member)?;
        if is_seeded(CoordinatorBug::UpgradeForgetsOwners) {
            given.partitions.clear();
        }
        let mut owned = Owned::new();
        add(&mut owned, by_id(given.partitions, image), (epoch, &mut taken));
        let claimed = std::mem::take(&mut told.owned);
        members.push((member.member_id.clone(), subscribed(member, told), owned, claimed));
    }
    let members = members.into_iter().map(|(member_id, told, mut owned, claimed)| {
        // A rebalance forgets assignments, and cooperative members still have what they claimed.
        if group.state() != State::Stable {
            add(&mut owned, by_id(claimed, image), (epoch, &mut taken));
        }
        (member_id, told, owned)
    });
    let members: Vec<_> = members.collect();
    let names: BTreeSet<&Str> = members.iter().flat_map(|(_, told, _)| &told.names).collect();
    let is_divided = group.state() == State::Stable && is_taken(&names, &taken, image);
    let metadata_hash = if is_divided { metadata_hash(image, &names) } else { NOT_LOOKED_AT };
    let changes = changes(GroupEpoch { epoch, metadata_hash }, members);
    let mut upgraded = ConsumerGroup::new(group.group_id.clone());
    changes.iter().for_each(|change| upgraded.apply(change));
    Ok((changes, upgraded))
}

fn refusal(group: &Group, why: &str) -> Refusal {
    let message = format!(
        "classic group {} cannot change to the consumer protocol while it runs: {why}",
        group.group_id
    );
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

fn check(group: &Group, limits: &ConsumerLimits) -> Result<(), Refusal> {
    if !limits.migration.allows_upgrade() {
        return Err(refusal(group, "group.consumer.migration.policy does not allow it"));
    }
    if group.protocol_type().is_none_or(|own| own != CONSUMER_PROTOCOL_TYPE) {
        return Err(refusal(group, "its members are no consumers"));
    }
    if group.members.len() > limits.config.consumer_max_size {
        return Err(refusal(group, "it has more members than group.consumer.max.size"));
    }
    Ok(())
}

/// What a member told and was given. Before a group's first generation has a protocol, what it
/// says for the one that it likes best counts.
fn understood(group: &Group, member: &Member) -> Result<(Subscribed, Assigned), Refusal> {
    let chosen = group.protocol_name().or(member.protocols.first().map(|p| &p.name));
    let metadata = chosen.map(|name| member.metadata(name)).unwrap_or_default();
    let malformed = |_| refusal(group, "what a member says cannot be read");
    let told = subscription(&metadata).map_err(malformed)?;
    let given = assignment(&member.assignment).map_err(malformed)?;
    if given.has_user_data {
        let why = "its assignor adds data of its own, which only it understands: use one of Kafka's own assignors first";
        return Err(refusal(group, why));
    }
    Ok((told, given))
}

/// Adds to what a member has. Should somebody else have a partition, that one keeps it.
fn add(
    owned: &mut Owned,
    more: Vec<TopicPartitions>,
    (epoch, taken): (i32, &mut HashSet<(TopicId, PartitionIndex)>),
) {
    for (topic_id, partitions) in more {
        for partition in partitions {
            if taken.insert((topic_id, partition)) {
                owned.entry(topic_id).or_default().insert(partition, epoch);
            }
        }
    }
}

fn subscribed(member: &Member, told: Subscribed) -> Subscription {
    let names: BTreeSet<Str> = told.topics.into_iter().collect();
    Subscription {
        instance_id: member.instance_id.clone(),
        rack_id: told.rack_id,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        names: names.into_iter().collect(),
        regex: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        assignor: None,
        classic: Some(classic_metadata(
            member.session_timeout_ms,
            member.protocols.iter().map(|p| (&p.name, &p.metadata)),
        )),
    }
}

/// What is kept of a classic member, in memory of its own.
pub(super) fn classic_metadata<'a>(
    session_timeout_ms: i32,
    protocols: impl Iterator<Item = (&'a Str, &'a Bytes)>,
) -> ClassicMemberMetadata {
    let own = |(name, metadata): (&Str, &Bytes)| ClassicProtocol {
        name: name.detached(),
        metadata: Bytes::copy_from_slice(metadata),
    };
    ClassicMemberMetadata { session_timeout_ms, supported_protocols: protocols.map(own).collect() }
}

/// Whether every partition that members read is somebody's.
fn is_taken(
    names: &BTreeSet<&Str>,
    taken: &HashSet<(TopicId, PartitionIndex)>,
    image: &MetadataImage,
) -> bool {
    let topics = names.iter().filter_map(|name| image.topics.by_name(name));
    topics.into_iter().all(|topic| topic.partitions.keys().all(|p| taken.contains(&(topic.id, *p))))
}

/// In Kafka's order: members, epoch, what each is to have, that epoch, what each has.
fn changes(group: GroupEpoch, members: Vec<(Str, Subscription, Owned)>) -> Vec<Change> {
    let epoch = group.epoch;
    let (mut changes, mut targets, mut currents) = (Vec::new(), Vec::new(), Vec::new());
    for (member_id, told, owned) in members {
        changes.push(Change::Member(member_id.clone(), Some(Box::new(told))));
        targets.push(Change::Target(member_id.clone(), Some(target(&owned))));
        let current = Current {
            epoch,
            previous_epoch: epoch,
            state: MemberState::Stable,
            assigned: owned,
            revoking: BTreeMap::new(),
        };
        currents.push(Change::Current(member_id, Some(Box::new(current))));
    }
    changes.push(Change::Group(Some(group)));
    changes.extend(targets);
    changes.push(Change::TargetEpoch(Some(TargetEpoch { epoch, at: Timestamp(0) })));
    changes.extend(currents);
    changes
}

fn target(owned: &Owned) -> Partitions {
    owned.iter().map(|(id, partitions)| (*id, partitions.keys().copied().collect())).collect()
}
