//! The nodes of the cluster as they registered. Never says whether a node is alive: a broker is
//! fenced or not because a record says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{BrokerEpoch, DirectoryId, NodeId, Uuid};
use klamm_persisted::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use klamm_persisted::metadata::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord,
};
use klamm_stdx::Str;

use crate::{MetadataVersion, PartitionRegistration, ReplayError, SnapshotError};

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: Str,
    /// Host to connect to.
    pub host: Str,
    /// Port to connect to.
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedFeature {
    /// The feature's name.
    pub name: Str,
    /// The lowest.
    pub level_min: i16,
    /// The highest.
    pub level_max: i16,
}

/// A broker as the cluster knows it (Kafka: `BrokerRegistration`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// The broker.
    pub id: NodeId,
    /// This life of it.
    pub epoch: BrokerEpoch,
    /// What it called this life.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can run.
    pub features: Vec<SupportedFeature>,
    /// Where it stands.
    pub rack: Option<Str>,
    /// It serves no clients.
    pub fenced: bool,
    /// It is about to stop.
    pub in_controlled_shutdown: bool,
    /// It came from ZooKeeper; kept so that no record changes by being read.
    pub is_migrating_zk_broker: bool,
    /// Its log directories that are online.
    pub log_dirs: Vec<DirectoryId>,
    /// Its log directories that take no new replicas (KIP-1066).
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

impl BrokerRegistration {
    /// The broker that a record registers.
    #[must_use]
    pub fn from_record(record: &RegisterBrokerRecord) -> Self {
        let endpoint = |e: &BrokerEndpoint| Endpoint {
            name: e.name.detached(),
            host: e.host.detached(),
            port: e.port,
            security_protocol: e.security_protocol,
        };
        let feature = |f: &BrokerFeature| SupportedFeature {
            name: f.name.detached(),
            level_min: f.min_supported_version,
            level_max: f.max_supported_version,
        };
        Self {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_ref().map(Str::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        }
    }

    /// This broker after a change.
    ///
    /// # Errors
    /// The record is about another life of the broker, or contradicts itself.
    pub fn merged(&self, record: &BrokerRegistrationChangeRecord) -> Result<Self, ReplayError> {
        self.check_epoch(record.broker_epoch)?;
        let mut next = self.clone();
        next.fenced = match record.fenced {
            0 => self.fenced,
            1 => true,
            -1 => false,
            _ => return Err(ReplayError::Broker { id: self.id, why: "its fencing is unknown" }),
        };
        next.in_controlled_shutdown = match record.in_controlled_shutdown {
            0 => self.in_controlled_shutdown,
            1 => true,
            _ => {
                let why = "its controlled shutdown is unknown";
                return Err(ReplayError::Broker { id: self.id, why });
            }
        };
        if !record.log_dirs.is_empty() {
            next.log_dirs.clone_from(&record.log_dirs);
        }
        if record.cordoned_log_dirs.is_some() {
            next.cordoned_log_dirs.clone_from(&record.cordoned_log_dirs);
        }
        Ok(next)
    }

    /// Whether a log directory of this broker can be used, as far as anybody knows (Kafka:
    /// `BrokerRegistration.hasOnlineDir`).
    #[must_use]
    pub fn has_online_dir(&self, id: DirectoryId) -> bool {
        match id {
            Uuid::DIRECTORY_UNASSIGNED | Uuid::DIRECTORY_MIGRATING => true,
            Uuid::DIRECTORY_LOST => false,
            id => self.log_dirs.is_empty() || self.log_dirs.contains(&id),
        }
    }

    /// Checks that a record is about this life of the broker.
    pub(crate) fn check_epoch(&self, epoch: i64) -> Result<(), ReplayError> {
        if self.epoch.0 == epoch {
            return Ok(());
        }
        Err(ReplayError::BrokerEpoch {
            id: self.id,
            registered: self.epoch,
            record: BrokerEpoch(epoch),
        })
    }

    /// Whether the broker may be given new replicas and leaderships.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// The record that registers this broker in a cluster on `version`.
    ///
    /// # Errors
    /// The version has no place for something that this broker has.
    pub fn to_record(
        &self,
        version: MetadataVersion,
    ) -> Result<RegisterBrokerRecord, SnapshotError> {
        let unwritable = |what| SnapshotError::Unwritable { what, version };
        if self.is_migrating_zk_broker && version.register_broker_record() < 2 {
            return Err(unwritable("a broker that migrates from ZooKeeper"));
        }
        if !self.log_dirs.is_empty() && !version.has_directories() {
            return Err(unwritable("the log directories of a broker"));
        }
        if self.cordoned_log_dirs.is_some() && !version.has_cordoned_log_dirs() {
            return Err(unwritable("the cordoned log directories of a broker"));
        }
        let endpoint = |e: &Endpoint| BrokerEndpoint {
            name: e.name.clone(),
            host: e.host.clone(),
            port: e.port,
            security_protocol: e.security_protocol,
        };
        let feature = |f: &SupportedFeature| BrokerFeature {
            name: f.name.clone(),
            min_supported_version: f.level_min,
            max_supported_version: f.level_max,
        };
        Ok(RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch.0,
            end_points: self.endpoints.iter().map(endpoint).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            cordoned_log_dirs: self.cordoned_log_dirs.clone(),
        })
    }
}

/// All nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterImage {
    /// Brokers.
    pub brokers: BTreeMap<NodeId, Arc<BrokerRegistration>>,
    /// Controllers, as they registered: nothing but their endpoints is ever asked for.
    pub controllers: BTreeMap<NodeId, Arc<RegisterControllerRecord>>,
}

impl ClusterImage {
    /// A broker.
    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// Whether a broker is registered, unfenced and not about to stop.
    #[must_use]
    pub fn is_active(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }

    /// Whether the log directory of a partition's replica can be used, as far as anybody knows.
    #[must_use]
    pub fn has_online_dir(&self, partition: &PartitionRegistration, replica: NodeId) -> bool {
        let directory = partition.directory(replica).unwrap_or(Uuid::DIRECTORY_UNASSIGNED);
        self.brokers.get(&replica).is_some_and(|broker| broker.has_online_dir(directory))
    }

    /// Whether a replica can be used: its broker is active, and its log directory online.
    #[must_use]
    pub fn is_replica_online(&self, partition: &PartitionRegistration, replica: NodeId) -> bool {
        self.is_active(replica) && self.has_online_dir(partition, replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker() -> BrokerRegistration {
        BrokerRegistration::from_record(&RegisterBrokerRecord {
            broker_id: 1,
            broker_epoch: 5,
            log_dirs: vec![Uuid(201)],
            ..RegisterBrokerRecord::default()
        })
    }

    fn change() -> BrokerRegistrationChangeRecord {
        BrokerRegistrationChangeRecord { broker_id: 1, broker_epoch: 5, ..Default::default() }
    }

    #[test]
    fn a_change_says_only_what_changes() {
        let unfenced = BrokerRegistrationChangeRecord { fenced: -1, ..change() };
        let next = broker().merged(&unfenced).unwrap();
        assert!(!next.fenced && next.is_active() && next.log_dirs == [Uuid(201)]);
        let stopping = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change() };
        assert!(!next.merged(&stopping).unwrap().is_active());
        let fenced = BrokerRegistrationChangeRecord { fenced: 1, ..change() };
        assert!(next.merged(&fenced).unwrap().fenced);
        let moved = BrokerRegistrationChangeRecord { log_dirs: vec![Uuid(202)], ..change() };
        assert_eq!(next.merged(&moved).unwrap().log_dirs, [Uuid(202)]);
    }

    #[test]
    fn a_log_directory_is_online_unless_the_broker_says_otherwise() {
        let mut broker = broker();
        for (id, is_online) in [
            (Uuid(201), true),
            (Uuid(202), false),
            (Uuid::DIRECTORY_LOST, false),
            (Uuid::DIRECTORY_UNASSIGNED, true),
            (Uuid::DIRECTORY_MIGRATING, true),
        ] {
            assert_eq!(broker.has_online_dir(id), is_online, "{id}");
        }
        broker.log_dirs.clear();
        assert!(broker.has_online_dir(Uuid(202)), "a broker of old names none");
        let mut cluster = ClusterImage::default();
        cluster.brokers.insert(NodeId(1), Arc::new(self::broker()));
        let held = PartitionRegistration {
            replicas: vec![NodeId(1)],
            directories: vec![Uuid(202)],
            ..PartitionRegistration::default()
        };
        assert!(!cluster.is_replica_online(&held, NodeId(1)));
        assert!(!cluster.has_online_dir(&held, NodeId(2)), "nobody knows broker 2");
    }

    #[test]
    fn a_change_of_another_life_or_of_unknown_meaning_is_refused() {
        for record in [
            BrokerRegistrationChangeRecord { broker_epoch: 4, ..change() },
            BrokerRegistrationChangeRecord { fenced: 2, ..change() },
            BrokerRegistrationChangeRecord { in_controlled_shutdown: -1, ..change() },
        ] {
            assert!(broker().merged(&record).is_err(), "{record:?}");
        }
    }

    #[test]
    fn a_broker_survives_its_record_and_never_loses_a_field() {
        let latest = MetadataVersion::LATEST_STABLE;
        let record = broker().to_record(latest).unwrap();
        assert_eq!(BrokerRegistration::from_record(&record), broker());
        let old = MetadataVersion::from_name("3.6").unwrap();
        assert!(broker().to_record(old).is_err());
    }
}
