//! What must be true of a group once nothing has gone wrong for a while.

use std::collections::BTreeSet;

use klamm_group_coordinator::ConsumerGroup;
use klamm_group_coordinator::consumer::{ConsumerState, JOIN_EPOCH};
use klamm_model::TopicId;

use super::cluster::{Cluster, Partition};
use super::member::Member;
use crate::coordinators::ensure;

/// The group is stable, its members are those that live, each has its part and believes so, and
/// every partition that somebody reads is somebody's.
pub(super) fn check(
    group: &ConsumerGroup,
    members: &[Member],
    cluster: &Cluster,
) -> Result<(), String> {
    ensure(group.state() == ConsumerState::Stable, || {
        format!("the group does not settle: it is {}", group.state().name())
    })?;
    let in_group: Vec<&Member> =
        members.iter().filter(|m| m.is_alive && m.epoch != JOIN_EPOCH).collect();
    for (member_id, _) in group.members() {
        ensure(in_group.iter().any(|member| member.member_id == *member_id), || {
            format!("{member_id} is in the group and nobody is it")
        })?;
    }
    let mut all = BTreeSet::new();
    for member in &in_group {
        let gone = member.has.iter().find(|partition| !cluster.has(**partition));
        ensure(gone.is_none(), || format!("{} has {gone:?}, which is gone", member.member_id))?;
        check_member(group, member)?;
        for partition in &member.has {
            ensure(all.insert(*partition), || format!("{partition:?} has two owners in the end"))?;
        }
    }
    // Another has the instance id of one that is not in the group.
    for out in members.iter().filter(|m| m.is_alive && m.epoch == JOIN_EPOCH) {
        let instance_id = out.identity.instance_id.as_ref();
        let is_taken = in_group.iter().any(|m| m.identity.instance_id.as_ref() == instance_id);
        ensure(instance_id.is_some() && is_taken, || format!("{} is left out", out.member_id))?;
    }
    let wanted = cluster.wanted(|name| in_group.iter().any(|member| member.wants.reads(name)));
    ensure(all == wanted, || format!("{wanted:?} is wanted and {all:?} is assigned"))
}

fn check_member(group: &ConsumerGroup, member: &Member) -> Result<(), String> {
    let id = &member.member_id;
    ensure(group.member(id).is_some(), || format!("{id} is not in the group and not told so"))?;
    let each = |(topic_id, partitions): (&TopicId, &BTreeSet<i32>)| {
        partitions.iter().map(|partition| (*topic_id, *partition)).collect::<Vec<_>>()
    };
    let target: BTreeSet<Partition> =
        group.target(id).into_iter().flatten().flat_map(each).collect();
    ensure(target == member.has, || format!("{id} has {:?} and is to have {target:?}", member.has))
}
