//! A metadata record together with the version that it is written in. Never opens a log.

use bytes::Bytes;
use klamm_codec::EncodeError;
use klamm_persisted::metadata::MetadataRecord;

use crate::MetadataVersion;

/// A record and its version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedRecord {
    /// What happened.
    pub record: MetadataRecord,
    /// The version of the record's schema to write.
    pub version: i16,
}

impl VersionedRecord {
    /// A record in the version that a cluster on `metadata_version` can read.
    #[must_use]
    pub fn new(record: impl Into<MetadataRecord>, metadata_version: MetadataVersion) -> Self {
        let record = record.into();
        let version = record_version(&record, metadata_version);
        Self { record, version }
    }

    /// The bytes for the metadata log.
    ///
    /// # Errors
    /// The version cannot tell the record.
    pub fn to_frame(&self) -> Result<Bytes, EncodeError> {
        self.record.to_frame(self.version)
    }
}

/// The version of the record's schema that a cluster on `metadata_version` can read.
#[must_use]
pub fn record_version(record: &MetadataRecord, metadata_version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => metadata_version.register_broker_record(),
        MetadataRecord::BrokerRegistrationChange(_) => {
            metadata_version.broker_registration_change_record()
        }
        MetadataRecord::Partition(_) => metadata_version.partition_record(),
        MetadataRecord::PartitionChange(_) => metadata_version.partition_change_record(),
        // All others have had one version.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_persisted::metadata::{PartitionRecord, TopicRecord};

    #[test]
    fn the_version_follows_the_clusters_metadata_version() {
        let at = |name, record: MetadataRecord| {
            VersionedRecord::new(record, MetadataVersion::from_name(name).unwrap()).version
        };
        assert_eq!(at("4.3", PartitionRecord::default().into()), 2);
        assert_eq!(at("3.9", PartitionRecord::default().into()), 1);
        assert_eq!(at("3.6", PartitionRecord::default().into()), 0);
        assert_eq!(at("4.3", TopicRecord::default().into()), 0);
    }

    #[test]
    fn a_record_that_its_version_cannot_tell_is_an_error() {
        let record = PartitionRecord { last_known_elr: Some(vec![1]), ..Default::default() };
        let old = MetadataVersion::from_name("3.9").unwrap();
        assert!(VersionedRecord::new(record, old).to_frame().is_err());
    }
}
