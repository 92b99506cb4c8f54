//! Who leads a partition when its replicas come and go. One partition at a time, no I/O; never
//! elects a replica that may lack acknowledged records unless the topic prefers that to having
//! no leader (Kafka: `PartitionChangeBuilder`).

use klamm_metadata::{LeaderRecoveryState, NO_LEADER, PartitionRegistration};
use klamm_model::{NodeId, PartitionIndex, TopicId};
use klamm_persisted::metadata::PartitionChangeRecord;

use crate::UncleanLeaderElection;

/// Whether partitions keep eligible leader replicas (KIP-966).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EligibleReplicas {
    /// A replica that leaves an ISR below min ISR stays eligible; the ISR may become empty.
    Kept,
    /// The last of the ISR stays in it, alive or not.
    Unknown,
}

/// What an election goes by.
pub(crate) struct Rules<'a> {
    /// Whether a node may lead a partition now: it is alive, and so is the log directory.
    pub(crate) may_lead: &'a dyn Fn(&PartitionRegistration, NodeId) -> bool,
    /// `min.insync.replicas` of the topic.
    pub(crate) min_insync_replicas: usize,
    /// `unclean.leader.election.enable` of the topic.
    pub(crate) unclean: UncleanLeaderElection,
    /// Whether eligible leader replicas are kept.
    pub(crate) eligible: EligibleReplicas,
    /// A replica whose disk may have lost what it had.
    pub(crate) unclean_shutdown: Option<NodeId>,
}

/// A change of one partition in the making.
pub(crate) struct Change<'a> {
    partition: &'a PartitionRegistration,
    rules: &'a Rules<'a>,
    isr: Vec<NodeId>,
    eligible: Vec<NodeId>,
}

enum Election {
    Clean(NodeId),
    Unclean(NodeId),
    Nobody,
}

impl<'a> Change<'a> {
    /// Changes the ISR to `isr`, and whatever follows from that.
    pub(crate) fn of_isr(
        partition: &'a PartitionRegistration,
        rules: &'a Rules<'a>,
        isr: Vec<NodeId>,
    ) -> Self {
        let eligible = match rules.eligible {
            EligibleReplicas::Unknown => partition.eligible_leader_replicas.clone(),
            EligibleReplicas::Kept => eligible_after(partition, rules, &isr),
        };
        Self { partition, rules, isr, eligible }
    }

    /// The record of the change; `None` if nothing changes.
    pub(crate) fn record(
        mut self,
        topic_id: TopicId,
        partition_id: PartitionIndex,
    ) -> Option<PartitionChangeRecord> {
        let unchanged =
            PartitionChangeRecord { topic_id, partition_id, ..PartitionChangeRecord::default() };
        let mut record = unchanged.clone();
        let elected = self.elect(&mut record);
        let may_be_empty = self.rules.eligible == EligibleReplicas::Kept;
        if record.isr.is_none()
            && (!self.isr.is_empty() || may_be_empty)
            && self.isr != self.partition.isr
        {
            record.isr = Some(ids(&self.isr));
        }
        if self.rules.eligible == EligibleReplicas::Kept {
            self.keep_eligible(&mut record, elected);
        }
        (record != unchanged).then_some(record)
    }

    /// Names a leader if it changes; gives who leads afterwards.
    fn elect(&mut self, record: &mut PartitionChangeRecord) -> Option<NodeId> {
        let elected = self.election();
        let leader = match elected {
            Election::Clean(node) | Election::Unclean(node) => Some(node),
            Election::Nobody => None,
        };
        if let (Some(node), true) = (leader, self.isr.is_empty()) {
            // From the eligible, or unclean: the ISR starts again with the leader.
            self.isr = vec![node];
            self.eligible.retain(|eligible| *eligible != node);
        }
        if leader != self.partition.leader {
            record.leader = leader.map_or(NO_LEADER, |node| node.0);
            if let Election::Unclean(node) = elected {
                // The others may have what the leader lacks: they must not count as in sync.
                record.isr = Some(vec![node.0]);
                self.isr = vec![node];
                if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                    record.leader_recovery_state = LeaderRecoveryState::Recovering.code();
                }
            }
        }
        leader
    }

    fn election(&self) -> Election {
        let may_lead = |node| (self.rules.may_lead)(self.partition, node);
        let clean = |node: &NodeId| {
            let in_sync =
                self.isr.contains(node) || (self.isr.is_empty() && self.eligible.contains(node));
            in_sync && may_lead(*node)
        };
        if let Some(leader) = self.partition.leader.filter(clean) {
            return Election::Clean(leader);
        }
        let replicas = &self.partition.replicas;
        if let Some(node) = replicas.iter().copied().find(clean) {
            return Election::Clean(node);
        }
        // The only one that led when nobody else was in sync has everything, if its disk does.
        if self.rules.eligible == EligibleReplicas::Kept
            && self.isr.is_empty()
            && self.eligible.is_empty()
            && let [last] = self.partition.last_known_elr[..]
            && may_lead(last)
        {
            return Election::Unclean(last);
        }
        if self.rules.unclean == UncleanLeaderElection::Enabled
            && let Some(node) = replicas.iter().copied().find(|node| may_lead(*node))
        {
            return Election::Unclean(node);
        }
        Election::Nobody
    }

    fn keep_eligible(&mut self, record: &mut PartitionChangeRecord, leader: Option<NodeId>) {
        if same(&self.eligible, &self.partition.eligible_leader_replicas) {
            // Order says nothing.
        } else {
            record.eligible_leader_replicas = Some(ids(&self.eligible));
        }
        let last_known = &self.partition.last_known_elr;
        if leader.is_some() {
            if !last_known.is_empty() {
                record.last_known_elr = Some(Vec::new());
            }
        } else if self.isr.is_empty()
            && let Some(last) = self.partition.leader
            && last_known[..] != [last]
        {
            // Only when the leader goes: it is the one to wait for.
            record.last_known_elr = Some(vec![last.0]);
        }
    }
}

/// The eligible leader replicas when the ISR becomes `isr`: none while the ISR is large enough,
/// or else those that were in sync or eligible before.
fn eligible_after(
    partition: &PartitionRegistration,
    rules: &Rules<'_>,
    isr: &[NodeId],
) -> Vec<NodeId> {
    if isr.len() >= rules.min_insync_replicas.min(partition.replicas.len()) {
        return Vec::new();
    }
    let mut eligible = Vec::new();
    for node in partition.eligible_leader_replicas.iter().chain(&partition.isr) {
        let lost = rules.unclean_shutdown == Some(*node);
        if !lost && !isr.contains(node) && !eligible.contains(node) {
            eligible.push(*node);
        }
    }
    eligible
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn same(a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().all(|node| b.contains(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::Uuid;

    struct Case {
        partition: PartitionRegistration,
        min_insync_replicas: usize,
        unclean: UncleanLeaderElection,
        eligible: EligibleReplicas,
        unclean_shutdown: Option<i32>,
    }

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// A partition on 1, 2 and 3 with this ISR, led by its first; min ISR 2.
    fn case(isr: &[i32], eligible: EligibleReplicas) -> Case {
        let partition = PartitionRegistration {
            replicas: nodes(&[1, 2, 3]),
            directories: vec![Uuid::DIRECTORY_UNASSIGNED; 3],
            isr: nodes(isr),
            leader: isr.first().copied().map(NodeId),
            ..PartitionRegistration::default()
        };
        let unclean = UncleanLeaderElection::Disabled;
        Case { partition, min_insync_replicas: 2, unclean, eligible, unclean_shutdown: None }
    }

    /// The partition with `isr` as the new ISR while only `alive` may lead.
    fn after(case: &Case, isr: &[i32], alive: &[i32]) -> PartitionRegistration {
        let rules = Rules {
            may_lead: &|_, node| alive.contains(&node.0),
            min_insync_replicas: case.min_insync_replicas,
            unclean: case.unclean,
            eligible: case.eligible,
            unclean_shutdown: case.unclean_shutdown.map(NodeId),
        };
        match Change::of_isr(&case.partition, &rules, nodes(isr)).record(Uuid(7), 0) {
            Some(record) => case.partition.merged(&record).unwrap(),
            None => case.partition.clone(),
        }
    }

    const BOTH: [EligibleReplicas; 2] = [EligibleReplicas::Kept, EligibleReplicas::Unknown];

    #[test]
    fn the_first_live_replica_of_the_isr_leads_when_the_leader_goes() {
        for eligible in BOTH {
            let next = after(&case(&[1, 2, 3], eligible), &[2, 3], &[2, 3]);
            assert_eq!((next.leader, next.leader_epoch.0), (Some(NodeId(2)), 1));
            assert_eq!(next.isr, nodes(&[2, 3]));
        }
    }

    #[test]
    fn a_follower_that_goes_leaves_the_isr_and_no_election_follows() {
        for eligible in BOTH {
            let next = after(&case(&[1, 2, 3], eligible), &[1, 2], &[1, 2]);
            assert_eq!((next.leader, next.leader_epoch.0), (Some(NodeId(1)), 0));
            assert_eq!((next.isr, next.partition_epoch), (nodes(&[1, 2]), 1));
        }
    }

    #[test]
    fn nothing_changed_is_no_record() {
        for eligible in BOTH {
            let case = case(&[1, 2, 3], eligible);
            assert_eq!(after(&case, &[1, 2, 3], &[1, 2, 3]), case.partition);
        }
    }

    #[test]
    fn the_last_of_the_isr_stays_in_it_where_nobody_keeps_eligible_replicas() {
        let next = after(&case(&[1], EligibleReplicas::Unknown), &[], &[2, 3]);
        assert_eq!((next.leader, next.isr), (None, nodes(&[1])));
    }

    #[test]
    fn who_leaves_an_isr_below_min_isr_is_eligible_and_comes_back_as_leader() {
        let mut case = case(&[1, 2], EligibleReplicas::Kept);
        case.partition = after(&case, &[1], &[1, 3]);
        assert_eq!(case.partition.eligible_leader_replicas, nodes(&[2]));
        case.partition = after(&case, &[], &[3]);
        assert_eq!((case.partition.leader, case.partition.isr.len()), (None, 0));
        assert!(same(&case.partition.eligible_leader_replicas, &nodes(&[1, 2])));
        assert_eq!(case.partition.last_known_elr, nodes(&[1]));
        case.partition = after(&case, &[], &[2, 3]);
        assert_eq!(case.partition.leader, Some(NodeId(2)));
        assert_eq!(case.partition.isr, nodes(&[2]));
        assert_eq!(case.partition.eligible_leader_replicas, nodes(&[1]));
        assert!(case.partition.last_known_elr.is_empty());
        assert_eq!(case.partition.leader_recovery_state, LeaderRecoveryState::Recovered);
    }

    #[test]
    fn an_isr_that_is_large_enough_again_needs_no_eligible_replicas() {
        let mut case = case(&[1], EligibleReplicas::Kept);
        case.partition.eligible_leader_replicas = nodes(&[2]);
        let next = after(&case, &[1, 3], &[1, 3]);
        assert!(next.eligible_leader_replicas.is_empty());
    }

    #[test]
    fn who_lost_its_disk_is_not_eligible() {
        let mut case = case(&[1], EligibleReplicas::Kept);
        case.unclean_shutdown = Some(1);
        case.partition = after(&case, &[], &[2, 3]);
        assert!(case.partition.eligible_leader_replicas.is_empty());
        assert_eq!(case.partition.leader, None);
        // The last leader comes back: it is elected, but has to recover.
        case.unclean_shutdown = None;
        let next = after(&case, &[], &[1, 2, 3]);
        assert_eq!((next.leader, next.isr), (Some(NodeId(1)), nodes(&[1])));
        assert_eq!(next.leader_recovery_state, LeaderRecoveryState::Recovering);
    }

    #[test]
    fn an_unclean_leader_is_alone_in_the_isr_and_has_to_recover() {
        for eligible in BOTH {
            let mut case = case(&[1], eligible);
            case.unclean = UncleanLeaderElection::Enabled;
            let next = after(&case, &[], &[3]);
            assert_eq!((next.leader, next.isr), (Some(NodeId(3)), nodes(&[3])));
            assert_eq!(next.leader_recovery_state, LeaderRecoveryState::Recovering);
        }
    }
}
