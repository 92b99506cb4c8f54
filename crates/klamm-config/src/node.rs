//! Who a node is, and where its files are.

use std::path::PathBuf;

use klamm_model::NodeId;

use crate::reader::Reader;
use crate::value::items;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It keeps partitions and serves clients.
    pub broker: bool,
    /// It takes part in the metadata quorum.
    pub controller: bool,
}

/// Identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The node's number.
    pub node_id: NodeId,
    /// What it is.
    pub roles: Roles,
    /// Its rack.
    pub rack: Option<String>,
    /// Where partitions are.
    pub log_dirs: Vec<PathBuf>,
    /// Those of them that get no new partitions; `*` for all.
    pub cordoned_log_dirs: Vec<String>,
    /// Where the metadata log is.
    pub metadata_log_dir: PathBuf,
    /// Whether feature levels in development may be chosen.
    pub unstable_feature_versions: bool,
    /// How long a stopping node waits for requests in progress.
    pub shutdown_timeout_ms: u64,
}

pub(crate) fn read(r: &Reader<'_>, roles: Roles) -> NodeConfig {
    let node_id = match (r.given_text("node.id"), r.given_text("broker.id")) {
        (Some(node), Some(broker)) if node.trim() != broker.trim() => {
            r.conflict(format!("node.id is {node} and broker.id is {broker}; they must agree"));
            r.number("node.id")
        }
        (None, Some(_)) => r.number::<i32>("broker.id"),
        _ => r.number("node.id"),
    };
    if node_id < 0 {
        r.refuse("broker.id", "expected 0 or more".to_owned());
    }
    let dirs_key = if r.given_text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let log_dirs: Vec<PathBuf> = items(&r.text(dirs_key)).map(PathBuf::from).collect();
    if log_dirs.is_empty() || log_dirs.iter().any(|dir| dir.as_os_str().is_empty()) {
        r.refuse(dirs_key, "at least one directory is needed, and none may be empty".to_owned());
    }
    let metadata_log_dir = r.given_text("metadata.log.dir").map(PathBuf::from);
    let first = log_dirs.first().cloned().unwrap_or_default();
    NodeConfig {
        node_id: NodeId(node_id),
        roles,
        rack: r.given_text("broker.rack").filter(|rack| !rack.is_empty()),
        metadata_log_dir: metadata_log_dir.unwrap_or(first),
        log_dirs,
        cordoned_log_dirs: r.list("cordoned.log.dirs"),
        unstable_feature_versions: r.flag("unstable.feature.versions.enable"),
        shutdown_timeout_ms: r.number("klamm.shutdown.timeout.ms"),
    }
}
