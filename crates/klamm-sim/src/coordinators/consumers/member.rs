//! A member of a consumer group as a client library keeps it: what it has, what it asks next, and
//! what an answer means to it.
//!
//! ```text
//!   joins (epoch 0) ──▶ has its epoch ──▶ told of another assignment ──▶ commits, gives up, takes
//!        ▲                  │   ▲                                               │
//!        │ fenced, unknown  │   └────────────── tells what it has ──────────────┘
//!        └──────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use klamm_group_coordinator::consumer::{JOIN_EPOCH, STATIC_LEAVE_EPOCH};
use klamm_group_coordinator::{
    ConsumerHeartbeat, FoundOffset, HeartbeatAnswer, MemberEpochs, OffsetCommit, OffsetFetch,
    OffsetToCommit, OffsetsOfGroup, PartitionResult, Refusal, Request, Response, Stability,
};
use klamm_model::{ErrorCode, GenerationId, Offset, TopicId};
use klamm_stdx::Str;

use super::cluster::{Cluster, Partition, Wants};
use crate::coordinators::ensure;
use crate::random::Seeded;

pub(in crate::coordinators) const GROUP: &str = "g";

/// What a member asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinators) enum Step {
    Beat,
    Fetch,
    Commit,
    /// With this epoch: for good or for a while.
    Leave(i32),
}

/// What a member learned that the world checks.
#[derive(Debug)]
pub(in crate::coordinators) enum Learned {
    Nothing,
    /// It has other partitions now: what it gave up it gave up before it took more.
    Has,
    /// These offsets are committed, and what it was to give up it may give up now.
    Committed(Vec<(Partition, i64)>),
    /// It is over.
    Ends,
}

/// What a request was sent as: see the module's doc for which may arrive late.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Sent {
    pub(in crate::coordinators) number: u64,
    step: Step,
    epoch: i32,
    life: u64,
    /// The takings of the partitions that a commit is of.
    under: Vec<(Partition, u64)>,
}

/// Who a member is.
#[derive(Debug, Clone)]
pub(in crate::coordinators) struct Identity {
    pub(in crate::coordinators) index: usize,
    pub(in crate::coordinators) instance_id: Option<Str>,
    /// Whether it makes its id itself (version 1).
    pub(in crate::coordinators) brings_id: bool,
    pub(in crate::coordinators) rebalance_ms: i32,
}

/// A member.
#[derive(Debug)]
pub(in crate::coordinators) struct Member {
    pub(in crate::coordinators) identity: Identity,
    pub(in crate::coordinators) member_id: Str,
    pub(in crate::coordinators) wants: Wants,
    pub(in crate::coordinators) is_alive: bool,
    pub(in crate::coordinators) epoch: i32,
    /// Of its request; an answer to another is too late.
    pub(in crate::coordinators) number: u64,
    pub(in crate::coordinators) step: Step,
    /// Which of its id's memberships it believes to be in: see `Journal::life`.
    pub(in crate::coordinators) life: u64,
    pub(in crate::coordinators) has: BTreeSet<Partition>,
    /// When the next heartbeat is due.
    pub(in crate::coordinators) beat_at_ms: u64,
    /// The two epochs that it was told last.
    recent: [i32; 2],
    target: Option<BTreeSet<Partition>>,
    /// The first epoch of its present life: a group that was over begins anew with the first.
    first_epoch: i32,
    /// The number of its first request since its application began anew under the same id: the
    /// coordinator has not heard of that, and takes what it had for what it has.
    anew_at: u64,
    /// Each partition that is its own as far as the coordinator knows, with the number of its taking.
    takings: BTreeMap<Partition, u64>,
    last_taking: u64,
    tells_all: bool,
    tells_partitions: bool,
    positions: BTreeMap<Partition, i64>,
    committing: Vec<(Partition, i64)>,
}

impl Member {
    pub(in crate::coordinators) fn new(identity: Identity, wants: Wants) -> Self {
        let own = identity.brings_id.then(|| Str::from(format!("m{}", identity.index)));
        Self {
            identity,
            member_id: own.unwrap_or_default(),
            wants,
            is_alive: true,
            epoch: JOIN_EPOCH,
            number: 0,
            step: Step::Beat,
            life: 0,
            has: BTreeSet::new(),
            beat_at_ms: 0,
            recent: [0; 2],
            first_epoch: 0,
            anew_at: 0,
            target: None,
            takings: BTreeMap::new(),
            last_taking: 0,
            tells_all: true,
            tells_partitions: false,
            positions: BTreeMap::new(),
            committing: Vec::new(),
        }
    }

    /// The request of its step; `named` are the topics' names.
    pub(in crate::coordinators) fn request(&self, cluster: &Cluster) -> Request {
        let group = Str::from(GROUP);
        match self.step {
            Step::Beat => Request::ConsumerHeartbeat(group, Box::new(self.heartbeat())),
            Step::Leave(epoch) => {
                let leaves = ConsumerHeartbeat { member_epoch: epoch, ..self.says_nothing() };
                Request::ConsumerHeartbeat(group, Box::new(leaves))
            }
            Step::Fetch => {
                let mut asked = BTreeMap::<Str, Vec<i32>>::new();
                for (id, partition) in &self.has {
                    if let Some(name) = cluster.name(*id) {
                        asked.entry(name.clone()).or_default().push(*partition);
                    }
                }
                let asked = Some(asked.into_iter().collect());
                let member = Some((self.member_id.clone(), self.epoch));
                let fetch = OffsetFetch { asked, stability: Stability::Required, member };
                Request::FetchOffsets(group, fetch)
            }
            Step::Commit => Request::CommitOffsets(group, self.commit(cluster)),
        }
    }

    fn says_nothing(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.identity.instance_id.clone(),
            client_id: Str::from("sim"),
            client_host: Str::from("/sim"),
            brings_id: self.identity.brings_id,
            new_member_id: Str::from(format!("v{}-{}", self.identity.index, self.number)),
            ..ConsumerHeartbeat::default()
        }
    }

    fn heartbeat(&self) -> ConsumerHeartbeat {
        let beat = self.says_nothing();
        let has = (self.tells_all || self.tells_partitions).then(|| listed(&self.has));
        if !self.tells_all {
            return ConsumerHeartbeat { owned: has, ..beat };
        }
        let (names, regex) = match &self.wants {
            Wants::Names(names) => (names.clone(), Str::new()),
            Wants::Pattern(pattern) => (Vec::new(), Str::from(*pattern)),
        };
        let (names, regex) = (Some(names), Some(regex));
        let rebalance_timeout_ms = Some(self.identity.rebalance_ms);
        ConsumerHeartbeat { owned: has, names, regex, rebalance_timeout_ms, ..beat }
    }

    fn commit(&self, cluster: &Cluster) -> OffsetCommit {
        let line = |((topic_id, partition), offset): &(Partition, i64)| OffsetToCommit {
            topic: cluster.name(*topic_id).cloned().unwrap_or_default(),
            topic_id: Some(*topic_id),
            partition: *partition,
            offset: Offset(*offset),
            leader_epoch: None,
            metadata: Str::new(),
        };
        OffsetCommit {
            member_id: self.member_id.clone(),
            instance_id: self.identity.instance_id.clone(),
            generation_id: GenerationId(self.epoch),
            epochs: MemberEpochs::Known,
            retention_ms: None,
            offsets: self.committing.iter().map(line).collect(),
        }
    }

    /// As what it sends its request.
    pub(in crate::coordinators) fn sends(&self) -> Sent {
        let of =
            |(partition, _): &(Partition, i64)| Some((*partition, *self.takings.get(partition)?));
        Sent {
            number: self.number,
            step: self.step,
            epoch: self.epoch,
            life: self.life,
            under: self.committing.iter().filter_map(of).collect(),
        }
    }

    /// Whether a request that comes late would be taken for a new one: see the module's doc.
    pub(in crate::coordinators) fn is_mistakable(&self, sent: &Sent) -> bool {
        let is_recent = self.is_recent((sent.epoch, sent.life));
        match sent.step {
            Step::Leave(_) => false,
            Step::Fetch => true,
            Step::Commit => {
                let is_as_good = sent.under.iter().any(|taking| self.still_has(taking));
                let is_of_another_life = sent.life != self.life && sent.epoch >= self.first_epoch;
                let is_anew = sent.number < self.anew_at;
                is_recent || is_as_good || is_of_another_life || is_anew
            }
            Step::Beat => is_recent || sent.epoch == JOIN_EPOCH,
        }
    }

    /// Whether it still has a partition since it took it then.
    fn still_has(&self, (partition, taking): &(Partition, u64)) -> bool {
        self.takings.get(partition) == Some(taking)
    }

    /// Whether the coordinator may take an epoch for the member's present one: the one before is
    /// believed too, and who comes back before the next target has the epoch that it had.
    fn is_recent(&self, (epoch, life): (i32, u64)) -> bool {
        epoch >= if life == self.life { self.recent[1] } else { self.recent[0] }
    }

    fn go_on(&mut self, step: Step) {
        self.number += 1;
        self.step = step;
    }

    /// It has heard nothing and asks again; then it tells everything.
    pub(in crate::coordinators) fn retry(&mut self) {
        self.tells_all = true;
        let step = self.step;
        self.go_on(step);
    }

    /// It wants to read something else, and says so at once.
    pub(in crate::coordinators) fn change_wants(&mut self, wants: Wants) {
        self.wants = wants;
        self.retry();
    }

    /// It has nothing any more, and begins anew.
    fn abandon(&mut self) {
        self.has.clear();
        self.positions.clear();
        self.target = None;
        self.epoch = JOIN_EPOCH;
        self.tells_all = true;
        if !self.identity.brings_id {
            self.member_id = Str::new();
        }
        self.go_on(Step::Beat);
    }

    /// What it does next.
    pub(in crate::coordinators) fn work(&mut self, now_ms: u64, random: &mut Seeded) -> Learned {
        if self.target.as_ref() == Some(&self.has) {
            self.target = None;
        }
        if self.target.is_some() {
            if !self.positions.is_empty() && random.one_in(2) {
                self.begin_commit();
                return Learned::Nothing;
            }
            self.take();
            return Learned::Has;
        }
        let is_due = now_ms >= self.beat_at_ms || self.has.is_empty();
        if is_due || self.tells_partitions {
            self.go_on(Step::Beat);
        } else if self.has.iter().any(|p| !self.positions.contains_key(p)) {
            self.go_on(Step::Fetch);
        } else if random.one_in(2) {
            self.begin_commit();
        } else {
            self.go_on(Step::Beat);
        }
        Learned::Nothing
    }

    fn begin_commit(&mut self) {
        self.committing = self.positions.iter().map(|(p, at)| (*p, at + 1)).collect();
        self.go_on(Step::Commit);
    }

    /// It gives up what it is to give up, takes the rest, and says so next.
    pub(in crate::coordinators) fn take(&mut self) {
        let Some(target) = self.target.take() else { return };
        self.positions.retain(|partition, _| target.contains(partition));
        for partition in &target {
            self.last_taking += 1;
            self.takings.entry(*partition).or_insert(self.last_taking);
        }
        self.has = target;
        self.tells_partitions = true;
        self.beat_at_ms = 0;
        self.go_on(Step::Beat);
    }

    /// It gives everything up and says so: for a while, or for good.
    pub(in crate::coordinators) fn leave(&mut self, epoch: i32) {
        self.has.clear();
        self.positions.clear();
        self.target = None;
        self.go_on(Step::Leave(epoch));
    }

    /// The answer to its request, which was given in the `life` of its id.
    pub(in crate::coordinators) fn on_answer(
        &mut self,
        (response, life): (Response, u64),
        now_ms: u64,
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        match (self.step, response) {
            (Step::Leave(STATIC_LEAVE_EPOCH), Response::ConsumerHeartbeat(_)) => {
                return Ok(Learned::Ends);
            }
            (Step::Leave(_), Response::ConsumerHeartbeat(_)) => self.abandon(),
            (Step::Beat, Response::ConsumerHeartbeat(Ok(answer))) => {
                self.on_beat((*answer, life), now_ms)?;
                return Ok(self.work(now_ms, random));
            }
            (Step::Beat, Response::ConsumerHeartbeat(Err(refusal))) => {
                return self.on_refusal(&refusal);
            }
            (Step::Fetch, Response::FetchOffsets(found)) => match found {
                Ok(found) => {
                    self.on_found(&found);
                    return Ok(self.work(now_ms, random));
                }
                Err(error) => self.on_error(error)?,
            },
            (Step::Commit, Response::CommitOffsets(lines)) => {
                return self.on_committed(&lines, now_ms, random);
            }
            (_, Response::Unavailable(_)) => self.retry(),
            (step, other) => return Err(format!("{other:?} is no answer to {step:?}")),
        }
        Ok(Learned::Nothing)
    }

    fn on_beat(
        &mut self,
        (answer, life): (HeartbeatAnswer, u64),
        now_ms: u64,
    ) -> Result<(), String> {
        let (before, now) = (self.epoch, answer.member_epoch);
        ensure(now >= before && now > 0, || {
            format!("{} was told epoch {now} after {before}", answer.member_id)
        })?;
        if life != self.life || answer.member_id != self.member_id {
            self.takings.clear();
            self.recent = [0; 2];
            self.first_epoch = now;
        }
        if now != self.recent[0] {
            self.recent = [now, self.recent[0]];
        }
        (self.epoch, self.life, self.member_id) = (now, life, answer.member_id);
        (self.tells_all, self.tells_partitions) = (false, false);
        self.takings.retain(|partition, _| self.has.contains(partition));
        self.beat_at_ms = now_ms + u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0);
        if let Some(assignment) = answer.assignment {
            let each = |(id, partitions): (TopicId, Vec<i32>)| {
                partitions.into_iter().map(move |partition| (id, partition))
            };
            self.target = Some(assignment.into_iter().flat_map(each).collect());
        }
        Ok(())
    }

    fn on_refusal(&mut self, refusal: &Refusal) -> Result<Learned, String> {
        match refusal.error {
            ErrorCode::FencedInstanceId => return Ok(Learned::Ends),
            // Another has the name for as long as its session lasts.
            ErrorCode::UnreleasedInstanceId => self.retry(),
            error => self.on_error(error)?,
        }
        Ok(Learned::Nothing)
    }

    fn on_error(&mut self, error: ErrorCode) -> Result<(), String> {
        match error {
            ErrorCode::FencedMemberEpoch
            | ErrorCode::UnknownMemberId
            | ErrorCode::GroupIdNotFound => self.abandon(),
            // Its application is told.
            ErrorCode::UnknownServerError => {
                self.abandon();
                self.anew_at = self.number;
            }
            ErrorCode::StaleMemberEpoch | ErrorCode::UnknownTopicId => self.go_on(Step::Beat),
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => self.retry(),
            other => return Err(format!("{other} is no answer to {:?}", self.step)),
        }
        Ok(())
    }

    fn on_found(&mut self, found: &OffsetsOfGroup) {
        for partition in &self.has {
            self.positions.entry(*partition).or_insert(0);
        }
        for (index, offset) in found.topics.iter().flat_map(|(_, lines)| lines) {
            let FoundOffset::Committed(offset) = offset else { continue };
            // A classic member commits by the topic's name, and reads no more than one.
            let only = self.has.first().map(|(topic_id, _)| *topic_id);
            let Some(topic_id) = offset.topic_id.or(only) else { continue };
            if let Some(at) = self.positions.get_mut(&(topic_id, *index)) {
                *at = offset.offset.0.max(*at);
            }
        }
    }

    fn on_committed(
        &mut self,
        lines: &[PartitionResult],
        now_ms: u64,
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        let error = lines.iter().map(|line| line.error).find(|error| !error.is_none());
        if let Some(error) = error {
            // A classic group has another of its name.
            if error == ErrorCode::FencedInstanceId {
                return Ok(Learned::Ends);
            }
            self.on_error(error)?;
            return Ok(Learned::Nothing);
        }
        let committed = std::mem::take(&mut self.committing);
        for (partition, at) in &committed {
            self.positions.insert(*partition, *at);
        }
        if self.target.is_none() {
            self.work(now_ms, random);
        }
        Ok(Learned::Committed(committed))
    }
}

/// As heartbeats tell it.
fn listed(has: &BTreeSet<Partition>) -> Vec<(TopicId, Vec<i32>)> {
    let mut topics = BTreeMap::<TopicId, Vec<i32>>::new();
    for (topic_id, partition) in has {
        topics.entry(*topic_id).or_default().push(*partition);
    }
    topics.into_iter().collect()
}
