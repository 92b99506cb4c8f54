//! Who may commit and read offsets in a consumer group (Kafka:
//! `ConsumerGroup.validateOffsetCommit`, `validateOffsetFetch`).

use klamm_metadata::MetadataImage;
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::group::ConsumerGroup;
use super::member::Member;
use crate::classic::Membership;
use crate::offsets::{MemberEpochs, OffsetCommit, OffsetToCommit};

impl ConsumerGroup {
    /// Whether these offsets may be committed by who says so.
    ///
    /// # Errors
    /// The error for the client.
    pub(crate) fn check_commit(
        &self,
        commit: &OffsetCommit,
        membership: Membership,
        image: &MetadataImage,
    ) -> Result<(), ErrorCode> {
        let epoch = commit.generation_id.0;
        if epoch < 0 && self.members.is_empty() {
            // An administrator, or a consumer that assigns partitions to itself.
            return Ok(());
        }
        let says_nothing = epoch < 0 && commit.member_id.is_empty() && commit.instance_id.is_none();
        if membership == Membership::IfTold && says_nothing {
            return Ok(());
        }
        let member = self.member(&commit.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_classic = member.subscription.is_classic();
        if membership == Membership::Needed && !is_classic && commit.epochs == MemberEpochs::Unknown
        {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let is_owned = |line: &OffsetToCommit| is_owned_since(member, line, epoch, image);
        if epoch == member.current.epoch
            || (epoch < member.current.epoch && commit.offsets.iter().all(is_owned))
        {
            return Ok(());
        }
        Err(if is_classic { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch })
    }

    /// Whether a member may read offsets; who says nothing may.
    ///
    /// # Errors
    /// The error for the client.
    pub(crate) fn check_fetch(&self, (member_id, epoch): &(Str, i32)) -> Result<(), ErrorCode> {
        if member_id.is_empty() && *epoch < 0 {
            return Ok(());
        }
        let member = self.member(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        match (*epoch == member.current.epoch, &member.subscription.classic) {
            (true, _) => Ok(()),
            (false, None) => Err(ErrorCode::StaleMemberEpoch),
            (false, Some(_)) => Err(ErrorCode::IllegalGeneration),
        }
    }
}

/// A member that has not heard of its newest epoch may commit what it had in the older one and
/// still has (KIP-1251).
fn is_owned_since(
    member: &Member,
    line: &OffsetToCommit,
    epoch: i32,
    image: &MetadataImage,
) -> bool {
    let Some(topic_id) = line.topic_id.or_else(|| image.topics.id(&line.topic)) else {
        return false;
    };
    let since = [&member.current.assigned, &member.current.revoking]
        .into_iter()
        .find_map(|owned| owned.get(&topic_id)?.get(&line.partition));
    since.is_some_and(|since| *since <= epoch)
}
