//! Who forms the metadata quorum.

use klamm_model::NodeId;

use crate::listener::parse_host_port;
use crate::node::Roles;
use crate::reader::Reader;
use crate::value::items;

/// A voter of the metadata quorum, as `controller.quorum.voters` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// The node.
    pub node_id: NodeId,
    /// Where its controller listens.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How a node finds the metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuorumConfig {
    /// The fixed voters; empty with a quorum whose voters are in its log.
    pub voters: Vec<Voter>,
    /// Where to ask for the quorum.
    pub bootstrap_servers: Vec<(String, u16)>,
}

pub(crate) fn read(r: &Reader<'_>, node_id: NodeId, roles: Roles) -> QuorumConfig {
    let key = "controller.quorum.voters";
    let mut voters: Vec<Voter> = Vec::new();
    for item in items(&r.text(key)) {
        let parsed = item.split_once('@').and_then(|(id, address)| {
            let id = id.parse::<i32>().ok().filter(|id| *id >= 0)?;
            let (host, port) = parse_host_port(address).filter(|(host, _)| !host.is_empty())?;
            Some(Voter { node_id: NodeId(id), host, port })
        });
        match parsed {
            Some(voter) if voters.iter().any(|v| v.node_id == voter.node_id) => {
                r.refuse(key, format!("node {} is named twice", voter.node_id));
            }
            Some(voter) => voters.push(voter),
            None => r.refuse(key, format!("'{item}' is not id@host:port")),
        }
    }
    let is_voter = voters.iter().any(|v| v.node_id == node_id);
    if !voters.is_empty() && roles.controller && !is_voter {
        r.refuse(key, format!("node {node_id} is a controller and is not among them"));
    }
    if is_voter && !roles.controller {
        r.refuse(key, format!("node {node_id} is only a broker and is among them"));
    }
    let key = "controller.quorum.bootstrap.servers";
    let mut bootstrap_servers = Vec::new();
    for item in items(&r.text(key)) {
        match parse_host_port(item).filter(|(host, _)| !host.is_empty()) {
            Some(server) => bootstrap_servers.push(server),
            None => r.refuse(key, format!("'{item}' is not host:port")),
        }
    }
    if !roles.controller && voters.is_empty() && bootstrap_servers.is_empty() {
        r.conflict(
            "a node that is only a broker needs controller.quorum.bootstrap.servers or \
             controller.quorum.voters"
                .to_owned(),
        );
    }
    QuorumConfig { voters, bootstrap_servers }
}
