//! What a heartbeat changes: the member, the group's epoch, the target, what the member has; in
//! this order, each decided on what the ones before it will have made (Kafka:
//! `GroupMetadataManager.consumerGroupHeartbeat`). Nothing changes here: records come out.

use std::collections::BTreeMap;

use klamm_config::GroupConfig;
use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, Timestamp};
use klamm_stdx::Str;

use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
use super::limits::ConsumerLimits;
use super::member::{Current, JOIN_EPOCH, Member, MemberState, STATIC_LEAVE_EPOCH, Subscription};
use super::partitions::{Partitions, listed, same};
use super::reconcile::{self, Target, Wish};
use super::record::{Change, GroupEpoch, ResolvedRegex, TargetEpoch};
use super::{regex, target};
use crate::Time;

/// While a group settles, its members are asked to report this often at most, so that what one
/// gives up reaches the next within seconds.
const SETTLING_INTERVAL_MS: i32 = 1_000;

/// What a group is decided in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    /// The cluster's topics.
    pub image: &'a MetadataImage,
    /// Whether they have to be compared with the group's.
    pub topics: Topics,
    /// The broker's limits.
    pub limits: &'a ConsumerLimits,
    /// The group's configuration.
    pub config: GroupConfig,
    /// What time it is.
    pub time: Time,
}

/// Whether topics may have changed since the group looked at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topics {
    /// They may.
    ToCheck,
    /// They may, and patterns were matched a moment ago: it can wait.
    CanWait,
    /// They have not.
    Known,
}

/// What follows from a heartbeat.
#[derive(Debug)]
pub(crate) struct Decision {
    /// What to write.
    pub changes: Vec<Change>,
    /// What to answer then.
    pub answer: HeartbeatAnswer,
}

/// A decision in the making.
pub(crate) struct Deciding<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) at: Situation<'a>,
    beat: &'a ConsumerHeartbeat,
    pub(super) member_id: Str,
    /// The member that it takes the place of.
    pub(super) replaces: Option<Str>,
    /// What the member asked for until now; nothing if it is new.
    old: Option<&'a Subscription>,
    pub(super) new: Subscription,
    current: Current,
    /// Patterns that stand for other topics now; nothing for those that nobody has any more.
    pub(super) resolved: BTreeMap<Str, Option<ResolvedRegex>>,
    pub(super) epoch: i32,
    pub(super) changes: Vec<Change>,
}

/// Decides a heartbeat that does not leave.
///
/// # Errors
/// What the client is told.
pub(crate) fn decide(
    group: &ConsumerGroup,
    at: Situation<'_>,
    beat: &ConsumerHeartbeat,
) -> Result<Decision, Refusal> {
    let mut this = Deciding::find(group, at, beat)?;
    this.subscribe()?;
    this.bump();
    let (target_epoch, target) = this.target();
    let next = this.reconcile(target_epoch.epoch, &target)?;
    let is_told = beat.is_full() || !same(&this.current.assigned, &next.assigned);
    let answer = HeartbeatAnswer {
        member_epoch: next.epoch,
        heartbeat_interval_ms: this.interval_ms(target_epoch, &next),
        assignment: is_told.then(|| listed(&next.assigned)),
        member_id: this.member_id,
    };
    Ok(Decision { changes: this.changes, answer })
}

impl<'a> Deciding<'a> {
    /// Finds the member, or makes one.
    fn find(
        group: &'a ConsumerGroup,
        at: Situation<'a>,
        beat: &'a ConsumerHeartbeat,
    ) -> Result<Self, Refusal> {
        let brought = !beat.member_id.is_empty();
        let member_id =
            if brought { beat.member_id.detached() } else { beat.new_member_id.clone() };
        let known = group.member(&member_id);
        if known.is_none() && group.members.len() >= at.limits.config.consumer_max_size {
            let message = format!(
                "the group is full: group.consumer.max.size allows {} members",
                at.limits.config.consumer_max_size
            );
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        let mut this = Self {
            group,
            at,
            beat,
            member_id,
            replaces: None,
            old: known.map(|member| &member.subscription),
            new: Subscription::default(),
            current: known.map(|member| member.current.clone()).unwrap_or_default(),
            resolved: BTreeMap::new(),
            epoch: group.epoch,
            changes: Vec::new(),
        };
        match (&beat.instance_id, beat.may_be_new()) {
            (Some(instance_id), true) => this.find_static(instance_id)?,
            (Some(instance_id), false) => group.check_static(instance_id, &this.member_id)?,
            (None, true) => {}
            (None, false) if known.is_none() => return Err(group.unknown_member(&this.member_id)),
            (None, false) => {}
        }
        beat.check_epoch(&this.current)?;
        if this.current.epoch == STATIC_LEAVE_EPOCH && beat.member_epoch == JOIN_EPOCH {
            this.current.epoch = JOIN_EPOCH;
            this.current.previous_epoch = JOIN_EPOCH;
        }
        Ok(this)
    }

    /// A static member joins: it is new, or takes the place of one that left for a while. Where
    /// the classic protocol is involved nobody says that it leaves for a while.
    fn find_static(&mut self, instance_id: &Str) -> Result<(), Refusal> {
        let Some(old_id) = self.group.static_members.get(instance_id) else { return Ok(()) };
        if *old_id == self.member_id {
            return Ok(());
        }
        let old: &Member = &self.group.members[old_id];
        let says_leave = self.beat.classic.is_none() && !old.subscription.is_classic();
        if says_leave && old.current.epoch != STATIC_LEAVE_EPOCH {
            let message = format!(
                "{instance_id} is member {old_id}, which has not left: member {} has to wait until it leaves or its session ends",
                self.member_id
            );
            return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
        }
        self.old = Some(&old.subscription);
        self.current =
            Current { epoch: JOIN_EPOCH, previous_epoch: JOIN_EPOCH, ..old.current.clone() };
        self.changes.extend(tombstones(old_id));
        let id = &self.member_id;
        let target = self.group.targets.get(old_id).cloned().unwrap_or_default();
        self.changes.push(Change::Member(id.clone(), Some(Box::new(old.subscription.clone()))));
        self.changes.push(Change::Target(id.clone(), Some(target)));
        self.changes.push(Change::Current(id.clone(), Some(Box::new(self.current.clone()))));
        self.replaces = Some(old_id.clone());
        Ok(())
    }

    /// Takes what the member says about itself.
    fn subscribe(&mut self) -> Result<(), Refusal> {
        let (beat, old) = (self.beat, self.old);
        if self.is_told_nothing() {
            self.new = old.cloned().unwrap_or_default();
        } else {
            self.new = updated(old, beat);
            if old != Some(&self.new) {
                let new = Box::new(self.new.clone());
                self.changes.push(Change::Member(self.member_id.clone(), Some(new)));
            }
        }
        if let Some(regex) = self.new.regex.clone()
            && !self.group.regexes.contains_key(&regex)
        {
            let resolved = regex::resolve(&regex, self.at.image, self.at.time)?;
            self.resolve(regex, Some(resolved));
        }
        if let Some(gone) = self.old.and_then(|old| old.regex.clone())
            && self.new.regex.as_ref() != Some(&gone)
            && self.group.patterns.get(&gone) == Some(&1)
        {
            self.resolve(gone, None);
        }
        Ok(())
    }

    /// Most heartbeats: the member is known and says nothing about itself.
    fn is_told_nothing(&self) -> bool {
        let beat = self.beat;
        let is_silent = beat.names.is_none()
            && beat.regex.is_none()
            && beat.rack_id.is_none()
            && beat.assignor.is_none()
            && beat.rebalance_timeout_ms.is_none();
        let is_same = |old: &Subscription| {
            old.client_id == beat.client_id
                && old.client_host == beat.client_host
                && old.instance_id == beat.instance_id
                && old.classic.is_none()
        };
        is_silent && self.old.is_some_and(is_same)
    }

    pub(super) fn resolve(&mut self, regex: Str, resolved: Option<ResolvedRegex>) {
        self.changes.push(Change::Regex(regex.clone(), resolved.clone()));
        self.resolved.insert(regex, resolved);
    }

    /// A new epoch, if somebody asks for other topics, or the topics are others.
    fn bump(&mut self) {
        let is_new = self.asks_anew();
        // A target is made of the topics as they are: the hash has to be theirs.
        let is_due = self.group.epoch > self.group.target_epoch;
        let waits = match self.at.topics {
            Topics::ToCheck => false,
            Topics::CanWait => !is_new && !is_due,
            Topics::Known => !is_new,
        };
        if waits {
            return;
        }
        if self.at.topics == Topics::ToCheck {
            self.look_at_patterns();
        }
        let keeps_topics = self.at.topics == Topics::Known && !self.changes_topics(self.old);
        let hash =
            if keeps_topics { self.group.metadata_hash } else { self.metadata_hash(self.old) };
        if is_new || hash != self.group.metadata_hash {
            self.epoch += 1;
            let epoch = GroupEpoch { epoch: self.epoch, metadata_hash: hash };
            self.changes.push(Change::Group(Some(epoch)));
        }
    }

    /// Whether the member asks for other topics than before, or for the first time.
    fn asks_anew(&self) -> bool {
        self.old.is_none_or(|old| old.names != self.new.names || old.regex != self.new.regex)
    }

    /// Topics came or went: patterns may stand for others.
    fn look_at_patterns(&mut self) {
        for (pattern, known) in &self.group.regexes {
            if self.resolved.contains_key(pattern) {
                continue;
            }
            // It was understood when a member brought it.
            let Ok(now) = regex::resolve(pattern, self.at.image, self.at.time) else { continue };
            if now.topics != known.topics {
                self.resolve(pattern.clone(), Some(now));
            }
        }
    }

    /// The target, a new one if it is time for it.
    fn target(&mut self) -> (TargetEpoch, Partitions) {
        let group = self.group;
        let known = TargetEpoch { epoch: group.target_epoch, at: group.target_at };
        if self.epoch > known.epoch && group.is_time_for_target(self.at.time, &self.at.config) {
            let now = TargetEpoch { epoch: self.epoch, at: self.at.time.wall };
            let own = target::compute(self);
            self.changes.push(Change::TargetEpoch(Some(now)));
            return (now, own);
        }
        let id = self.replaces.as_ref().unwrap_or(&self.member_id);
        (known, group.targets.get(id).cloned().unwrap_or_default())
    }

    /// One step of the member towards its target.
    fn reconcile(&mut self, epoch: i32, partitions: &Partitions) -> Result<Current, Refusal> {
        let told = self.beat.owned.as_deref();
        if self.current.state == MemberState::Unknown && told.is_none_or(|told| !told.is_empty()) {
            let message =
                "what this member owns is not known: give all partitions up and join again";
            return Err(Refusal::new(ErrorCode::FencedMemberEpoch, message));
        }
        let wish = if self.asks_anew() { Wish::New } else { Wish::Same };
        if self.current.is_reconciled_to(epoch) && wish == Wish::Same {
            return Ok(self.current.clone());
        }
        let partitions = &target::read_of(self, partitions);
        let target = Target { epoch, partitions, told, wish };
        let next = reconcile::next(&self.current, &target, |topic_id, partition| {
            self.group.owner(topic_id, partition).is_none() || is_seeded(CoordinatorBug::TwoOwners)
        });
        if next != self.current {
            let written = Box::new(next.clone());
            self.changes.push(Change::Current(self.member_id.clone(), Some(written)));
        }
        Ok(next)
    }

    /// When the member is to report again: soon, while there may be news for it.
    fn interval_ms(&self, target: TargetEpoch, member: &Current) -> i32 {
        let interval_ms = self.at.config.consumer_heartbeat_interval_ms;
        let since = |at: Timestamp| self.at.time.wall.0.saturating_sub(at.0);
        let settles = self.epoch > target.epoch
            || !member.is_reconciled_to(target.epoch)
            || (0..i64::from(interval_ms)).contains(&since(target.at));
        if settles { interval_ms.min(SETTLING_INTERVAL_MS) } else { interval_ms }
    }
}

/// What a member asks for after a heartbeat: what is not said stays.
pub(crate) fn updated(old: Option<&Subscription>, beat: &ConsumerHeartbeat) -> Subscription {
    let old = old.cloned().unwrap_or_default();
    let own = |text: &Option<Str>, old: Option<Str>| text.as_ref().map(Str::detached).or(old);
    let names = match &beat.names {
        Some(names) => {
            let mut names: Vec<Str> = names.iter().map(Str::detached).collect();
            names.sort_unstable();
            names.dedup();
            names
        }
        None => old.names,
    };
    Subscription {
        instance_id: own(&beat.instance_id, old.instance_id),
        rack_id: own(&beat.rack_id, old.rack_id),
        client_id: beat.client_id.detached(),
        client_host: beat.client_host.clone(),
        names,
        regex: own(&beat.regex, old.regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: beat.rebalance_timeout_ms.unwrap_or(old.rebalance_timeout_ms),
        assignor: own(&beat.assignor, old.assignor),
        classic: beat.classic.clone(),
    }
}

/// A member is no more.
pub(crate) fn tombstones(member_id: &Str) -> [Change; 3] {
    [
        Change::Current(member_id.clone(), None),
        Change::Target(member_id.clone(), None),
        Change::Member(member_id.clone(), None),
    ]
}
