//! What a heartbeat changes: the member, the group's epoch, the target, what the member has; in
//! this order, each decided on what the ones before it will have made (Kafka:
//! `GroupMetadataManager.consumerGroupHeartbeat`). Nothing changes here: records come out.

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_model::{ErrorCode, Timestamp};

use super::change::{Change, GroupEpoch, TargetEpoch};
use super::deciding::{Deciding, Situation, Topics};
use super::group::ConsumerGroup;
use super::heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, Refusal};
use super::member::{Current, MemberState};
use super::partitions::{Partitions, listed, same};
use super::reconcile::{self, Target, Wish};
use super::{regex, target};

/// While a group settles, its members are asked to report this often at most, so that what one
/// gives up reaches the next within seconds.
const SETTLING_INTERVAL_MS: i32 = 1_000;

/// What follows from a heartbeat.
#[derive(Debug)]
pub(crate) struct Decision {
    /// What to write.
    pub changes: Vec<Change>,
    /// What to answer then.
    pub answer: HeartbeatAnswer,
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

impl Deciding<'_> {
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
