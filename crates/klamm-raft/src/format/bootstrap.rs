//! The first metadata records of a cluster: written by formatting, read when the cluster begins.

use std::path::Path;

use bytes::Bytes;
use klamm_env::Disk;
use klamm_metadata::features::{FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION};
use klamm_metadata::{ConfigResource, MetadataVersion, VersionedRecord, bootstrap_records};
use klamm_model::{LeaderEpoch, Timestamp};
use klamm_persisted::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use super::error::FormatError;
use super::scram::{ScramCredential, scram_record};
use crate::RaftError;
use crate::snapshot::{self, Contents};

pub(super) const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// What the first records are to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstRecords<'a> {
    pub(super) metadata_version: MetadataVersion,
    /// Levels of features that differ from that version's.
    pub(super) features: &'a [(String, i16)],
    /// Users that exist from the beginning.
    pub(super) scram: &'a [ScramCredential],
}

/// The bytes of `bootstrap.checkpoint`.
pub(super) fn bootstrap_file(
    first: FirstRecords<'_>,
    wall: Timestamp,
) -> Result<Vec<u8>, FormatError> {
    let version = first.metadata_version;
    let mut records = bootstrap_records(version);
    for (name, level) in first.features {
        override_feature(&mut records, (name, *level), version)?;
    }
    if !first.scram.is_empty() && !version.has_scram() {
        return Err(FormatError::Scram(format!("metadata version {version} has no SCRAM users")));
    }
    for credential in first.scram {
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
