//! What the group's log says, record by record as it is committed: epochs, owners and offsets that
//! never go back.

use std::collections::{BTreeMap, BTreeSet};

use klamm_coordinator::Loaded;
use klamm_group_coordinator::Record;
use klamm_group_coordinator::consumer::{Change, Current, JOIN_EPOCH, STATIC_LEAVE_EPOCH};
use klamm_model::{PartitionIndex, TopicId};
use klamm_stdx::Str;

use super::cluster::Partition;
use crate::coordinators::ensure;

/// The records of a group's log, without those of transactions.
pub(in crate::coordinators) fn records(entries: Vec<Loaded>) -> impl Iterator<Item = Record> {
    entries.into_iter().filter_map(|loaded| {
        let Loaded::Record((key, value)) = loaded else { return None };
        Some(Record::from_key_value(key, value).expect("our own record"))
    })
}

/// The group as its committed records tell.
#[derive(Debug, Default)]
pub(in crate::coordinators) struct Journal {
    epoch: i32,
    target_epoch: i32,
    /// The largest epoch of each member.
    members: BTreeMap<Str, i32>,
    owners: BTreeMap<Partition, Str>,
    /// How often each member id was put out of the group, or left for a while.
    lives: BTreeMap<Str, u64>,
    offsets: BTreeMap<(Str, PartitionIndex), (TopicId, i64)>,
    all_offsets: BTreeSet<(Partition, i64)>,
}

impl Journal {
    /// How often a member id was put out of the group.
    pub(in crate::coordinators) fn life(&self, member_id: &str) -> u64 {
        self.lives.get(member_id).copied().unwrap_or(0)
    }

    /// Whether an offset was ever committed.
    pub(in crate::coordinators) fn has(&self, committed: &(Partition, i64)) -> bool {
        self.all_offsets.contains(committed)
    }

    /// A record is committed. Gives a member whose membership it ends.
    pub(in crate::coordinators) fn replay(
        &mut self,
        record: Record,
    ) -> Result<Option<Str>, String> {
        match record {
            Record::Consumer(record) => self.on_change(record.change),
            Record::Offset { topic, partition, offset, .. } => {
                let Some(offset) = offset else {
                    self.offsets.remove(&(topic, partition));
                    return Ok(None);
                };
                let id = offset.topic_id.ok_or("an offset without the id of its topic")?;
                self.on_offset((topic, partition), (id, offset.offset.0))?;
                Ok(None)
            }
            Record::GroupTombstone { .. } | Record::Group(_) => Ok(None),
        }
    }

    fn on_change(&mut self, change: Change) -> Result<Option<Str>, String> {
        match change {
            Change::Group(Some(group)) => {
                let (before, now) = (self.epoch, group.epoch);
                ensure(grows(before, now), || {
                    format!("the group's epoch went from {before} to {now}")
                })?;
                self.epoch = now;
            }
            Change::Group(None) => {
                ensure(self.owners.is_empty(), || {
                    format!("the group is over, and there are owners: {:?}", self.owners)
                })?;
                (self.epoch, self.target_epoch) = (0, 0);
                self.members.clear();
            }
            Change::TargetEpoch(Some(target)) => {
                let (before, now) = (self.target_epoch, target.epoch);
                ensure(grows(before, now) && now <= self.epoch, || {
                    format!("the target's epoch went from {before} to {now} of {}", self.epoch)
                })?;
                self.target_epoch = now;
            }
            Change::Current(member_id, Some(current)) => {
                return self.on_current(member_id, &current);
            }
            Change::Current(member_id, None) => self.owners.retain(|_, owner| *owner != member_id),
            Change::Member(member_id, None) => {
                self.members.remove(&member_id);
                return Ok(Some(self.end(member_id)));
            }
            Change::Member(_, Some(_))
            | Change::Target(..)
            | Change::TargetEpoch(None)
            | Change::Regex(..)
            | Change::PartitionMetadata => {}
        }
        Ok(None)
    }

    fn end(&mut self, member_id: Str) -> Str {
        *self.lives.entry(member_id.clone()).or_default() += 1;
        member_id
    }

    fn on_current(&mut self, member_id: Str, current: &Current) -> Result<Option<Str>, String> {
        let largest = self.members.entry(member_id.clone()).or_default();
        let (before, now) = (*largest, current.epoch);
        let is_away = matches!(now, STATIC_LEAVE_EPOCH | JOIN_EPOCH);
        ensure(is_away || now >= before, || {
            format!("the epoch of {member_id} went from {before} to {now}")
        })?;
        *largest = before.max(now);
        self.owners.retain(|_, owner| *owner != member_id);
        for (topic_id, partitions) in current.assigned.iter().chain(&current.revoking) {
            for partition in partitions.keys() {
                let owner = self.owners.insert((*topic_id, *partition), member_id.clone());
                let Some(other) = owner.filter(|other| *other != member_id) else { continue };
                return Err(format!(
                    "two owners in the log: {partition} of {topic_id} has {other} and {member_id}"
                ));
            }
        }
        Ok((now == STATIC_LEAVE_EPOCH).then(|| self.end(member_id)))
    }

    fn on_offset(
        &mut self,
        (topic, partition): (Str, PartitionIndex),
        (topic_id, offset): (TopicId, i64),
    ) -> Result<(), String> {
        self.all_offsets.insert(((topic_id, partition), offset));
        let before = self.offsets.insert((topic.clone(), partition), (topic_id, offset));
        let before = before.filter(|(id, _)| *id == topic_id).map_or(-1, |(_, before)| before);
        ensure(offset >= before, || {
            format!("the offset of {partition} of {topic} went back from {before} to {offset}")
        })
    }
}

/// Whether an epoch is a new one. A classic group that never was in a generation begins in 0.
fn grows(before: i32, now: i32) -> bool {
    now > before || (before, now) == (0, 0)
}
