//! Leaving: for good, for a while, or because a member was silent.

use std::collections::{BTreeMap, BTreeSet};

use klamm_metadata::MetadataImage;
use klamm_stdx::Str;

use super::change::{Change, GroupEpoch};
use super::deciding::tombstones;
use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
use super::member::{Current, STATIC_LEAVE_EPOCH};
use super::partitions::Owned;
use super::topics::metadata_hash;

/// Who leaves by a heartbeat.
///
/// # Errors
/// What the client is told.
pub(crate) fn leaver(group: &ConsumerGroup, beat: &ConsumerHeartbeat) -> Result<Str, Refusal> {
    let member_id = beat.member_id.detached();
    match &beat.instance_id {
        Some(instance_id) => group.check_static(instance_id, &member_id)?,
        None if group.member(&member_id).is_none() => return Err(group.unknown_member(&member_id)),
        None => {}
    }
    Ok(member_id)
}

/// The answer to a member that leaves.
pub(crate) fn left(member_id: Str, beat: &ConsumerHeartbeat) -> HeartbeatAnswer {
    HeartbeatAnswer {
        member_id,
        member_epoch: beat.member_epoch,
        heartbeat_interval_ms: 0,
        assignment: None,
    }
}

/// A static member keeps what it has until it comes back, or its session ends.
pub(crate) fn for_a_while(group: &ConsumerGroup, member_id: &Str) -> Change {
    let current = &group.members[member_id].current;
    let away = Current { epoch: STATIC_LEAVE_EPOCH, revoking: Owned::new(), ..current.clone() };
    Change::Current(member_id.clone(), Some(Box::new(away)))
}

/// Members are no more: a new epoch for those that stay.
pub(crate) fn remove(
    group: &ConsumerGroup,
    image: &MetadataImage,
    member_ids: &[Str],
) -> Vec<Change> {
    let mut changes: Vec<Change> = member_ids.iter().flat_map(tombstones).collect();
    let (mut names, mut patterns) = (BTreeMap::new(), BTreeMap::new());
    for member in member_ids.iter().filter_map(|id| group.member(id)) {
        for name in &member.subscription.names {
            *names.entry(name).or_insert(0) += 1;
        }
        if let Some(pattern) = &member.subscription.regex {
            *patterns.entry(pattern).or_insert(0) += 1;
        }
    }
    let is_over = |pattern: &Str| patterns.get(pattern) == group.patterns.get(pattern);
    let mut left: BTreeSet<&Str> = group
        .names
        .iter()
        .filter(|(name, n)| names.get(name) != Some(*n))
        .map(|(name, _)| name)
        .collect();
    for (pattern, resolved) in &group.regexes {
        if is_over(pattern) {
            changes.push(Change::Regex(pattern.clone(), None));
        } else {
            left.extend(&resolved.topics);
        }
    }
    let metadata_hash = metadata_hash(image, &left);
    changes.push(Change::Group(Some(GroupEpoch { epoch: group.epoch + 1, metadata_hash })));
    changes
}

/// A group without members is no more.
pub(crate) fn delete(group: &ConsumerGroup) -> Vec<Change> {
    let regexes = group.regexes.keys().map(|pattern| Change::Regex(pattern.clone(), None));
    let mut changes: Vec<Change> = regexes.collect();
    changes.push(Change::TargetEpoch(None));
    changes.push(Change::Group(None));
    changes
}
