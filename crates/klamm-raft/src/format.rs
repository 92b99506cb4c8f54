//! Formatting: what `kafka-storage format` writes, so that a directory can be taken into use.
//!
//! Every log directory gets `meta.properties` and `bootstrap.checkpoint`, the first metadata
//! records of the cluster; the metadata directory of a quorum whose voters are in its log gets a
//! first snapshot with the voters (KIP-853). Never touches a directory that is formatted.

use std::path::{Path, PathBuf};

use klamm_env::{Disk, Env};
use klamm_log::{LogDir, MetaProperties, names};
use klamm_metadata::MetadataVersion;
use klamm_metadata::features::{Feature, KRAFT_VERSION};
use klamm_model::{LeaderEpoch, METADATA_TOPIC, NodeId, Timestamp, Uuid};

use crate::files::WrittenFiles;
use crate::snapshot::{self, Contents};
use crate::{RaftError, SnapshotId, Voter, VoterEndpoint};

mod bootstrap;
mod error;
mod scram;

pub(crate) use bootstrap::activation_records;
use bootstrap::{BOOTSTRAP_CHECKPOINT, FirstRecords, bootstrap_file};
pub use error::FormatError;
pub use scram::{ScramCredential, scram_record};

const META_PROPERTIES: &str = "meta.properties";

/// Who votes in the new cluster's quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatVoters {
    /// The nodes of `controller.quorum.voters`, for ever (kraft.version 0).
    Fixed,
    /// This node alone, others may join.
    Standalone(VoterEndpoint),
    /// These nodes; this one must be among them unless it is only a broker.
    Initial(Vec<Voter>),
    /// Others: this node learns them when it joins.
    Others,
}

/// What to format.
#[derive(Debug, Clone)]
pub struct Format {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// All log directories.
    pub log_dirs: Vec<PathBuf>,
    /// The directory of the metadata log; it may be one of `log_dirs`.
    pub metadata_log_dir: PathBuf,
    /// The metadata version that the cluster starts with.
    pub metadata_version: MetadataVersion,
    /// Levels of features that differ from that version's.
    pub features: Vec<(String, i16)>,
    /// Who votes.
    pub voters: FormatVoters,
    /// Users that exist from the beginning.
    pub scram: Vec<ScramCredential>,
    /// Whether formatted directories are left as they are; else they are an error.
    pub ignore_formatted: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatReport {
    /// Directories that were formatted, with their new ids.
    pub formatted: Vec<(PathBuf, Uuid)>,
    /// Directories that were formatted before.
    pub skipped: Vec<PathBuf>,
}

/// Formats the directories that are not formatted yet. Everything is written, then synced once.
///
/// # Errors
/// Nothing was formatted, but for a failed disk: then run it again with other directories.
pub fn format(env: &Env, format: &Format) -> Result<FormatReport, FormatError> {
    let disk = env.disk.as_ref();
    let wall = env.clock.wall();
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '=' | ':' | '\\');
    if format.cluster_id.is_empty() || format.cluster_id.contains(is_bad) {
        let what = format!("'{}' is no cluster id", format.cluster_id.escape_default());
        return Err(FormatError::ClusterId(what));
    }
    let first = FirstRecords {
        metadata_version: format.metadata_version,
        features: &format.features,
        scram: &format.scram,
    };
    let bootstrap = bootstrap_file(first, wall)?;
    let (fresh, skipped) = split(disk, format)?;
    let voters = checked_voters(format)?;
    let mut report = FormatReport { formatted: Vec::new(), skipped };
    let mut written = WrittenFiles::default();
    for path in fresh {
        let is_metadata_dir = path == format.metadata_log_dir;
        let own = voters.iter().find(|voter| voter.node_id == format.node_id);
        let given = own.and_then(|voter| voter.directory_id).filter(|_| is_metadata_dir);
        let directory_id = given.unwrap_or_else(|| env.random.uuid());
        let result = write_dir(
            disk,
            &mut written,
            &DirFiles {
                path: &path,
                bootstrap: &bootstrap,
                voters: is_metadata_dir
                    .then(|| with_directory(&voters, format.node_id, directory_id)),
                meta: MetaProperties {
                    cluster_id: format.cluster_id.clone(),
                    node_id: format.node_id,
                    directory_id: Some(directory_id),
                },
                wall,
            },
        );
        result?;
        report.formatted.push((path, directory_id));
    }
    let io = |error| RaftError::Io { path: format.metadata_log_dir.clone(), error };
    written.finish(disk).map_err(io)?;
    Ok(report)
}

struct DirFiles<'a> {
    path: &'a Path,
    bootstrap: &'a [u8],
    voters: Option<Vec<Voter>>,
    meta: MetaProperties,
    wall: Timestamp,
}

fn write_dir(
    disk: &dyn Disk,
    written: &mut WrittenFiles,
    files: &DirFiles<'_>,
) -> Result<(), FormatError> {
    let path = files.path;
    disk.create_dir_all(path).map_err(RaftError::io(path))?;
    let mut write = |path: PathBuf, bytes: &[u8]| {
        written.write(disk, &path, bytes).map_err(RaftError::io(&path))
    };
    write(path.join(BOOTSTRAP_CHECKPOINT), files.bootstrap)?;
    if let Some(voters) = files.voters.as_ref().filter(|voters| !voters.is_empty()) {
        let dir = path.join(names::partition_dir(METADATA_TOPIC, 0));
        disk.create_dir_all(&dir).map_err(RaftError::io(&dir))?;
        let bytes = snapshot::encode(&Contents {
            epoch: LeaderEpoch(0),
            last_timestamp: files.wall,
            voters: Some(voters),
            frames: &[],
            wall: files.wall,
        });
        let bytes = bytes.map_err(|e| FormatError::Voters(e.to_string()))?;
        write(dir.join(SnapshotId::BOOTSTRAP.file_name()), &bytes)?;
    }
    // Last: this file is what makes a directory formatted.
    write(path.join(META_PROPERTIES), files.meta.to_text(files.wall).as_bytes())?;
    Ok(())
}

/// Directories to format, and those that are.
fn split(disk: &dyn Disk, format: &Format) -> Result<(Vec<PathBuf>, Vec<PathBuf>), FormatError> {
    let mut fresh = Vec::new();
    let mut formatted = Vec::new();
    let dirs = format.log_dirs.iter().chain([&format.metadata_log_dir]);
    for path in dirs {
        if fresh.contains(path) || formatted.contains(path) {
            continue;
        }
        let foreign = |what| FormatError::Foreign { path: path.clone(), what };
        let meta = LogDir::meta_properties(disk, path).map_err(|e| foreign(e.to_string()))?;
        let Some(meta) = meta else {
            fresh.push(path.clone());
            continue;
        };
        if meta.cluster_id != format.cluster_id {
            let (theirs, ours) = (&meta.cluster_id, &format.cluster_id);
            return Err(foreign(format!("it belongs to cluster {theirs}, not {ours}")));
        }
        if meta.node_id != format.node_id {
            let (theirs, ours) = (meta.node_id, format.node_id);
            return Err(foreign(format!("it belongs to node {theirs}, not {ours}")));
        }
        formatted.push(path.clone());
    }
    if !formatted.is_empty() && !format.ignore_formatted {
        return Err(FormatError::AlreadyFormatted(formatted));
    }
    Ok((fresh, formatted))
}

/// The voters that the first snapshot names; none with fixed or foreign voters.
fn checked_voters(format: &Format) -> Result<Vec<Voter>, FormatError> {
    let voters = match &format.voters {
        FormatVoters::Fixed | FormatVoters::Others => return Ok(Vec::new()),
        FormatVoters::Standalone(endpoint) => vec![Voter {
            node_id: format.node_id,
            directory_id: None,
            endpoints: vec![endpoint.clone()],
        }],
        FormatVoters::Initial(voters) => voters.clone(),
    };
    let refuse = |what: String| Err(FormatError::Voters(what));
    let kraft = Feature::named(KRAFT_VERSION).expect("kraft.version is a feature");
    if kraft.default_level(format.metadata_version) < 1 {
        let version = format.metadata_version;
        return refuse(format!("metadata version {version} has no voters in the log; 3.9 has"));
    }
    if voters.is_empty() {
        return refuse("at least one voter is needed".to_owned());
    }
    for (i, voter) in voters.iter().enumerate() {
        let id = voter.node_id;
        if voters[..i].iter().any(|other| other.node_id == id) {
            return refuse(format!("voter {id} is named twice"));
        }
        if matches!(format.voters, FormatVoters::Initial(_)) && voter.directory_id.is_none() {
            return refuse(format!("voter {id} has no directory id"));
        }
    }
    if !voters.iter().any(|voter| voter.node_id == format.node_id) {
        return refuse(format!("node {} is not among the initial controllers", format.node_id));
    }
    Ok(voters)
}

fn with_directory(voters: &[Voter], node_id: NodeId, directory_id: Uuid) -> Vec<Voter> {
    let mut voters = voters.to_vec();
    for voter in voters.iter_mut().filter(|voter| voter.node_id == node_id) {
        voter.directory_id = Some(directory_id);
    }
    voters
}
