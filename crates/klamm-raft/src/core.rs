//! The decisions of the quorum, as functions of what is known. No file, no clock, no socket.

use klamm_model::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::{QuorumState, RaftError, Voter};

/// What a node knows of the quorum before it takes part.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// This node.
    pub node_id: NodeId,
    /// The directory of its metadata log.
    pub directory_id: Uuid,
    /// Who votes.
    pub voters: &'a [Voter],
    /// What the last life wrote down.
    pub state: Option<QuorumState>,
    /// The epoch of the last batch in the log or in the newest snapshot.
    pub last_epoch: LeaderEpoch,
}

/// Elects: a single voter has its own vote, which is the majority, so it leads at once in an
/// epoch that nobody has used.
///
/// # Errors
/// This node may not lead: it is no voter, it is another one, or others would have to vote.
pub fn elect(known: &Known<'_>) -> Result<LeaderEpoch, RaftError> {
    let voters = known.voters;
    let Some(own) = voters.iter().find(|voter| voter.node_id == known.node_id) else {
        return Err(match voters {
            [] => RaftError::NoVoters,
            _ => RaftError::NotAVoter {
                node_id: known.node_id,
                voters: voters.iter().map(|voter| voter.node_id).collect(),
            },
        });
    };
    if voters.len() > 1 {
        return Err(RaftError::ManyVoters { count: voters.len() });
    }
    if let Some(expected) = own.directory_id.filter(|id| *id != known.directory_id) {
        return Err(RaftError::OtherDirectory { expected, actual: known.directory_id });
    }
    let written = known.state.map_or(LeaderEpoch(0), |state| state.leader_epoch);
    let last = written.max(known.last_epoch);
    match last.0.checked_add(1) {
        Some(epoch) => Ok(LeaderEpoch(epoch)),
        None => Err(RaftError::EpochsUsedUp { epoch: last }),
    }
}

/// The high watermark: what a majority has on its disks (the median of what each voter has).
#[must_use]
pub fn high_watermark(synced: &mut [Offset]) -> Option<Offset> {
    synced.sort_unstable_by(|a, b| b.cmp(a));
    synced.get(synced.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32) -> Voter {
        Voter { node_id: NodeId(id), directory_id: None, endpoints: Vec::new() }
    }

    fn known(voters: &[Voter]) -> Known<'_> {
        Known {
            node_id: NodeId(1),
            directory_id: Uuid(200),
            voters,
            state: None,
            last_epoch: LeaderEpoch(0),
        }
    }

    fn state(epoch: i32) -> QuorumState {
        QuorumState { leader_id: None, leader_epoch: LeaderEpoch(epoch), voted: None }
    }

    #[test]
    fn a_single_voter_leads_in_the_epoch_after_the_last_it_can_know_of() {
        let voters = [voter(1)];
        assert_eq!(elect(&known(&voters)).unwrap(), LeaderEpoch(1));
        let later = Known { state: Some(state(7)), ..known(&voters) };
        assert_eq!(elect(&later).unwrap(), LeaderEpoch(8));
        let log_ahead = Known { last_epoch: LeaderEpoch(9), ..later };
        assert_eq!(elect(&log_ahead).unwrap(), LeaderEpoch(10));
    }

    #[test]
    fn who_may_not_lead_is_told_why() {
        assert!(matches!(elect(&known(&[])), Err(RaftError::NoVoters)));
        assert!(matches!(elect(&known(&[voter(2)])), Err(RaftError::NotAVoter { .. })));
        let many = [voter(1), voter(2)];
        assert!(matches!(elect(&known(&many)), Err(RaftError::ManyVoters { count: 2 })));
        let other = [Voter { directory_id: Some(Uuid(201)), ..voter(1) }];
        assert!(matches!(elect(&known(&other)), Err(RaftError::OtherDirectory { .. })));
        let voters = [voter(1)];
        let last = Known { state: Some(state(i32::MAX)), ..known(&voters) };
        assert!(matches!(elect(&last), Err(RaftError::EpochsUsedUp { .. })));
    }

    #[test]
    fn what_a_majority_has_is_committed() {
        let check = |offsets: &[i64], expected| {
            let mut synced: Vec<_> = offsets.iter().copied().map(Offset).collect();
            assert_eq!(high_watermark(&mut synced), Some(Offset(expected)));
        };
        check(&[5], 5);
        check(&[5, 3], 3);
        check(&[1, 9, 5], 5);
        check(&[9, 9, 1, 1], 1);
        assert_eq!(high_watermark(&mut []), None);
    }
}
