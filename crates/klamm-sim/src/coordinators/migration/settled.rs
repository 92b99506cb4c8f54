//! What must be true of a group once nothing has gone wrong for a while.

use std::collections::BTreeSet;

use klamm_group_coordinator::consumer::{ConsumerMember, ConsumerState, JOIN_EPOCH};
use klamm_group_coordinator::{ConsumerGroup, GroupShard, State};
use klamm_model::TopicId;
use klamm_stdx::Str;

use super::client::{Client, Protocol};
use crate::coordinators::ensure;
use crate::coordinators::groups::member::{GROUP, PARTITIONS};

/// The group is of the protocol of its last members and stable; they are those that live, and each
/// partition is somebody's.
pub(super) fn check(
    shard: &GroupShard,
    clients: &[Client],
    topic_id: TopicId,
) -> Result<(), String> {
    let live: Vec<&Client> = clients.iter().filter(|client| client.is_alive()).collect();
    let has_consumers = live.iter().any(|client| client.protocol() == Protocol::Consumer);
    let members = if has_consumers { consumers(shard)? } else { classics(shard)? };
    for member_id in &members {
        ensure(live.iter().any(|client| client.member_id() == member_id), || {
            format!("{member_id} is in the group and nobody is it")
        })?;
    }
    let mut all = BTreeSet::new();
    for client in live {
        let id = client.member_id();
        let is_out = client.generation() == JOIN_EPOCH || !members.contains(id);
        ensure(!is_out, || format!("client {} ({id}) is not in the group", client.index))?;
        for partition in client.has(topic_id) {
            ensure(all.insert(partition), || format!("{partition:?} has two owners in the end"))?;
        }
    }
    let n = usize::from(PARTITIONS);
    ensure(all.len() == n, || {
        let group = shard.consumer_group(GROUP);
        let line = |(id, member): (&Str, &ConsumerMember)| {
            let target = group.and_then(|group| group.target(id));
            format!("{id} is to have {target:?} and has {:?}", member.current)
        };
        let members: Vec<String> =
            group.into_iter().flat_map(ConsumerGroup::members).map(line).collect();
        format!("only {all:?} of {n} are somebody's: {members:?}")
    })
}

/// The members of a stable group of the consumer protocol.
fn consumers(shard: &GroupShard) -> Result<BTreeSet<Str>, String> {
    let classic = shard.group(GROUP).map(klamm_group_coordinator::Group::state);
    ensure(classic.is_none(), || format!("there are consumers in a classic group: {classic:?}"))?;
    let group = shard.consumer_group(GROUP).ok_or("consumers live, and there is no group")?;
    ensure(group.state() == ConsumerState::Stable, || {
        format!("the consumer group does not settle: it is {}", group.state().name())
    })?;
    Ok(group.members().map(|(id, _)| id.clone()).collect())
}

/// The members of a stable classic group.
fn classics(shard: &GroupShard) -> Result<BTreeSet<Str>, String> {
    ensure(shard.consumer_group(GROUP).is_none(), || {
        "all members are classic ones, and the group is not".to_owned()
    })?;
    let group = shard.group(GROUP).ok_or("members live, and there is no group")?;
    ensure(group.state() == State::Stable, || {
        format!("the classic group does not settle: it is {}", group.state().name())
    })?;
    Ok(group.members().map(|member| member.member_id.clone()).collect())
}
