//! Metadata versions: which formats the records of a cluster may have. A table and what follows
//! from it; never decides which version a cluster should run.

use std::fmt;

/// A level of the feature `metadata.version` (Kafka: `MetadataVersion`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

/// A text or level that is no metadata version of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataVersionError {
    /// No release of ours has this level.
    UnknownLevel(i16),
    /// No release of ours has this name.
    UnknownName(String),
}

impl fmt::Display for MetadataVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (oldest, newest) = (MetadataVersion::MINIMUM, MetadataVersion::LATEST_STABLE);
        match self {
            Self::UnknownLevel(level) => write!(
                f,
                "metadata.version level {level} is unknown: levels are {} to {}",
                oldest.0,
                MetadataVersion::LATEST.0
            ),
            Self::UnknownName(name) => write!(
                f,
                "metadata.version '{name}' is unknown: names are like {oldest} or {newest}"
            ),
        }
    }
}

impl std::error::Error for MetadataVersionError {}

/// Names by level, the first being [`MetadataVersion::MINIMUM`].
const NAMES: [&str; 25] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
    "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
    "4.4-IV0",
];

impl MetadataVersion {
    /// `3.3-IV3`, the oldest that Kafka 4 reads.
    pub const MINIMUM: Self = Self(7);
    /// `4.3-IV0`, the newest that is released.
    pub const LATEST_STABLE: Self = Self(30);
    /// `4.4-IV0`, known but not released.
    pub const LATEST: Self = Self(31);

    const V3_4_IV0: Self = Self(8);
    const V3_5_IV2: Self = Self(11);
    const V3_6_IV1: Self = Self(13);
    const V3_6_IV2: Self = Self(14);
    const V3_7_IV0: Self = Self(15);
    const V3_7_IV2: Self = Self(17);
    const V4_0_IV1: Self = Self(23);
    const V4_3_IV0: Self = Self(30);

    /// The version of a level.
    ///
    /// # Errors
    /// There is no such level.
    pub fn from_level(level: i16) -> Result<Self, MetadataVersionError> {
        if (Self::MINIMUM.0..=Self::LATEST.0).contains(&level) {
            Ok(Self(level))
        } else {
            Err(MetadataVersionError::UnknownLevel(level))
        }
    }

    /// The version of a name: `4.3-IV0`, or `4.3` for the newest of that release.
    ///
    /// # Errors
    /// There is no such name.
    pub fn from_name(name: &str) -> Result<Self, MetadataVersionError> {
        let release =
            |known: &str| known.split_once('-').is_some_and(|(release, _)| release == name);
        // `4.3.1` is the release 4.3.
        let mut dots = name.match_indices('.');
        let patch = dots.nth(1).map(|(at, _)| at);
        if let Some(at) = patch
            && name[at + 1..].bytes().all(|c| c.is_ascii_digit())
            && at + 1 < name.len()
        {
            return Self::from_name(&name[..at]);
        }
        NAMES
            .iter()
            .rposition(|known| *known == name || release(known))
            .map(|index| Self(Self::MINIMUM.0 + index as i16))
            .ok_or_else(|| MetadataVersionError::UnknownName(name.chars().take(64).collect()))
    }

    /// All versions, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::MINIMUM.0..=Self::LATEST.0).map(Self)
    }

    /// The feature level.
    #[must_use]
    pub const fn level(self) -> i16 {
        self.0
    }

    /// The name, such as `4.3-IV0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[usize::from((self.0 - Self::MINIMUM.0).unsigned_abs())]
    }

    /// Whether SCRAM credentials are in the log (KIP-900).
    #[must_use]
    pub fn has_scram(self) -> bool {
        self >= Self::V3_5_IV2
    }

    /// Whether groups of records may be transactions (KIP-868).
    #[must_use]
    pub fn has_transactions(self) -> bool {
        self >= Self::V3_6_IV1
    }

    /// Whether delegation tokens are in the log (KIP-900).
    #[must_use]
    pub fn has_delegation_tokens(self) -> bool {
        self >= Self::V3_6_IV2
    }

    /// Whether controllers register themselves (KIP-919).
    #[must_use]
    pub fn has_controller_registrations(self) -> bool {
        self >= Self::V3_7_IV0
    }

    /// Whether replicas name their log directories (KIP-858).
    #[must_use]
    pub fn has_directories(self) -> bool {
        self >= Self::V3_7_IV2
    }

    /// Whether partitions keep eligible leader replicas (KIP-966).
    #[must_use]
    pub fn has_eligible_leader_replicas(self) -> bool {
        self >= Self::V4_0_IV1
    }

    /// Whether log directories can be closed to new replicas (KIP-1066).
    #[must_use]
    pub fn has_cordoned_log_dirs(self) -> bool {
        self >= Self::V4_3_IV0
    }

    /// The version of `RegisterBrokerRecord`.
    #[must_use]
    pub fn register_broker_record(self) -> i16 {
        if self.has_cordoned_log_dirs() {
            4
        } else if self.has_directories() {
            3
        } else if self >= Self::V3_4_IV0 {
            2
        } else {
            1
        }
    }

    /// The version of `BrokerRegistrationChangeRecord`.
    #[must_use]
    pub fn broker_registration_change_record(self) -> i16 {
        if self.has_cordoned_log_dirs() {
            3
        } else if self.has_directories() {
            2
        } else {
            1
        }
    }

    /// The version of `PartitionRecord`.
    #[must_use]
    pub fn partition_record(self) -> i16 {
        if self.has_eligible_leader_replicas() { 2 } else { i16::from(self.has_directories()) }
    }

    /// The version of `PartitionChangeRecord`.
    #[must_use]
    pub fn partition_change_record(self) -> i16 {
        self.partition_record()
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_the_name_that_leads_back_to_it() {
        for version in MetadataVersion::all() {
            assert_eq!(MetadataVersion::from_level(version.level()), Ok(version));
            assert_eq!(MetadataVersion::from_name(version.name()), Ok(version));
        }
        assert_eq!(MetadataVersion::LATEST_STABLE.name(), "4.3-IV0");
        assert_eq!(MetadataVersion::all().count(), NAMES.len());
    }

    #[test]
    fn a_release_without_iv_is_its_newest_version() {
        assert_eq!(MetadataVersion::from_name("4.0").unwrap().name(), "4.0-IV3");
        assert_eq!(MetadataVersion::from_name("3.9.1").unwrap().name(), "3.9-IV0");
    }

    #[test]
    fn unknown_levels_and_names_are_refused() {
        for level in [i16::MIN, -1, 0, 6, 32, i16::MAX] {
            let refused = Err(MetadataVersionError::UnknownLevel(level));
            assert_eq!(MetadataVersion::from_level(level), refused);
        }
        for name in ["", "4", "4.", "4.9", "4.3-IV1", "4.3.", "4.3.x", "4.3.1.2", "3.2", "ä"] {
            assert!(MetadataVersion::from_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn record_versions_grow_with_the_metadata_version() {
        let versions = |name| {
            let v = MetadataVersion::from_name(name).unwrap();
            (
                v.register_broker_record(),
                v.broker_registration_change_record(),
                v.partition_record(),
            )
        };
        assert_eq!(versions("3.3-IV3"), (1, 1, 0));
        assert_eq!(versions("3.4-IV0"), (2, 1, 0));
        assert_eq!(versions("3.7-IV1"), (2, 1, 0));
        assert_eq!(versions("3.7-IV2"), (3, 2, 1));
        assert_eq!(versions("4.0-IV1"), (3, 2, 2));
        assert_eq!(versions("4.3-IV0"), (4, 3, 2));
    }
}
