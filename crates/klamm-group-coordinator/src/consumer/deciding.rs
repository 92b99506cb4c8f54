//! Who a heartbeat is from, and what it asks for now: the beginning of every decision on it.

use std::collections::BTreeMap;

use klamm_config::GroupConfig;
use klamm_metadata::MetadataImage;
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::change::{Change, ResolvedRegex};
use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, Refusal};
use super::limits::ConsumerLimits;
use super::member::{Current, JOIN_EPOCH, Member, STATIC_LEAVE_EPOCH, Subscription};
use super::regex;
use crate::Time;

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

/// A decision in the making.
pub(crate) struct Deciding<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) at: Situation<'a>,
    pub(super) beat: &'a ConsumerHeartbeat,
    pub(super) member_id: Str,
    /// The member that it takes the place of.
    pub(super) replaces: Option<Str>,
    /// What the member asked for until now; nothing if it is new.
    pub(super) old: Option<&'a Subscription>,
    pub(super) new: Subscription,
    pub(super) current: Current,
    /// Patterns that stand for other topics now; nothing for those that nobody has any more.
    pub(super) resolved: BTreeMap<Str, Option<ResolvedRegex>>,
    pub(super) epoch: i32,
    pub(super) changes: Vec<Change>,
}

impl<'a> Deciding<'a> {
    /// Finds the member, or makes one.
    pub(super) fn find(
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
    pub(super) fn subscribe(&mut self) -> Result<(), Refusal> {
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
