//! Leaving, one or several at a time (KIP-345).

use klamm_model::ErrorCode;
use klamm_stdx::Str;

use super::group::Group;
use super::state::State;
use crate::{Actions, Time};

/// Who leaves: a member by its id, or a static member by the operator's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Empty if only the instance is named.
    pub member_id: Str,
    /// Of a static member.
    pub instance_id: Option<Str>,
}

/// What became of one [`Leaver`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    /// Who.
    pub leaver: Leaver,
    /// Success or why not.
    pub error: ErrorCode,
}

impl Group {
    /// Members leave; the rest rebalances once.
    pub(crate) fn on_leave(
        &mut self,
        time: Time,
        leavers: Vec<Leaver>,
        actions: &mut Actions,
    ) -> Vec<LeftMember> {
        let before = self.members.len();
        let left = leavers.into_iter().map(|leaver| self.leave(leaver, actions)).collect();
        if self.members.len() < before {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(time, actions),
                State::PreparingRebalance => self.maybe_complete_join(time, actions),
                State::Empty | State::Dead => {}
            }
        } else {
            self.maybe_complete_join(time, actions);
        }
        left
    }

    fn leave(&mut self, leaver: Leaver, actions: &mut Actions) -> LeftMember {
        let error = match self.resolve(&leaver) {
            Ok(member_id) => {
                if self.pending_members.remove(&member_id).is_none() {
                    self.remove_member(&member_id, actions);
                }
                ErrorCode::None
            }
            Err(error) => error,
        };
        LeftMember { leaver, error }
    }

    fn resolve(&self, leaver: &Leaver) -> Result<Str, ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        match &leaver.instance_id {
            // An administrator may name the instance alone.
            Some(instance_id) if leaver.member_id.is_empty() => {
                self.static_members.get(instance_id).cloned().ok_or(ErrorCode::UnknownMemberId)
            }
            None if self.pending_members.contains_key(&leaver.member_id) => {
                Ok(leaver.member_id.clone())
            }
            instance_id => {
                self.check_member(&leaver.member_id, instance_id.as_ref())?;
                Ok(leaver.member_id.clone())
            }
        }
    }
}
