//! From an image back to the records that make it. Never loses anything silently: what the
//! cluster's metadata version has no place for is an error.

use std::fmt;

use klamm_persisted::metadata::client_quota_record::EntityData;
use klamm_persisted::metadata::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, ProducerIdsRecord,
    RegisterControllerRecord, TopicRecord,
};
use klamm_stdx::Str;

use crate::features::METADATA_VERSION;
use crate::{MetadataImage, MetadataVersion, VersionedRecord};

/// Why an image has no snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotError {
    /// The image has something that its metadata version has no place for.
    Unwritable {
        /// What it has.
        what: &'static str,
        /// The version.
        version: MetadataVersion,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { what, version } => {
                write!(f, "metadata version {version} has no place for {what}")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

impl MetadataImage {
    /// The records that make this image from nothing, in Kafka's order (Kafka:
    /// `MetadataImage.write`): feature levels first, because they say how to read the rest.
    ///
    /// # Errors
    /// The image has something that its metadata version has no place for.
    pub fn to_records(&self) -> Result<Vec<VersionedRecord>, SnapshotError> {
        let mut records = Vec::new();
        self.features_to(&mut records);
        self.cluster_to(&mut records)?;
        self.topics_to(&mut records)?;
        self.configs_to(&mut records);
        self.security_to(&mut records)?;
        Ok(records)
    }

    fn version(&self) -> MetadataVersion {
        self.features.metadata_version
    }

    fn features_to(&self, records: &mut Vec<VersionedRecord>) {
        let mut level = |name: Str, feature_level| {
            let record = FeatureLevelRecord { name, feature_level };
            records.push(VersionedRecord::new(record, self.version()));
        };
        level(Str::from_static(METADATA_VERSION), self.version().level());
        for (name, feature_level) in &self.features.levels {
            level(name.clone(), *feature_level);
        }
    }

    fn cluster_to(&self, records: &mut Vec<VersionedRecord>) -> Result<(), SnapshotError> {
        let version = self.version();
        for broker in self.cluster.brokers.values() {
            records.push(VersionedRecord::new(broker.to_record(version)?, version));
        }
        if !self.cluster.controllers.is_empty() && !version.has_controller_registrations() {
            let what = "the registrations of controllers";
            return Err(SnapshotError::Unwritable { what, version });
        }
        for controller in self.cluster.controllers.values() {
            let record = RegisterControllerRecord::clone(controller);
            records.push(VersionedRecord::new(record, version));
        }
        Ok(())
    }

    fn topics_to(&self, records: &mut Vec<VersionedRecord>) -> Result<(), SnapshotError> {
        let version = self.version();
        for topic in self.topics.iter() {
            let record = TopicRecord { name: topic.name.clone(), topic_id: topic.id };
            records.push(VersionedRecord::new(record, version));
            for (index, partition) in &topic.partitions {
                let record = partition.to_record(topic.id, *index, version)?;
                records.push(VersionedRecord::new(record, version));
            }
        }
        Ok(())
    }

    fn configs_to(&self, records: &mut Vec<VersionedRecord>) {
        for (resource, configs) in self.configs.iter() {
            for (name, value) in configs.iter() {
                let record = ConfigRecord {
                    resource_type: resource.resource_type,
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                };
                records.push(VersionedRecord::new(record, self.version()));
            }
        }
        for (quota, value) in self.client_quotas.iter() {
            let part = |(kind, name): &(Str, Option<Str>)| EntityData {
                entity_type: kind.clone(),
                entity_name: name.clone(),
            };
            let record = ClientQuotaRecord {
                entity: quota.entity.iter().map(part).collect(),
                key: quota.key.clone(),
                value: *value,
                remove: false,
            };
            records.push(VersionedRecord::new(record, self.version()));
        }
        if let Some(next) = self.next_producer_id {
            // Who took the last block is not part of an image: Kafka writes -1 for it too.
            let record =
                ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id: next.0 };
            records.push(VersionedRecord::new(record, self.version()));
        }
    }

    fn security_to(&self, records: &mut Vec<VersionedRecord>) -> Result<(), SnapshotError> {
        let version = self.version();
        let unwritable = |what| Err(SnapshotError::Unwritable { what, version });
        for acl in self.security.acls.values() {
            records.push(VersionedRecord::new((**acl).clone(), version));
        }
        if !self.security.scram.is_empty() && !version.has_scram() {
            return unwritable("SCRAM credentials");
        }
        for credential in self.security.scram.values() {
            records.push(VersionedRecord::new((**credential).clone(), version));
        }
        if !self.security.delegation_tokens.is_empty() && !version.has_delegation_tokens() {
            return unwritable("delegation tokens");
        }
        for token in self.security.delegation_tokens.values() {
            records.push(VersionedRecord::new((**token).clone(), version));
        }
        Ok(())
    }
}
