//! A consumer group's state: what its records say, and the questions about it. It changes by
//! [`ConsumerGroup::apply`] alone, except for timers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use klamm_config::GroupConfig;
use klamm_env::Moment;
use klamm_model::{PartitionIndex, Timestamp, TopicId};
use klamm_persisted::group::consumer_group_member_metadata_value::ClassicMemberMetadata;
use klamm_stdx::Str;

use super::change::{Change, ResolvedRegex};
use super::member::{Current, Member, MemberState, Subscription};
use super::partitions::{Owned, Partitions, each};
use crate::Time;
use crate::classic::Protocol;

/// A member whose removal could not be written is removed again after this.
const REMOVAL_RETRY_MS: u64 = 1_000;

/// Where a consumer group stands (Kafka: `ConsumerGroup.ConsumerGroupState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerState {
    /// No members; committed offsets may remain.
    Empty,
    /// The group's epoch is newer than its target.
    Assigning,
    /// Some member is not at its target.
    Reconciling,
    /// Every member has its target.
    Stable,
}

impl ConsumerState {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A group of the consumer protocol.
#[derive(Debug, Clone, Default)]
pub struct ConsumerGroup {
    /// Its name.
    pub group_id: Str,
    /// Grows with each change of members, subscriptions or topics.
    pub epoch: i32,
    /// What the topics looked like in this epoch.
    pub metadata_hash: i64,
    /// The epoch that the target was computed for.
    pub target_epoch: i32,
    /// When it was computed.
    pub target_at: Timestamp,
    pub(crate) members: BTreeMap<Str, Member>,
    pub(crate) static_members: HashMap<Str, Str>,
    pub(crate) targets: HashMap<Str, Partitions>,
    pub(crate) regexes: BTreeMap<Str, ResolvedRegex>,
    /// How many members name a topic.
    pub(crate) names: BTreeMap<Str, usize>,
    /// How many members have a pattern.
    pub(crate) patterns: BTreeMap<Str, usize>,
    /// How many members speak the classic protocol.
    pub(crate) classic_count: usize,
    /// How many of those know a way to divide partitions.
    classic_protocols: BTreeMap<Str, usize>,
    /// Who has a partition, or has not given it up yet.
    owners: HashMap<(TopicId, PartitionIndex), Str>,
    /// The version of the metadata that the hash was compared with last.
    pub(crate) checked_version: u64,
    /// When that was; patterns were matched then.
    pub(crate) patterns_at: Timestamp,
    /// Nothing is due before then.
    earliest: Option<Moment>,
}

impl ConsumerGroup {
    /// A group without members, in epoch 0.
    #[must_use]
    pub fn new(group_id: Str) -> Self {
        Self { group_id, ..Self::default() }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ConsumerState {
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerState::Assigning
        } else if self.members.values().any(|m| !m.current.is_reconciled_to(self.target_epoch)) {
            ConsumerState::Reconciling
        } else {
            ConsumerState::Stable
        }
    }

    /// The members, by id.
    pub fn members(&self) -> impl Iterator<Item = (&Str, &Member)> {
        self.members.iter()
    }

    /// One of them.
    #[must_use]
    pub fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// What a member is to have.
    #[must_use]
    pub fn target(&self, member_id: &str) -> Option<&Partitions> {
        self.targets.get(member_id)
    }

    /// Who has a partition, or has not given it up yet.
    #[must_use]
    pub fn owner(&self, topic_id: TopicId, partition: PartitionIndex) -> Option<&Str> {
        self.owners.get(&(topic_id, partition))
    }

    /// Whether a member reads a topic.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        let of_pattern = |regex: &ResolvedRegex| regex.topics.iter().any(|t| *t == topic);
        self.names.contains_key(topic) || self.regexes.values().any(of_pattern)
    }

    /// All topics that members read.
    pub(crate) fn topics_subscribed(&self) -> HashSet<&Str> {
        self.names.keys().chain(self.regexes.values().flat_map(|regex| &regex.topics)).collect()
    }

    /// Whether a classic member with these protocols fits: every other one knows one of them
    /// (Kafka: `ConsumerGroup.supportsClassicProtocols`).
    pub(crate) fn supports_classic(&self, protocols: &[Protocol]) -> bool {
        let known_by = |name| self.classic_protocols.get(name).copied().unwrap_or(0);
        protocols.iter().any(|protocol| known_by(&protocol.name) == self.classic_count)
    }

    /// Whether a new target may be computed: one does for many changes that come together
    /// (KIP-1263).
    pub(crate) fn is_time_for_target(&self, time: Time, config: &GroupConfig) -> bool {
        let interval_ms = i64::from(config.consumer_assignment_interval_ms);
        let age_ms = time.wall.0.saturating_sub(self.target_at.0);
        self.target_epoch == 0 || !(0..interval_ms).contains(&age_ms)
    }

    /// A record is in the log. Without an epoch the group is over, and its owner forgets it.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Group(Some(group)) => {
                self.epoch = group.epoch;
                self.metadata_hash = group.metadata_hash;
            }
            Change::Member(member_id, Some(member)) => self.put_member(member_id, member),
            Change::Member(member_id, None) => self.remove_member(member_id),
            Change::TargetEpoch(target) => {
                self.target_epoch = target.map_or(0, |target| target.epoch);
                self.target_at = target.map_or(Timestamp(0), |target| target.at);
            }
            Change::Target(member_id, Some(target)) => {
                self.targets.insert(member_id.clone(), target.clone());
            }
            Change::Target(member_id, None) => {
                self.targets.remove(member_id);
            }
            Change::Current(member_id, Some(current)) => self.put_current(member_id, current),
            Change::Current(member_id, None) => {
                if self.members.contains_key(member_id) {
                    self.put_current(member_id, &Current::default());
                }
            }
            Change::Regex(regex, Some(resolved)) => {
                self.regexes.insert(regex.clone(), resolved.clone());
            }
            Change::Regex(regex, None) => {
                self.regexes.remove(regex);
            }
            Change::Group(None) | Change::PartitionMetadata => {}
        }
    }

    fn put_member(&mut self, member_id: &Str, new: &Subscription) {
        let member = self.members.entry(member_id.clone()).or_default();
        let old = std::mem::replace(&mut member.subscription, new.clone());
        self.uncount(member_id, &old);
        for name in &new.names {
            *self.names.entry(name.clone()).or_default() += 1;
        }
        if let Some(regex) = &new.regex {
            *self.patterns.entry(regex.clone()).or_default() += 1;
        }
        if let Some(classic) = &new.classic {
            self.classic_count += 1;
            for name in distinct(classic) {
                *self.classic_protocols.entry(name.clone()).or_default() += 1;
            }
        }
        if let Some(instance_id) = &new.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
    }

    fn remove_member(&mut self, member_id: &Str) {
        let Some(member) = self.members.remove(member_id) else { return };
        self.uncount(member_id, &member.subscription);
        self.disown(member_id, &member.current.assigned);
        self.disown(member_id, &member.current.revoking);
    }

    fn put_current(&mut self, member_id: &Str, new: &Current) {
        let member = self.members.entry(member_id.clone()).or_default();
        let old = std::mem::replace(&mut member.current, new.clone());
        self.disown(member_id, &old.assigned);
        self.disown(member_id, &old.revoking);
        for partition in each(&new.assigned).chain(each(&new.revoking)) {
            self.owners.insert(partition, member_id.clone());
        }
    }

    /// A record of another member may stand earlier in a compacted log: what it owns stays.
    fn disown(&mut self, member_id: &Str, owned: &Owned) {
        for partition in each(owned) {
            if self.owners.get(&partition) == Some(member_id) {
                self.owners.remove(&partition);
            }
        }
    }

    fn uncount(&mut self, member_id: &Str, old: &Subscription) {
        old.names.iter().for_each(|name| drop_one(&mut self.names, name));
        old.regex.iter().for_each(|regex| drop_one(&mut self.patterns, regex));
        if let Some(classic) = &old.classic {
            self.classic_count -= 1;
            distinct(classic).iter().for_each(|name| drop_one(&mut self.classic_protocols, name));
        }
        if let Some(instance_id) = &old.instance_id
            && self.static_members.get(instance_id) == Some(member_id)
        {
            self.static_members.remove(instance_id);
        }
    }

    /// A member is heard of: it lives for another session, its own if it is a classic one.
    pub(crate) fn keep_alive(&mut self, member_id: &str, (now, session_ms): (Moment, i32)) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let own = member.subscription.classic.as_ref().map(|classic| classic.session_timeout_ms);
        let until = now.plus_ms(u64::try_from(own.unwrap_or(session_ms)).unwrap_or(0));
        member.expires_at = Some(until);
        self.look_at(until);
    }

    /// A classic member is told to join again: it has its rebalance timeout for it.
    pub(crate) fn await_join(&mut self, member_id: &str, now: Moment) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let until = *member.join_by.get_or_insert(now.plus_ms(member.rebalance_timeout_ms()));
        self.look_at(until);
    }

    /// A classic member has joined: it has its rebalance timeout for asking what it got.
    pub(crate) fn await_sync(&mut self, member_id: &str, now: Moment) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.join_by = None;
        let until = now.plus_ms(member.rebalance_timeout_ms());
        member.sync_by = Some(until);
        self.look_at(until);
    }

    /// A classic member has asked what it got.
    pub(crate) fn on_synced(&mut self, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.sync_by = None;
        }
    }

    /// What a member has was written: it has its rebalance timeout for giving up the rest.
    pub(crate) fn await_revocation(&mut self, member_id: &str, time: Time) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        // A classic member has to join and to sync in time instead.
        let is_classic = member.subscription.is_classic();
        if is_classic || member.current.state != MemberState::UnrevokedPartitions {
            member.revoke_by = None;
            return;
        }
        let until = time.now.plus_ms(member.rebalance_timeout_ms());
        member.revoke_by = Some(until);
        self.look_at(until);
    }

    fn look_at(&mut self, at: Moment) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    /// When something may be due; not later than it is.
    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        self.earliest
    }

    /// Members that were silent for their session, or took too long to give something up.
    pub(crate) fn take_overdue(&mut self, now: Moment) -> Vec<Str> {
        let due = |m: &Member| m.deadline().is_some_and(|at| at <= now);
        let overdue: Vec<Str> =
            self.members.iter().filter(|(_, m)| due(m)).map(|(id, _)| id.clone()).collect();
        for member_id in &overdue {
            if let Some(member) = self.members.get_mut(member_id) {
                // Its removal is about to be written; if that fails, it is tried again, even if
                // the member is heard of meanwhile.
                let again = now.plus_ms(REMOVAL_RETRY_MS);
                let clocks = [&mut member.revoke_by, &mut member.join_by, &mut member.sync_by];
                for at in clocks.into_iter().flatten().chain(&mut member.expires_at) {
                    *at = again.max(*at);
                }
            }
        }
        self.earliest = self.members.values().filter_map(Member::deadline).min();
        overdue
    }
}

/// The names of a classic member's protocols, each once.
fn distinct(classic: &ClassicMemberMetadata) -> BTreeSet<&Str> {
    classic.supported_protocols.iter().map(|protocol| &protocol.name).collect()
}

fn drop_one(counts: &mut BTreeMap<Str, usize>, key: &Str) {
    if let Some(n) = counts.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(key);
        }
    }
}
