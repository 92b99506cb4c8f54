//! When each broker was last heard. Never fences anyone: it says whose session is over.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_env::Moment;
use klamm_metadata::ClusterImage;
use klamm_model::{BrokerEpoch, NodeId};

/// The sessions of brokers. Not replicated: a new controller gives every broker a whole session.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    session: Duration,
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    epoch: BrokerEpoch,
    at: Moment,
    proof: Proof,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// It spoke.
    Contact,
    /// A controller before this one unfenced it: it gets a whole session to speak, but another
    /// process may take its place. A node that restarts with its controller does not wait for
    /// itself.
    Hearsay,
}

impl Heartbeats {
    pub(crate) fn new(session_timeout_ms: u64) -> Self {
        Self { session: Duration::from_millis(session_timeout_ms), heard: BTreeMap::new() }
    }

    /// A broker is alive in this life.
    pub(crate) fn on_contact(&mut self, id: NodeId, epoch: BrokerEpoch, now: Moment) {
        self.heard.insert(id, Heard { epoch, at: now, proof: Proof::Contact });
    }

    /// This controller starts: every unfenced broker gets a whole session.
    pub(crate) fn on_activation(&mut self, cluster: &ClusterImage, now: Moment) {
        for broker in cluster.brokers.values().filter(|broker| !broker.fenced) {
            let heard = Heard { epoch: broker.epoch, at: now, proof: Proof::Hearsay };
            self.heard.entry(broker.id).or_insert(heard);
        }
    }

    /// A broker is gone.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.heard.remove(&id);
    }

    /// Whether the broker was heard in this life and not too long ago.
    pub(crate) fn has_session(&self, id: NodeId, epoch: BrokerEpoch, now: Moment) -> bool {
        self.heard.get(&id).is_some_and(|heard| {
            heard.proof == Proof::Contact
                && heard.epoch == epoch
                && now.since(heard.at) < self.session
        })
    }

    /// Unfenced brokers whose session is over.
    pub(crate) fn expired(&mut self, cluster: &ClusterImage, now: Moment) -> Vec<NodeId> {
        self.heard.retain(|id, _| cluster.brokers.contains_key(id));
        self.on_activation(cluster, now);
        let is_over = |id: &NodeId| {
            self.heard.get(id).is_some_and(|heard| now.since(heard.at) >= self.session)
        };
        let unfenced = cluster.brokers.values().filter(|broker| !broker.fenced);
        unfenced.map(|broker| broker.id).filter(is_over).collect()
    }

    /// When the next session of an unfenced broker is over, unless it is heard before.
    pub(crate) fn next_timeout(&self, cluster: &ClusterImage) -> Option<Moment> {
        let unfenced = |id: &NodeId| cluster.broker(*id).is_some_and(|broker| !broker.fenced);
        let sessions = self.heard.iter().filter(|(id, _)| unfenced(id));
        sessions.map(|(_, heard)| heard.at + self.session).min()
    }
}
