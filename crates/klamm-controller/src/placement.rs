//! Which brokers get the replicas of new partitions. Never looks at load; spreads leaders and
//! followers evenly over brokers, and the replicas of a partition over racks.
//!
//! Racks take turns to lead. Within a rack, the turn passes to the next broker after each full
//! round of racks. Followers come from the racks after the leader's, one broker of each rack
//! before a second of any; where they start moves on after each pass over all brokers, so that
//! the followers of one broker's partitions are not always the same. The same aims as Kafka's
//! `StripedReplicaPlacer`, by arithmetic in place of shuffling.

use std::collections::BTreeMap;

use klamm_metadata::ClusterImage;
use klamm_model::{ErrorCode, NodeId};
use klamm_stdx::Str;

use crate::ApiError;

#[derive(Debug, Default)]
struct Rack {
    unfenced: Vec<NodeId>,
    fenced: Vec<NodeId>,
}

/// Gives out replicas, one partition after another.
#[derive(Debug)]
pub(crate) struct Placement {
    racks: Vec<Rack>,
    broker_count: usize,
    /// Brokers of the largest rack.
    pass: usize,
    next: usize,
}

impl Placement {
    /// Starts somewhere: `random` decides, so that small topics do not all begin on one broker.
    pub(crate) fn new(cluster: &ClusterImage, random: u64) -> Self {
        let mut racks: BTreeMap<Option<&Str>, Rack> = BTreeMap::new();
        for broker in cluster.brokers.values().filter(|broker| !broker.in_controlled_shutdown) {
            let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
            let is_full =
                !broker.log_dirs.is_empty() && broker.log_dirs.iter().all(|d| cordoned.contains(d));
            if is_full {
                continue;
            }
            let rack = racks.entry(broker.rack.as_ref()).or_default();
            let brokers = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            brokers.push(broker.id);
        }
        let racks: Vec<Rack> = racks.into_values().collect();
        let broker_count = racks.iter().map(|rack| rack.unfenced.len() + rack.fenced.len()).sum();
        let pass = racks.iter().map(|rack| rack.unfenced.len()).max().unwrap_or(0).max(1);
        let next = (random % START_MAX) as usize;
        Self { racks, broker_count, pass, next }
    }

    /// The replicas of the next partition: the first is unfenced; fenced brokers come last.
    ///
    /// # Errors
    /// There are not enough brokers, or all are fenced.
    pub(crate) fn place(&mut self, replication_factor: usize) -> Result<Vec<NodeId>, ApiError> {
        if replication_factor > self.broker_count {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "replication factor {replication_factor} cannot be reached: {} broker(s) are registered and take replicas",
                    self.broker_count
                ),
            ));
        }
        // Racks where someone can lead; the others only fill up.
        let (leading, rest): (Vec<&Rack>, Vec<&Rack>) =
            self.racks.iter().partition(|rack| !rack.unfenced.is_empty());
        if leading.is_empty() {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "no partition can be placed: all brokers are fenced",
            ));
        }
        let partition = self.next;
        self.next += 1;
        let (first, turn) = (partition % leading.len(), partition / leading.len());
        let shift = turn / self.pass;
        let in_order = || (0..leading.len()).map(|i| leading[(first + i) % leading.len()]);
        let mut replicas = Vec::with_capacity(replication_factor);
        for round in 0..self.pass {
            for (distance, rack) in in_order().enumerate() {
                let at = if distance == 0 {
                    leaders_rack(turn, round, shift, rack.unfenced.len())
                } else {
                    others_rack(turn, round, shift, rack.unfenced.len())
                };
                replicas.extend(at.map(|at| rack.unfenced[at]));
            }
        }
        // A rack's own fenced brokers, then those of racks with nobody else.
        replicas.extend(in_order().chain(rest).flat_map(|rack| rack.fenced.iter().copied()));
        replicas.truncate(replication_factor);
        Ok(replicas)
    }
}

/// Random starting points are below this: far from overflow, more than any cluster has brokers.
const START_MAX: u64 = 1 << 20;

/// The broker of the leader's rack in a round: the leader first, then the others beginning
/// `shift` later.
fn leaders_rack(turn: usize, round: usize, shift: usize, len: usize) -> Option<usize> {
    match round {
        0 => Some(turn % len),
        _ if round >= len => None,
        _ => Some((turn + 1 + (shift + round - 1) % (len - 1)) % len),
    }
}

fn others_rack(turn: usize, round: usize, shift: usize, len: usize) -> Option<usize> {
    (round < len).then(|| (turn + round + shift) % len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_metadata::BrokerRegistration;
    use klamm_persisted::metadata::RegisterBrokerRecord;
    use std::collections::HashSet;
    use std::sync::Arc;

    /// A broker of a rack, fenced if its id is 100 or more.
    fn cluster(brokers: &[(i32, Option<&str>)]) -> ClusterImage {
        let mut cluster = ClusterImage::default();
        for (id, rack) in brokers {
            let broker = BrokerRegistration::from_record(&RegisterBrokerRecord {
                broker_id: *id,
                rack: rack.map(Str::from),
                fenced: *id >= 100,
                ..RegisterBrokerRecord::default()
            });
            cluster.brokers.insert(NodeId(*id), Arc::new(broker));
        }
        cluster
    }

    fn place(cluster: &ClusterImage, partitions: usize, factor: usize) -> Vec<Vec<i32>> {
        let mut placement = Placement::new(cluster, 0);
        let ids = |replicas: Vec<NodeId>| replicas.iter().map(|node| node.0).collect();
        (0..partitions).map(|_| ids(placement.place(factor).unwrap())).collect()
    }

    /// How often each broker is at `position`, least and most.
    fn spread(placed: &[Vec<i32>], brokers: &[i32], of: fn(&[i32], i32) -> bool) -> (usize, usize) {
        let count = |id: &i32| placed.iter().filter(|replicas| of(replicas, *id)).count();
        let counts: Vec<usize> = brokers.iter().map(count).collect();
        (*counts.iter().min().unwrap(), *counts.iter().max().unwrap())
    }

    #[test]
    fn leaders_and_replicas_are_spread_evenly_without_racks() {
        let cluster = cluster(&[(1, None), (2, None), (3, None), (4, None)]);
        let placed = place(&cluster, 24, 3);
        let all = [1, 2, 3, 4];
        assert_eq!(spread(&placed, &all, |replicas, id| replicas[0] == id), (6, 6));
        assert_eq!(spread(&placed, &all, |replicas, id| replicas.contains(&id)), (18, 18));
    }

    #[test]
    fn replicas_are_in_different_racks_and_every_broker_leads() {
        let racks: Vec<_> = (0..9).map(|id| (id, Some(["a", "b", "c"][id as usize % 3]))).collect();
        let placed = place(&cluster(&racks), 27, 3);
        for replicas in &placed {
            assert_eq!(replicas.iter().map(|id| id % 3).collect::<HashSet<_>>().len(), 3);
        }
        let all: Vec<i32> = (0..9).collect();
        assert_eq!(spread(&placed, &all, |replicas, id| replicas[0] == id), (3, 3));
        assert_eq!(spread(&placed, &all, |replicas, id| replicas.contains(&id)), (9, 9));
    }

    #[test]
    fn the_followers_of_a_broker_are_not_always_the_same() {
        let brokers: Vec<_> = (0..5).map(|id| (id, None)).collect();
        let placed = place(&cluster(&brokers), 20, 2);
        let followers: HashSet<i32> =
            placed.iter().filter(|replicas| replicas[0] == 0).map(|replicas| replicas[1]).collect();
        assert_eq!(followers.len(), 4);
    }

    #[test]
    fn more_replicas_than_racks_use_a_rack_twice_but_never_a_broker() {
        let cluster = cluster(&[(1, Some("a")), (2, Some("a")), (3, Some("b"))]);
        for replicas in place(&cluster, 12, 3) {
            assert_eq!(replicas.iter().collect::<HashSet<_>>().len(), 3, "{replicas:?}");
        }
    }

    #[test]
    fn fenced_brokers_fill_up_and_never_lead() {
        let cluster = cluster(&[(1, None), (2, None), (100, None), (101, Some("b"))]);
        for replicas in place(&cluster, 12, 4) {
            assert!(replicas[0] < 100 && replicas[1] < 100, "{replicas:?}");
            assert_eq!(replicas.iter().collect::<HashSet<_>>().len(), 4);
        }
    }

    #[test]
    fn too_few_brokers_or_only_fenced_ones_are_refused() {
        let refused = |brokers: &[_], factor| {
            Placement::new(&cluster(brokers), 7).place(factor).unwrap_err().code
        };
        assert_eq!(refused(&[], 1), ErrorCode::InvalidReplicationFactor);
        assert_eq!(refused(&[(1, None)], 2), ErrorCode::InvalidReplicationFactor);
        assert_eq!(refused(&[(100, None)], 1), ErrorCode::InvalidReplicationFactor);
    }

    #[test]
    fn a_broker_that_is_about_to_stop_or_has_no_open_directory_takes_nothing() {
        let mut cluster = cluster(&[(1, None), (2, None), (3, None)]);
        for (id, stopping) in [(1, true), (2, false)] {
            let broker = cluster.brokers.get_mut(&NodeId(id)).unwrap();
            let broker = Arc::make_mut(broker);
            broker.in_controlled_shutdown = stopping;
            broker.log_dirs = vec![klamm_model::Uuid(201)];
            broker.cordoned_log_dirs = Some(vec![klamm_model::Uuid(201)]);
        }
        assert_eq!(place(&cluster, 2, 1), [[3], [3]]);
    }
}
