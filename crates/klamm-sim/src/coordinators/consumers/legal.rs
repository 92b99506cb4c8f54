//! What members may be given: partitions that exist, of topics that they read.

use std::collections::{BTreeMap, BTreeSet};

use klamm_group_coordinator::ConsumerGroup;
use klamm_group_coordinator::consumer::{Change, Current};
use klamm_stdx::Str;

use super::cluster::{Cluster, Partition, is_match};
use crate::coordinators::ensure;

/// What members have, as it is written.
#[derive(Debug, Default)]
pub(super) struct Given {
    has: BTreeMap<Str, BTreeSet<Partition>>,
    /// Of the group and of its target.
    epochs: (i32, i32),
}

fn each(current: &Current) -> BTreeSet<Partition> {
    let topics = current.assigned.iter();
    topics.flat_map(|(id, partitions)| partitions.keys().map(|p| (*id, *p))).collect()
}

impl Given {
    /// What members have after a restart.
    pub(super) fn of(group: Option<&ConsumerGroup>) -> Self {
        let members = group.into_iter().flat_map(ConsumerGroup::members);
        Self {
            has: members.map(|(id, member)| (id.clone(), each(&member.current))).collect(),
            epochs: group.map_or((0, 0), |group| (group.epoch, group.target_epoch)),
        }
    }

    /// The group is what was written of it, and nothing else.
    pub(super) fn check(&self, group: Option<&ConsumerGroup>) -> Result<(), String> {
        let known = Self::of(group);
        ensure(known.epochs == self.epochs && known.has == self.has, || {
            format!("the group is {known:?}, and {self:?} is written")
        })
    }

    /// Changes were written while these topics were there: what is given now exists.
    pub(super) fn on_changes(
        &mut self,
        changes: &[Change],
        cluster: &Cluster,
    ) -> Result<(), String> {
        // A static member inherits from the one that it takes the place of.
        let mut inherited = BTreeSet::new();
        for change in changes {
            match change {
                Change::Current(member_id, None) => {
                    inherited.extend(self.has.remove(member_id).into_iter().flatten());
                }
                Change::Current(member_id, Some(current)) => {
                    let has = each(current);
                    let had = self.has.insert(member_id.clone(), has.clone());
                    let had = had.unwrap_or_else(|| inherited.clone());
                    let gone = has.difference(&had).find(|partition| !cluster.has(**partition));
                    ensure(gone.is_none(), || {
                        format!("{member_id} is given {gone:?}, which is gone")
                    })?;
                }
                Change::Group(epoch) => {
                    self.epochs = (epoch.map_or(0, |group| group.epoch), self.epochs.1);
                }
                Change::TargetEpoch(target) => {
                    self.epochs.1 = target.map_or(0, |target| target.epoch);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Members have nothing of a topic that they do not read, unless it is gone.
pub(super) fn check(group: &ConsumerGroup, cluster: &Cluster) -> Result<(), String> {
    for (member_id, member) in group.members() {
        let wants = &member.subscription;
        for name in member.current.assigned.keys().filter_map(|id| cluster.name(*id)) {
            let by_pattern = wants.regex.as_ref().is_some_and(|regex| is_match(regex, name));
            ensure(by_pattern || wants.names.contains(name), || {
                format!("{member_id} is assigned {name}, which it does not read")
            })?;
        }
    }
    Ok(())
}
