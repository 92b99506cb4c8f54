//! Which topics a group reads, and who is to have which partition (Kafka:
//! `TargetAssignmentBuilder`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use klamm_model::TopicId;
use klamm_stdx::Str;

use super::assign::{Assignor, MemberSpec, Spec};
use super::change::{Change, ResolvedRegex};
use super::deciding::Deciding;
use super::group::ConsumerGroup;
use super::limits::ConsumerLimits;
use super::member::Subscription;
use super::partitions::Partitions;
use super::topics::metadata_hash;

impl Deciding<'_> {
    /// Whether the group reads other topics when one member asks for `new` instead of `old`.
    pub(super) fn changes_topics(&self, old: Option<&Subscription>) -> bool {
        let (names, patterns) = (&self.group.names, &self.group.patterns);
        let none = Subscription::default();
        let old = old.unwrap_or(&none);
        let is_last = |name: &Str| !self.new.names.contains(name) && names.get(name) == Some(&1);
        let comes = self.new.names.iter().any(|name| !names.contains_key(name));
        let pattern_comes = self.new.regex.iter().any(|p| !patterns.contains_key(p));
        comes || pattern_comes || !self.resolved.is_empty() || old.names.iter().any(is_last)
    }

    /// The hash of what the group reads when the member asks for what it asks for now.
    pub(super) fn metadata_hash(&self, old: Option<&Subscription>) -> i64 {
        let leaves = |name: &Str, n: usize| {
            n == 1
                && old.is_some_and(|old| old.names.contains(name))
                && !self.new.names.contains(name)
        };
        let stays = self.group.names.iter().filter(|(name, n)| !leaves(name, **n));
        let mut names: BTreeSet<&Str> = stays.map(|(name, _)| name).collect();
        names.extend(&self.new.names);
        for (pattern, known) in &self.group.regexes {
            if !self.resolved.contains_key(pattern) {
                names.extend(&known.topics);
            }
        }
        let changed = self.resolved.values().flatten();
        names.extend(changed.flat_map(|regex| &regex.topics));
        metadata_hash(self.at.image, &names)
    }

    fn topics_of_pattern(&self, pattern: &Str) -> &[Str] {
        let known = || self.group.regexes.get(pattern);
        let regex: Option<&ResolvedRegex> = match self.resolved.get(pattern) {
            Some(changed) => changed.as_ref(),
            None => known(),
        };
        regex.map_or(&[], |regex| &regex.topics)
    }
}

/// Computes everybody's target and writes what is new; gives the member's own.
pub(super) fn compute(this: &mut Deciding<'_>) -> Partitions {
    let members = members(this);
    let spec = spec(this, &members);
    let assignor = preferred(this.at.limits, members.iter().map(|(_, member)| *member));
    let targets = assignor.assign(&spec);
    let mut own = Partitions::new();
    let mut changes = Vec::new();
    for (member, target) in spec.members.iter().zip(targets) {
        if *member.member_id == this.member_id {
            own.clone_from(&target);
        }
        if this.group.targets.get(member.member_id) != Some(&target) {
            changes.push(Change::Target(member.member_id.clone(), Some(target)));
        }
    }
    this.changes.extend(changes);
    own
}

/// What of a target the member reads, now that it may ask for other topics: the target may be older
/// than its wish (Kafka: KAFKA-19431).
pub(super) fn read_of(this: &Deciding<'_>, target: &Partitions) -> Partitions {
    let topics = topics_of(this, &this.new, &mut Spec::default());
    let reads = target.iter().filter(|(topic_id, _)| topics.contains(topic_id));
    reads.map(|(topic_id, partitions)| (*topic_id, partitions.clone())).collect()
}

/// The members as they will be, in the order of their ids.
fn members<'a>(this: &'a Deciding<'_>) -> Vec<(&'a Str, &'a Subscription)> {
    let is_other =
        |id: &Str| *id != this.member_id && this.replaces.as_ref().is_none_or(|old| old != id);
    let others = this.group.members.iter().filter(|(id, _)| is_other(id));
    let mut members: Vec<_> = others.map(|(id, member)| (id, &member.subscription)).collect();
    let at = members.partition_point(|(id, _)| **id < this.member_id);
    members.insert(at, (&this.member_id, &this.new));
    members
}

fn spec<'a>(this: &'a Deciding<'_>, members: &[(&'a Str, &'a Subscription)]) -> Spec<'a> {
    let mut spec = Spec::default();
    let mut by_words: HashMap<(&[Str], Option<&Str>), usize> = HashMap::new();
    let mut by_topics: BTreeMap<BTreeSet<TopicId>, usize> = BTreeMap::new();
    for (member_id, member) in members {
        let words = (member.names.as_slice(), member.regex.as_ref());
        let subscription = *by_words.entry(words).or_insert_with(|| {
            let topics = topics_of(this, member, &mut spec);
            let next = spec.subscriptions.len();
            *by_topics.entry(topics).or_insert_with_key(|topics| {
                spec.subscriptions.push(topics.clone());
                next
            })
        });
        let had_by = match &this.replaces {
            Some(old) if **member_id == this.member_id => old,
            _ => *member_id,
        };
        spec.members.push(MemberSpec {
            member_id,
            instance_id: member.instance_id.as_ref(),
            subscription,
            target: this.group.targets.get(had_by),
        });
    }
    spec
}

/// The topics that a member reads, and that exist.
fn topics_of(this: &Deciding<'_>, member: &Subscription, spec: &mut Spec<'_>) -> BTreeSet<TopicId> {
    let by_pattern = member.regex.iter().flat_map(|pattern| this.topics_of_pattern(pattern));
    let names = member.names.iter().chain(by_pattern);
    let topics = names.filter_map(|name| this.at.image.topics.by_name(name));
    topics
        .map(|topic| {
            let n = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            spec.topics.insert(topic.id, n);
            topic.id
        })
        .collect()
}

/// The assignor that most members prefer; without a preference the broker's first.
fn preferred<'a>(
    limits: &ConsumerLimits,
    members: impl Iterator<Item = &'a Subscription>,
) -> Assignor {
    let mut votes = vec![0_usize; limits.assignors.len()];
    for name in members.filter_map(|member| member.assignor.as_ref()) {
        let found = Assignor::from_name(name);
        if let Some(at) = limits.assignors.iter().position(|known| Some(*known) == found) {
            votes[at] += 1;
        }
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    let at = votes.iter().position(|n| *n == most).unwrap_or(0);
    limits.assignors[at]
}

impl ConsumerGroup {
    /// The assignor of the next target.
    pub(crate) fn assignor(&self, limits: &ConsumerLimits) -> Assignor {
        preferred(limits, self.members.values().map(|member| &member.subscription))
    }
}
