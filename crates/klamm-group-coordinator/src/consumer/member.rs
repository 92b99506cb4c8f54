//! One member of a consumer group: what it asked for, and what it has.

use klamm_env::Moment;
use klamm_persisted::group::consumer_group_member_metadata_value::ClassicMemberMetadata;
use klamm_stdx::Str;

use super::partitions::Owned;

/// The member left, or was removed; also what a client sends to leave.
pub const LEAVE_EPOCH: i32 = -1;
/// A static member left and comes back.
pub const STATIC_LEAVE_EPOCH: i32 = -2;
/// A client sends it to join.
pub const JOIN_EPOCH: i32 = 0;

/// Where a member stands between what it has and what it is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// It has all of its epoch's target.
    #[default]
    Stable,
    /// It was told to give up partitions and has not said that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// A newer version wrote it.
    Unknown,
}

impl MemberState {
    /// Kafka's number.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    /// By Kafka's number.
    #[must_use]
    pub fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// Who a member is and what it wants to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// Chosen by the operator; a static member keeps its place over restarts.
    pub instance_id: Option<Str>,
    /// Where it runs.
    pub rack_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// The client's address.
    pub client_host: Str,
    /// Topics by name, in order.
    pub names: Vec<Str>,
    /// Topics by pattern; never empty.
    pub regex: Option<Str>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub assignor: Option<Str>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMemberMetadata>,
}

impl Subscription {
    /// Whether the member speaks the classic protocol.
    #[must_use]
    pub fn is_classic(&self) -> bool {
        self.classic.is_some()
    }
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// The epoch that it was told last.
    pub epoch: i32,
    /// The one before.
    pub previous_epoch: i32,
    /// Where it stands.
    pub state: MemberState,
    /// What it may read.
    pub assigned: Owned,
    /// What it has to give up.
    pub revoking: Owned,
}

impl Current {
    /// Whether there is nothing left to do for a target of this epoch.
    #[must_use]
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// The same in another epoch; the one before is remembered.
    pub(crate) fn in_epoch(&self, epoch: i32) -> Self {
        let previous_epoch = if epoch == self.epoch { self.previous_epoch } else { self.epoch };
        Self { epoch, previous_epoch, ..self.clone() }
    }
}

/// A member.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Who it is and what it wants.
    pub subscription: Subscription,
    /// What it has.
    pub current: Current,
    /// When it is taken for dead.
    pub(crate) expires_at: Option<Moment>,
    /// By when it has to have given up what it was told to.
    pub(crate) revoke_by: Option<Moment>,
    /// By when a classic member that was told to has to have joined again.
    pub(crate) join_by: Option<Moment>,
    /// By when a classic member that has joined has to ask for its part.
    pub(crate) sync_by: Option<Moment>,
}

impl Member {
    /// When something about it is due.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        [self.expires_at, self.revoke_by, self.join_by, self.sync_by].into_iter().flatten().min()
    }

    /// How long it may take to give something up, to join again, or to ask for its part.
    pub(crate) fn rebalance_timeout_ms(&self) -> u64 {
        u64::try_from(self.subscription.rebalance_timeout_ms).unwrap_or(0)
    }
}
