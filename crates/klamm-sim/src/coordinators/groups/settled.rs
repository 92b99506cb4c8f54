//! What must be true of a group once nothing has gone wrong for a while.

use std::collections::BTreeSet;

use klamm_group_coordinator::{Group, State};

use super::member::{Member, PARTITIONS};
use crate::coordinators::ensure;

/// The group is stable, its members are those that live and believe in its generation, and each
/// partition is somebody's. Without members it is empty, or over.
pub(super) fn check(group: Option<&Group>, members: &[Member]) -> Result<(), String> {
    let live: Vec<&Member> = members.iter().filter(|member| member.is_alive).collect();
    let state = group.map(Group::state);
    if live.is_empty() {
        return ensure(matches!(state, None | Some(State::Empty)), || {
            format!("nobody lives and the group is {state:?}")
        });
    }
    let group = group.ok_or("the group is gone, and members live")?;
    ensure(group.state() == State::Stable, || format!("the group does not settle: {state:?}"))?;
    for known in group.members() {
        ensure(live.iter().any(|member| member.member_id == known.member_id), || {
            format!("{} is in the group and nobody is it", known.member_id)
        })?;
    }
    let mut all = BTreeSet::new();
    for member in live {
        let id = &member.member_id;
        ensure(group.members().any(|known| known.member_id == *id), || {
            format!("member {} ({id}) is not in the group", member.index)
        })?;
        ensure(group.generation_id().0 == member.generation, || {
            format!("{id} is in generation {} of {}", member.generation, group.generation_id())
        })?;
        for partition in member.has() {
            ensure(all.insert(partition), || format!("{partition} has two owners in the end"))?;
        }
    }
    ensure(all == (0..PARTITIONS).collect(), || format!("only {all:?} are somebody's"))
}
