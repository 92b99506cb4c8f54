//! Formatting: what `kafka-storage format` writes, so that a directory can be taken into use.
//!
//! Every log directory gets `meta.properties` and `bootstrap.checkpoint`, the first metadata
//! records of the cluster; the metadata directory of a quorum whose voters are in its log gets a
//! first snapshot with the voters (KIP-853). Never touches a directory that is formatted.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use klamm_env::{Disk, Env};
use klamm_log::{LogDir, MetaProperties, names};
use klamm_metadata::features::{FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION};
use klamm_metadata::{ConfigResource, MetadataVersion, VersionedRecord, bootstrap_records};
use klamm_model::{LeaderEpoch, METADATA_TOPIC, NodeId, Timestamp, Uuid};
use klamm_persisted::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use crate::files::WrittenFiles;
use crate::snapshot::{self, Contents};
use crate::{RaftError, SnapshotId, Voter, VoterEndpoint};

mod scram;

pub use scram::{ScramCredential, scram_record};

const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";
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

/// Why nothing was formatted.
#[derive(Debug)]
pub enum FormatError {
    /// Directories are in use already.
    AlreadyFormatted(Vec<PathBuf>),
    /// A formatted directory belongs to another cluster or node.
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What it says.
        what: String,
    },
    /// A feature or a level that cannot be.
    Feature {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The voters cannot be.
    Voters(String),
    /// A user cannot be.
    Scram(String),
    /// The cluster id is not usable.
    ClusterId(String),
    /// The disk failed.
    Disk(RaftError),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyFormatted(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "already formatted: {}; use --ignore-formatted to format only the others",
                    paths.join(", ")
                )
            }
            Self::Foreign { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Feature { name, what } => write!(f, "feature {name}: {what}"),
            Self::Voters(what) | Self::Scram(what) | Self::ClusterId(what) => f.write_str(what),
            Self::Disk(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<RaftError> for FormatError {
    fn from(error: RaftError) -> Self {
        Self::Disk(error)
    }
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
    let bootstrap = bootstrap_file(format, wall)?;
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

/// The bytes of `bootstrap.checkpoint`.
fn bootstrap_file(format: &Format, wall: Timestamp) -> Result<Vec<u8>, FormatError> {
    let version = format.metadata_version;
    let mut records = bootstrap_records(version);
    for (name, level) in &format.features {
        override_feature(&mut records, (name, *level), version)?;
    }
    if !format.scram.is_empty() && !version.has_scram() {
        return Err(FormatError::Scram(format!("metadata version {version} has no SCRAM users")));
    }
    for credential in &format.scram {
        let record = scram_record(credential).map_err(FormatError::Scram)?;
        records.push(VersionedRecord::new(record, version));
    }
    let frames: Result<Vec<Bytes>, _> = records.iter().map(VersionedRecord::to_frame).collect();
    let refuse = |e: klamm_codec::EncodeError| FormatError::Feature {
        name: METADATA_VERSION.to_owned(),
        what: e.to_string(),
    };
    let frames = frames.map_err(refuse)?;
    let contents = Contents {
        epoch: LeaderEpoch(0),
        last_timestamp: Timestamp(0),
        voters: None,
        frames: &frames,
        wall,
    };
    snapshot::encode(&contents).map_err(refuse)
}

fn override_feature(
    records: &mut Vec<VersionedRecord>,
    (name, level): (&str, i16),
    version: MetadataVersion,
) -> Result<(), FormatError> {
    let refuse = |what: String| Err(FormatError::Feature { name: name.to_owned(), what });
    if name == METADATA_VERSION && level == version.level() {
        return Ok(());
    }
    let Some(feature) = Feature::named(name) else {
        let known: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
        return refuse(format!("unknown; there are {METADATA_VERSION}, {}", known.join(", ")));
    };
    if !feature.supported().contains(&level) || !feature.allows(level, version) {
        let (min, max) =
            (feature.supported().start().to_owned(), feature.supported().end().to_owned());
        return refuse(format!(
            "level {level} is not possible with metadata version {version}; levels are {min} to {max}"
        ));
    }
    // kraft.version is told by control records.
    if name == KRAFT_VERSION {
        return Ok(());
    }
    let is_same = |record: &VersionedRecord| matches!(&record.record, MetadataRecord::FeatureLevel(r) if r.name == *name);
    records.retain(|record| !is_same(record));
    if level > 0 {
        let record = FeatureLevelRecord { name: name.into(), feature_level: level };
        records.push(VersionedRecord::new(record, version));
    }
    Ok(())
}

/// The first records of a cluster's log: what `bootstrap.checkpoint` says, as one transaction
/// where the version has them (Kafka: `ActivationRecordsGenerator`).
pub(crate) fn activation_records(
    disk: &dyn Disk,
    log_dir: &Path,
) -> Result<Vec<VersionedRecord>, RaftError> {
    let path = log_dir.join(BOOTSTRAP_CHECKPOINT);
    let mut records = match snapshot::read_file(disk, &path)? {
        Some(replay) => replay
            .loader
            .image()
            .to_records()
            .map_err(|e| RaftError::damaged(&path, e.to_string()))?,
        None => bootstrap_records(MetadataVersion::LATEST_STABLE),
    };
    let mut image = crate::replay::Replay::new();
    for record in &records {
        let replayed = image.loader.replay(&record.record);
        replayed.map_err(|e| RaftError::damaged(&path, e.to_string()))?;
    }
    let features = &image.loader.image().features;
    let version = features.metadata_version;
    // With eligible leader replicas min.insync.replicas is the cluster's, so that all nodes
    // agree on it (KIP-966).
    if features.has_eligible_leader_replicas() {
        let all_brokers = ConfigResource::broker("");
        let record = ConfigRecord {
            resource_type: all_brokers.resource_type,
            resource_name: all_brokers.name,
            name: "min.insync.replicas".into(),
            value: Some("1".into()),
        };
        records.push(VersionedRecord::new(record, version));
    }
    if version.has_transactions() {
        let begin = BeginTransactionRecord { name: Some("Bootstrap records".into()) };
        records.insert(0, VersionedRecord::new(begin, version));
        records.push(VersionedRecord::new(EndTransactionRecord {}, version));
    }
    Ok(records)
}
