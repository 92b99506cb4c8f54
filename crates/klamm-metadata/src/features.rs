//! Features and their levels, declared once; and the levels that a cluster has agreed on.
//! Never decides an upgrade: it says what a level needs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use klamm_persisted::metadata::FeatureLevelRecord;
use klamm_stdx::Str;

use crate::{MetadataVersion, VersionedRecord};

/// The feature that says which record formats the cluster uses.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of the quorum's own protocol; its level is in control records of the metadata
/// log, never in a `FeatureLevelRecord` (KIP-853).
pub const KRAFT_VERSION: &str = "kraft.version";
/// Transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// Groups (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// Eligible leader replicas (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
/// Share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// Streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";

/// A feature other than `metadata.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Its levels from 1 up; level 0 means off and needs nothing.
    pub levels: &'static [Level],
}

/// A level of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The metadata version from which a new cluster gets this level.
    pub default_from: &'static str,
    /// The metadata version below which the level is refused, if there is one.
    pub requires: Option<&'static str>,
}

const fn level(default_from: &'static str) -> Level {
    Level { default_from, requires: None }
}

/// All features but `metadata.version`, in the order of their names (Kafka: `Feature`).
pub const FEATURES: &[Feature] = &[
    Feature {
        name: ELIGIBLE_LEADER_REPLICAS_VERSION,
        levels: &[Level { default_from: "4.1-IV0", requires: Some("4.0-IV1") }],
    },
    Feature { name: GROUP_VERSION, levels: &[level("4.0-IV0")] },
    Feature { name: KRAFT_VERSION, levels: &[level("3.9-IV0")] },
    Feature { name: SHARE_VERSION, levels: &[level("4.2-IV0")] },
    Feature { name: STREAMS_VERSION, levels: &[level("4.2-IV1")] },
    Feature { name: TRANSACTION_VERSION, levels: &[level("4.0-IV2"), level("4.0-IV2")] },
];

fn at_least(version: MetadataVersion, name: &str) -> bool {
    MetadataVersion::from_name(name).is_ok_and(|needed| version >= needed)
}

impl Feature {
    /// The feature of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// The levels that this program can run.
    #[must_use]
    pub fn supported(&self) -> RangeInclusive<i16> {
        0..=self.levels.len() as i16
    }

    /// The level that a new cluster on `version` starts with.
    #[must_use]
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        self.levels.iter().filter(|level| at_least(version, level.default_from)).count() as i16
    }

    /// Whether a cluster on `version` may have `level`.
    #[must_use]
    pub fn allows(&self, level: i16, version: MetadataVersion) -> bool {
        if level == 0 {
            return true;
        }
        let declared = usize::try_from(level).ok().and_then(|level| self.levels.get(level - 1));
        declared.is_some_and(|level| level.requires.is_none_or(|name| at_least(version, name)))
    }
}

/// What this program supports, `metadata.version` included: for registrations and ApiVersions.
#[must_use]
pub fn supported_features() -> Vec<(&'static str, RangeInclusive<i16>)> {
    let metadata_version =
        MetadataVersion::MINIMUM.level()..=MetadataVersion::LATEST_STABLE.level();
    let mut features = vec![(METADATA_VERSION, metadata_version)];
    features.extend(FEATURES.iter().map(|feature| (feature.name, feature.supported())));
    features.sort_unstable_by_key(|(name, _)| *name);
    features
}

/// The first records of a new cluster: the levels of a release, those that are off left out
/// (Kafka: `Formatter` and `BootstrapMetadata`).
#[must_use]
pub fn bootstrap_records(version: MetadataVersion) -> Vec<VersionedRecord> {
    let record = |name: &'static str, feature_level| {
        let record = FeatureLevelRecord { name: Str::from_static(name), feature_level };
        VersionedRecord::new(record, version)
    };
    let mut records = vec![record(METADATA_VERSION, version.level())];
    for feature in FEATURES.iter().filter(|feature| feature.name != KRAFT_VERSION) {
        let level = feature.default_level(version);
        if level > 0 {
            records.push(record(feature.name, level));
        }
    }
    records
}

/// The levels that the cluster has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeaturesImage {
    /// The formats of the records.
    pub metadata_version: MetadataVersion,
    /// The other features' levels by name; a feature that is off is absent. Names that this
    /// program does not know are kept.
    pub levels: BTreeMap<Str, i16>,
}

impl Default for FeaturesImage {
    /// What a log that says nothing means: the oldest version, everything off.
    fn default() -> Self {
        Self { metadata_version: MetadataVersion::MINIMUM, levels: BTreeMap::new() }
    }
}

impl FeaturesImage {
    /// The level of a feature; 0 is off.
    #[must_use]
    pub fn level(&self, name: &str) -> i16 {
        if name == METADATA_VERSION {
            return self.metadata_version.level();
        }
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Whether partitions keep eligible leader replicas (KIP-966).
    #[must_use]
    pub fn has_eligible_leader_replicas(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_persisted::metadata::MetadataRecord;

    fn bootstrap(name: &str) -> Vec<(String, i16)> {
        let records = bootstrap_records(MetadataVersion::from_name(name).unwrap());
        let level = |record: VersionedRecord| match record.record {
            MetadataRecord::FeatureLevel(level) => (level.name.to_string(), level.feature_level),
            other => panic!("{other:?}"),
        };
        records.into_iter().map(level).collect()
    }

    fn levels(pairs: &[(&str, i16)]) -> Vec<(String, i16)> {
        pairs.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
    }

    #[test]
    fn a_new_cluster_starts_with_the_records_that_kafka_storage_format_writes() {
        let expected = levels(&[
            ("metadata.version", 30),
            ("eligible.leader.replicas.version", 1),
            ("group.version", 1),
            ("share.version", 1),
            ("streams.version", 1),
            ("transaction.version", 2),
        ]);
        assert_eq!(bootstrap("4.3-IV0"), expected);
        assert_eq!(bootstrap("3.9-IV0"), levels(&[("metadata.version", 21)]));
        let expected = levels(&[("metadata.version", 23), ("group.version", 1)]);
        assert_eq!(bootstrap("4.0-IV1"), expected);
        let expected = levels(&[
            ("metadata.version", 26),
            ("eligible.leader.replicas.version", 1),
            ("group.version", 1),
            ("transaction.version", 2),
        ]);
        assert_eq!(bootstrap("4.1-IV0"), expected);
    }

    #[test]
    fn every_metadata_version_in_the_table_exists() {
        for level in FEATURES.iter().flat_map(|feature| feature.levels) {
            assert!(MetadataVersion::from_name(level.default_from).is_ok(), "{level:?}");
            assert!(level.requires.is_none_or(|name| MetadataVersion::from_name(name).is_ok()));
        }
    }

    #[test]
    fn a_level_that_needs_a_newer_metadata_version_is_not_allowed() {
        let elr = Feature::named(ELIGIBLE_LEADER_REPLICAS_VERSION).unwrap();
        assert!(!elr.allows(1, MetadataVersion::from_name("4.0-IV0").unwrap()));
        assert!(elr.allows(1, MetadataVersion::from_name("4.0-IV1").unwrap()));
        assert!(elr.allows(0, MetadataVersion::MINIMUM));
        for level in [-1, 2, i16::MAX] {
            assert!(!elr.allows(level, MetadataVersion::LATEST), "{level}");
        }
        assert_eq!(Feature::named("no.such.version"), None);
    }

    #[test]
    fn a_feature_that_nobody_set_is_off() {
        let image = FeaturesImage::default();
        assert_eq!(image.level(GROUP_VERSION), 0);
        assert_eq!(image.level(METADATA_VERSION), MetadataVersion::MINIMUM.level());
    }
}
