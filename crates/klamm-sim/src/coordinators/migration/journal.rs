//! What the log of a group that changes its protocol says, batch by batch as it is committed: who is
//! in the group, its generation or epoch, and offsets that never go back.

use std::collections::{BTreeMap, BTreeSet};

use klamm_group_coordinator::Record;
use klamm_group_coordinator::consumer::Change;
use klamm_model::PartitionIndex;
use klamm_stdx::Str;

use super::client::Protocol;
use crate::coordinators::consumers::journal::Journal as Consumers;
use crate::coordinators::ensure;

/// A group at one time.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// Nothing while there is no group.
    protocol: Option<Protocol>,
    /// Or its epoch.
    generation: i32,
    members: BTreeSet<Str>,
}

/// What a batch made of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// From a classic group with members to one of the consumer protocol.
    Upgraded,
    /// And back.
    Downgraded,
    Same,
}

/// The group as its committed records tell.
#[derive(Debug, Default)]
pub(super) struct Journal {
    now: Standing,
    /// Partitions that classic members took in an older generation are theirs no more.
    valid_from: i32,
    /// The first epoch in a batch.
    first_epoch: Option<i32>,
    /// How often each member id was put out of the group.
    lives: BTreeMap<Str, u64>,
    /// Epochs and owners, while the group is of the consumer protocol.
    consumers: Consumers,
    offsets: BTreeMap<PartitionIndex, i64>,
    all_offsets: BTreeSet<(PartitionIndex, i64)>,
    pub(super) removed: usize,
}

impl Journal {
    /// How often a member id was put out of the group.
    pub(super) fn life(&self, member_id: &str) -> u64 {
        self.lives.get(member_id).copied().unwrap_or(0)
    }

    /// Whether a member has what it took in a generation of a life.
    pub(super) fn holds(&self, member_id: &Str, (life, generation): (u64, i32)) -> bool {
        self.now.members.contains(member_id)
            && life == self.life(member_id)
            && generation >= self.valid_from
    }

    /// Whether an offset was ever committed.
    pub(super) fn has(&self, committed: &(PartitionIndex, i64)) -> bool {
        self.all_offsets.contains(committed)
    }

    /// A batch is committed.
    pub(super) fn on_batch(&mut self, records: Vec<Record>) -> Result<Became, String> {
        let before = self.now.clone();
        self.first_epoch = None;
        for record in records {
            self.replay(record)?;
        }
        let gone: Vec<Str> = before.members.difference(&self.now.members).cloned().collect();
        self.removed += gone.len();
        for member_id in gone {
            *self.lives.entry(member_id).or_default() += 1;
        }
        let goes_on = !before.members.is_disjoint(&self.now.members);
        let became = match (before.protocol, self.now.protocol) {
            (Some(Protocol::Classic), Some(Protocol::Consumer)) if goes_on => Became::Upgraded,
            (Some(Protocol::Consumer), Some(Protocol::Classic)) if goes_on => Became::Downgraded,
            _ => Became::Same,
        };
        // Nobody is given anything before the first generation after a downgrade.
        if self.now.protocol == Some(Protocol::Classic) && became == Became::Same {
            self.valid_from = self.now.generation;
        }
        // Generations of which nothing was written before an upgrade have passed too: a static member
        // that did not join them is in the group, and has nothing.
        if let (Became::Upgraded, Some(epoch)) = (became, self.first_epoch) {
            self.valid_from = self.valid_from.max(epoch);
        }
        if !goes_on && self.now.protocol == Some(Protocol::Consumer) {
            self.valid_from = 0;
        }
        let (old, new) = (before.generation, self.now.generation);
        ensure(!goes_on || new >= old, || {
            format!("the generation went from {old} to {new}, and members stayed")
        })?;
        Ok(became)
    }

    fn replay(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Group(group) => {
                let members = group.members.into_iter().map(|member| member.member_id);
                self.now = Standing {
                    protocol: Some(Protocol::Classic),
                    generation: group.generation_id.0,
                    members: members.collect(),
                };
            }
            Record::GroupTombstone { .. } => self.now = Standing::default(),
            Record::Consumer(consumer) => {
                self.on_change(&consumer.change);
                self.consumers.replay(Record::Consumer(consumer))?;
            }
            Record::Offset { partition, offset: Some(offset), .. } => {
                let now = offset.offset.0;
                self.all_offsets.insert((partition, now));
                let before = self.offsets.insert(partition, now).unwrap_or(-1);
                ensure(now >= before, || {
                    format!("the offset of {partition} went back from {before} to {now}")
                })?;
            }
            Record::Offset { partition, offset: None, .. } => {
                return Err(format!("the offset of {partition} is gone"));
            }
        }
        Ok(())
    }

    fn on_change(&mut self, change: &Change) {
        match change {
            Change::Member(member_id, Some(_)) => {
                self.now.protocol = Some(Protocol::Consumer);
                self.now.members.insert(member_id.clone());
            }
            Change::Member(member_id, None) => {
                self.now.members.remove(member_id);
            }
            Change::Group(Some(group)) => {
                self.first_epoch.get_or_insert(group.epoch);
                self.now.protocol = Some(Protocol::Consumer);
                self.now.generation = group.epoch;
            }
            Change::Group(None) => self.now = Standing::default(),
            _ => {}
        }
    }
}
