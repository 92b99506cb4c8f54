//! A client of either protocol: the members of the two simulations behind one face.

use std::collections::BTreeSet;

use klamm_group_coordinator::consumer::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use klamm_group_coordinator::{Request, Response};
use klamm_model::TopicId;
use klamm_stdx::Str;

use super::journal::Journal;
use crate::coordinators::consumers::cluster::{Cluster, Partition};
use crate::coordinators::consumers::member as consumer;
use crate::coordinators::groups::member as classic;
use crate::random::Seeded;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinators) enum Protocol {
    Classic,
    Consumer,
}

/// A client of the one or the other.
#[derive(Debug)]
pub(super) enum Member {
    Classic(Box<classic::Member>),
    Consumer(Box<consumer::Member>),
}

/// What a request was sent as.
#[derive(Debug, Clone)]
pub(in crate::coordinators) enum Sent {
    Classic { number: u64, generation: i32 },
    Consumer(consumer::Sent),
}

impl Sent {
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Classic { number, .. } => *number,
            Self::Consumer(sent) => sent.number,
        }
    }
}

/// What a client learned that the world checks.
#[derive(Debug)]
pub(super) enum Learned {
    Nothing,
    /// It has other partitions now.
    Has,
    /// These offsets are committed.
    Committed(Vec<(Partition, i64)>),
    /// It is over.
    Ends,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) index: usize,
    pub(super) place: usize,
    pub(super) member: Member,
    /// Which of its id's memberships gave it what it has: see `Journal::life`.
    life: u64,
    /// It ends with the answer to its leave.
    pub(super) is_leaving: bool,
}

impl Client {
    pub(super) fn new((index, place): (usize, usize), member: Member) -> Self {
        Self { index, place, member, life: 0, is_leaving: false }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match &self.member {
            Member::Classic(_) => Protocol::Classic,
            Member::Consumer(_) => Protocol::Consumer,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        match &self.member {
            Member::Classic(member) => member.is_alive,
            Member::Consumer(member) => member.is_alive,
        }
    }

    pub(super) fn die(&mut self) {
        match &mut self.member {
            Member::Classic(member) => (member.is_alive, member.is_replaced) = (false, true),
            Member::Consumer(member) => member.is_alive = false,
        }
    }

    pub(super) fn member_id(&self) -> &Str {
        match &self.member {
            Member::Classic(member) => &member.member_id,
            Member::Consumer(member) => &member.member_id,
        }
    }

    pub(super) fn instance_id(&self) -> Option<&Str> {
        match &self.member {
            Member::Classic(member) => member.instance_id.as_ref(),
            Member::Consumer(member) => member.identity.instance_id.as_ref(),
        }
    }

    pub(super) fn number(&self) -> u64 {
        match &self.member {
            Member::Classic(member) => member.number,
            Member::Consumer(member) => member.number,
        }
    }

    /// Its generation, or its epoch.
    pub(super) fn generation(&self) -> i32 {
        match &self.member {
            Member::Classic(member) => member.generation,
            Member::Consumer(member) => member.epoch,
        }
    }

    /// Whether what it took is still its own, by the group's log.
    pub(super) fn holds(&self, journal: &Journal) -> bool {
        let life = match &self.member {
            Member::Classic(_) => self.life,
            Member::Consumer(member) => member.life,
        };
        journal.holds(self.member_id(), (life, self.generation()))
    }

    /// What it has, as far as it knows.
    pub(super) fn has(&self, topic_id: TopicId) -> BTreeSet<Partition> {
        match &self.member {
            Member::Classic(member) => member.has().map(|p| (topic_id, i32::from(p))).collect(),
            Member::Consumer(member) => member.has.clone(),
        }
    }

    pub(super) fn sends(&self, cluster: &Cluster) -> (Sent, Request) {
        match &self.member {
            Member::Classic(member) => {
                let (number, generation) = (member.number, member.generation);
                (Sent::Classic { number, generation }, member.request())
            }
            Member::Consumer(member) => (Sent::Consumer(member.sends()), member.request(cluster)),
        }
    }

    /// Whether a request that comes when a later one has arrived, or another copy of it, or its
    /// member has gone on, is lost: see the module's doc. `next` is the number after those that
    /// have arrived.
    pub(super) fn is_lost(&self, (sent, request): (&Sent, &Request), next: u64) -> bool {
        let (is_late, is_again) = (sent.number() + 1 < next, sent.number() < next);
        match (&self.member, sent) {
            (Member::Classic(member), Sent::Classic { number, generation }) => {
                let says_no_time =
                    matches!(request, Request::Join(..) | Request::CommitOffsets(..));
                (member.number != *number && member.generation == *generation)
                    || (is_late && says_no_time)
            }
            (Member::Consumer(member), Sent::Consumer(sent)) => {
                is_again && member.is_mistakable(sent)
            }
            (Member::Classic(_), Sent::Consumer(_))
            | (Member::Consumer(_), Sent::Classic { .. }) => true,
        }
    }

    /// It gives everything up and says so: a static consumer for a while, all others for good. One
    /// that is in no group yet just ends.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        match &mut self.member {
            Member::Classic(member) if member.member_id.is_empty() => self.die(),
            Member::Classic(member) => member.leave(),
            Member::Consumer(member) => {
                let is_static = member.identity.instance_id.is_some();
                member.leave(if is_static { STATIC_LEAVE_EPOCH } else { LEAVE_EPOCH });
            }
        }
    }

    /// It has heard nothing and asks again.
    pub(super) fn retry(&mut self) {
        match &mut self.member {
            Member::Classic(_) => {}
            Member::Consumer(member) => member.retry(),
        }
    }

    /// It may take what it was to take when it had committed.
    pub(super) fn take(&mut self) {
        match &mut self.member {
            Member::Classic(_) => {}
            Member::Consumer(member) => member.take(),
        }
    }

    /// The answer to its request, which was given in the `life` of its id.
    pub(super) fn on_answer(
        &mut self,
        (response, life): (Response, u64),
        (now_ms, topic_id): (u64, TopicId),
        random: &mut Seeded,
    ) -> Result<Learned, String> {
        if self.is_leaving
            && matches!(response, Response::Leave(_) | Response::ConsumerHeartbeat(_))
        {
            return Ok(Learned::Ends);
        }
        match &mut self.member {
            Member::Consumer(member) => {
                Ok(match member.on_answer((response, life), now_ms, random)? {
                    consumer::Learned::Nothing => Learned::Nothing,
                    consumer::Learned::Has => Learned::Has,
                    consumer::Learned::Committed(offsets) => Learned::Committed(offsets),
                    consumer::Learned::Ends => Learned::Ends,
                })
            }
            Member::Classic(member) => Ok(match member.on_answer(response, random)? {
                classic::Learned::Owns(..) => {
                    self.life = life;
                    Learned::Has
                }
                classic::Learned::Committed(offsets) => {
                    let line = |(p, at): (u8, i64)| ((topic_id, i32::from(p)), at);
                    Learned::Committed(offsets.into_iter().map(line).collect())
                }
                classic::Learned::Fenced if !member.is_alive => Learned::Ends,
                classic::Learned::Fenced | classic::Learned::Nothing => Learned::Nothing,
            }),
        }
    }

    /// When its next request is due at the earliest.
    pub(super) fn due_ms(&self) -> u64 {
        match &self.member {
            Member::Consumer(member) if member.step == consumer::Step::Beat => member.beat_at_ms,
            Member::Classic(_) | Member::Consumer(_) => 0,
        }
    }

    /// Whether it waits for others.
    pub(super) fn waits(&self) -> bool {
        match &self.member {
            Member::Classic(member) => {
                matches!(member.step, classic::Step::Join | classic::Step::Sync(_))
            }
            Member::Consumer(_) => false,
        }
    }
}
