//! What a node's configuration says about its metadata log.

use std::path::PathBuf;

use klamm_model::{NodeId, Uuid};

use crate::Voter;

/// When snapshots are written and how long they and the log are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRules {
    /// Bytes of records between two snapshots.
    pub bytes_between: u64,
    /// Longest time between two snapshots if there are new records; `None`: any.
    pub interval_ms: Option<u64>,
    /// Most bytes of snapshots and log that are kept; `None`: all.
    pub retention_bytes: Option<u64>,
    /// Longest time that a superseded snapshot is kept; `None`: for ever.
    pub retention_ms: Option<i64>,
}

/// What a node's configuration says about its metadata log.
#[derive(Debug, Clone)]
pub struct QuorumOptions {
    /// This node.
    pub node_id: NodeId,
    /// The directory that holds the metadata log's directory.
    pub log_dir: PathBuf,
    /// Its id.
    pub directory_id: Uuid,
    /// The fixed voters (`controller.quorum.voters`); ignored once the log names voters.
    pub fixed_voters: Vec<Voter>,
    /// Snapshots.
    pub snapshots: SnapshotRules,
    /// Size at which the log begins a new file.
    pub segment_bytes: u64,
    /// Age at which the log begins a new file.
    pub segment_ms: u64,
}
