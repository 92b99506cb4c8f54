//! A classic group's state: members, generation, protocol; and the questions about it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use klamm_coordinator::{CoordinatorBug, is_seeded};
use klamm_env::Moment;
use klamm_model::{ErrorCode, GenerationId, Timestamp};
use klamm_stdx::Str;

use super::limits::Limits;
use super::state::{State, Wait};
use super::{Member, Protocol};
use crate::migration::{CONSUMER_PROTOCOL_TYPE, subscribed_topics};

/// Whether whoever commits offsets has to be a member while the group has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It has.
    Needed,
    /// It is checked if it says who it is: producers of old say nothing (KIP-447).
    IfTold,
}

/// A classic group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub group_id: Str,
    pub(crate) state: State,
    /// Whether the rebalance that is being prepared began with an empty group.
    pub(crate) began_empty: bool,
    pub(crate) state_since: Timestamp,
    pub(crate) generation_id: GenerationId,
    pub(crate) protocol_type: Option<Str>,
    pub(crate) protocol_name: Option<Str>,
    pub(crate) leader_id: Option<Str>,
    pub(crate) members: BTreeMap<Str, Member>,
    /// Static members by the operator's name.
    pub(crate) static_members: HashMap<Str, Str>,
    /// Ids that were given out (KIP-394) and must join before then.
    pub(crate) pending_members: BTreeMap<Str, Moment>,
    /// Who has not asked for its assignment in this generation.
    pub(crate) pending_sync: BTreeSet<Str>,
    pub(crate) new_member_added: bool,
    /// Whether the leader's assignment is on its way to the log.
    pub(crate) assignment_in_flight: bool,
    pub(crate) wait: Option<Wait>,
    /// How many members know a protocol.
    pub(crate) protocol_counts: BTreeMap<Str, usize>,
    /// How many members wait in a join.
    pub(crate) joined_count: usize,
    /// Nothing is due before then.
    pub(crate) earliest: Option<Moment>,
    pub(crate) limits: Limits,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(group_id: Str, limits: Limits, wall: Timestamp) -> Self {
        Self {
            group_id,
            state: State::Empty,
            began_empty: false,
            state_since: wall,
            generation_id: GenerationId(0),
            protocol_type: None,
            protocol_name: None,
            leader_id: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            new_member_added: false,
            assignment_in_flight: false,
            wait: None,
            protocol_counts: BTreeMap::new(),
            joined_count: 0,
            earliest: None,
            limits,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when, by the wall clock.
    #[must_use]
    pub fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// The generation; grows with each completed rebalance.
    #[must_use]
    pub fn generation_id(&self) -> GenerationId {
        self.generation_id
    }

    /// What kind of members it has; `consumer` for consumers.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&Str> {
        self.protocol_type.as_ref()
    }

    /// The protocol that all members understand, once chosen.
    #[must_use]
    pub fn protocol_name(&self) -> Option<&Str> {
        self.protocol_name.as_ref()
    }

    /// The member that divides the work.
    #[must_use]
    pub fn leader_id(&self) -> Option<&Str> {
        self.leader_id.as_ref()
    }

    /// The members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether a member is the leader.
    #[must_use]
    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader_id.as_ref().is_some_and(|leader| leader == member_id)
    }

    /// When something may be due; not later than it is.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.earliest
    }

    pub(crate) fn move_to(&mut self, state: State, wall: Timestamp) {
        self.began_empty = state == State::PreparingRebalance && self.state == State::Empty;
        self.state = state;
        self.state_since = wall;
    }

    /// Whether a newcomer with these protocols can join: same kind, and at least one protocol
    /// that every member speaks.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_ref().is_some_and(|own| own == protocol_type)
            && protocols.iter().any(|p| self.is_spoken_by_all(&p.name))
    }

    /// Each member votes for the first protocol in its list that all speak; most votes win
    /// (Kafka: `ClassicGroup.selectProtocol`).
    pub(crate) fn select_protocol(&self) -> Option<Str> {
        let first = self.members.values().next()?;
        let names = first.protocols.iter().map(|p| &p.name);
        let candidates: Vec<&Str> = names.filter(|name| self.is_spoken_by_all(name)).collect();
        let mut votes: HashMap<&Str, usize> = candidates.iter().map(|name| (*name, 0)).collect();
        for member in self.members.values() {
            let vote = member.vote(|name| votes.contains_key(name))?;
            *votes.get_mut(vote)? += 1;
        }
        let most = votes.values().copied().max()?;
        candidates.into_iter().find(|name| votes[name] == most).cloned()
    }

    /// Longest rebalance timeout of the members, in milliseconds.
    pub(crate) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0)
    }

    /// Checks that a request comes from a current member (Kafka: `ClassicGroup.validateMember`).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, or `FENCED_INSTANCE_ID` if another process took over the static
    /// member.
    pub fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&Str>,
    ) -> Result<(), ErrorCode> {
        let Some(instance_id) = instance_id else {
            return match self.members.contains_key(member_id) {
                true => Ok(()),
                false => Err(ErrorCode::UnknownMemberId),
            };
        };
        match self.static_members.get(instance_id) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(current) if current != member_id => Err(ErrorCode::FencedInstanceId),
            Some(_) => Ok(()),
        }
    }

    /// Checks that offsets may be committed by this member in this generation
    /// (Kafka: `ClassicGroup.validateOffsetCommit`).
    ///
    /// # Errors
    /// The error for the client.
    pub fn check_offset_commit(
        &self,
        (member_id, instance_id): (&str, Option<&Str>),
        generation_id: GenerationId,
        membership: Membership,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if generation_id.0 < 0 && self.state == State::Empty {
            // A consumer that assigns partitions to itself and only stores offsets here.
            return Ok(());
        }
        if generation_id.0 >= 0 || !member_id.is_empty() || instance_id.is_some() {
            if is_seeded(CoordinatorBug::OldGenerationCommits) {
                return Ok(());
            }
            self.check_member(member_id, instance_id)?;
            if generation_id != self.generation_id {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if membership == Membership::Needed && self.state != State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        if membership == Membership::Needed && self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether offsets of this group may be deleted at all (OffsetDelete, KIP-496).
    ///
    /// # Errors
    /// The error for the client.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE);
        match self.state {
            State::Dead => Err(ErrorCode::GroupIdNotFound),
            State::Empty => Ok(()),
            State::Stable | State::PreparingRebalance | State::CompletingRebalance => {
                if is_consumer { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
            }
        }
    }

    /// The topics that members read; `None` if one of them cannot be understood, who may read any.
    #[must_use]
    pub fn topics_subscribed(&self) -> Option<HashSet<Str>> {
        let protocols = self.members().flat_map(|member| &member.protocols);
        let mut all = HashSet::new();
        for protocol in protocols {
            all.extend(subscribed_topics(&protocol.metadata)?);
        }
        Some(all)
    }

    /// The topics that consumers read by the chosen protocol; `None` if they are no consumers, or
    /// one of them cannot be understood.
    pub(crate) fn topics_read(&self) -> Option<BTreeSet<Str>> {
        if self.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        let chosen = self.protocol_name.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(chosen))?);
        }
        Some(topics)
    }

    /// A request of a member arrived: it lives for another session.
    pub(crate) fn keep_alive(&mut self, member_id: &str, now: Moment) {
        if let Some(member) = self.members.get_mut(member_id) {
            let session_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
            let until = now.plus_ms(session_ms);
            member.expires_at = Some(until);
            self.look_at(until);
        }
    }
}
