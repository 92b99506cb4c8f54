//! The ConsumerGroupHeartbeat request and its answer, and who may send it.

use klamm_model::ErrorCode;
use klamm_persisted::group::consumer_group_member_metadata_value::ClassicMemberMetadata;
use klamm_stdx::Str;

use super::group::ConsumerGroup;
use super::member::{Current, JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use super::partitions::{TopicPartitions, is_subset};

/// A ConsumerGroupHeartbeat request.
#[derive(Debug, Clone, Default)]
pub struct ConsumerHeartbeat {
    /// The member; empty for one that joins and has no id (version 0).
    pub member_id: Str,
    /// The epoch that it was told last; 0 joins, -1 leaves, -2 leaves for a while.
    pub member_epoch: i32,
    /// Of a static member.
    pub instance_id: Option<Str>,
    /// Where it runs, if that is new.
    pub rack_id: Option<Str>,
    /// How long it may take to give up partitions, if that is new.
    pub rebalance_timeout_ms: Option<i32>,
    /// Topics by name, if they are new.
    pub names: Option<Vec<Str>>,
    /// Topics by pattern, if that is new; an empty one ends it.
    pub regex: Option<Str>,
    /// The assignor that it prefers, if that is new.
    pub assignor: Option<Str>,
    /// What it has, if that changed.
    pub owned: Option<Vec<TopicPartitions>>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// Whether the client makes its id (version 1, KIP-1082).
    pub brings_id: bool,
    /// An id for a member without one, made by the caller from a random source.
    pub new_member_id: Str,
    /// Of a member that speaks the classic protocol: a JoinGroup that came as such.
    pub classic: Option<ClassicMemberMetadata>,
}

/// The answer to a [`ConsumerHeartbeat`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The member.
    pub member_id: Str,
    /// Its epoch.
    pub member_epoch: i32,
    /// When to send the next.
    pub heartbeat_interval_ms: i32,
    /// All that it may read, if that changed or it does not know.
    pub assignment: Option<Vec<TopicPartitions>>,
}

/// Why a heartbeat is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the client.
    pub error: ErrorCode,
    /// For a person.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl ConsumerHeartbeat {
    /// Whether the member leaves, for good or for a while.
    pub(crate) fn leaves(&self) -> bool {
        matches!(self.member_epoch, LEAVE_EPOCH | STATIC_LEAVE_EPOCH)
    }

    /// Whether whoever sends it may be new to the group. A classic static member that has an id
    /// is not.
    pub(crate) fn may_be_new(&self) -> bool {
        match &self.classic {
            None => self.member_epoch == JOIN_EPOCH,
            Some(_) => self.instance_id.is_none() || self.member_id.is_empty(),
        }
    }

    /// Whether it tells everything, as after an error, and wants to be told everything.
    pub(crate) fn is_full(&self) -> bool {
        self.member_epoch == JOIN_EPOCH
            || (self.rebalance_timeout_ms.is_some()
                && (self.names.is_some() || self.regex.is_some())
                && self.owned.is_some())
    }

    /// Whether the request makes sense by itself (Kafka:
    /// `GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`).
    ///
    /// # Errors
    /// `INVALID_REQUEST`.
    pub(crate) fn check(&self, group_id: &Str) -> Result<(), Refusal> {
        let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        let is_blank = |text: &str| text.trim().is_empty();
        if is_blank(group_id) {
            return refuse("a group needs a name: GroupId is blank");
        }
        if is_blank(&self.member_id) && (self.brings_id || self.member_epoch != JOIN_EPOCH) {
            return refuse("MemberId is blank: from version 1 on, a member makes its own id");
        }
        if self.instance_id.as_deref().is_some_and(is_blank) {
            return refuse("InstanceId is blank: leave it out for a dynamic member");
        }
        if self.rack_id.as_deref().is_some_and(is_blank) {
            return refuse("RackId is blank: leave it out if the rack is not known");
        }
        match self.member_epoch {
            JOIN_EPOCH => self.check_join(),
            STATIC_LEAVE_EPOCH if self.instance_id.is_none() => {
                refuse("epoch -2 is for static members: InstanceId is missing")
            }
            epoch if epoch < STATIC_LEAVE_EPOCH => refuse("there is no MemberEpoch below -2"),
            _ => Ok(()),
        }
    }

    fn check_join(&self) -> Result<(), Refusal> {
        let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        if self.rebalance_timeout_ms.is_none() {
            return refuse("a member that joins tells its RebalanceTimeoutMs");
        }
        if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return refuse(
                "a member that joins owns nothing: TopicPartitions is not an empty list",
            );
        }
        if self.names.is_none() && self.regex.is_none() {
            return refuse(
                "a member that joins subscribes: SubscribedTopicNames and SubscribedTopicRegex are both missing",
            );
        }
        Ok(())
    }

    /// Whether the member's epoch is current, or the one before and the answer that told the new
    /// one was lost (Kafka: `throwIfConsumerGroupMemberEpochIsInvalid`).
    ///
    /// # Errors
    /// `FENCED_MEMBER_EPOCH`.
    pub(crate) fn check_epoch(&self, current: &Current) -> Result<(), Refusal> {
        let (told, known) = (self.member_epoch, current.epoch);
        let refuse = |relation: &str| {
            let message = format!(
                "member epoch {told} is {relation} the coordinator's, which is {known}: give all partitions up and join again"
            );
            Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
        };
        if told == JOIN_EPOCH || told == known {
            return Ok(());
        }
        if told > known {
            return refuse("ahead of");
        }
        let owned = self.owned.as_deref();
        let is_behind = told == current.previous_epoch
            && owned.is_some_and(|owned| is_subset(owned, &current.assigned));
        if is_behind { Ok(()) } else { refuse("behind") }
    }
}

impl ConsumerGroup {
    /// The member that a static member's name stands for, which has to be the one that says so.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub(crate) fn check_static(&self, instance_id: &Str, member_id: &Str) -> Result<(), Refusal> {
        match self.static_members.get(instance_id) {
            None => Err(Refusal::new(
                ErrorCode::UnknownMemberId,
                format!("the group has no static member {instance_id}"),
            )),
            Some(current) if current != member_id => Err(Refusal::new(
                ErrorCode::FencedInstanceId,
                format!(
                    "{instance_id} is member {current} now: member {member_id} has been replaced"
                ),
            )),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn unknown_member(&self, member_id: &Str) -> Refusal {
        let message = format!("group {} has no member {member_id}", self.group_id);
        Refusal::new(ErrorCode::UnknownMemberId, message)
    }
}
