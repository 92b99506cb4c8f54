//! Everything that the metadata log says, at one offset. Never changes: a [`MetadataDelta`]
//! makes the next one, and both share what is the same.
//!
//! [`MetadataDelta`]: crate::MetadataDelta

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{LeaderEpoch, Offset, ProducerId, Timestamp, Uuid};
use klamm_persisted::metadata::{
    AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord,
};
use klamm_stdx::Str;

use crate::{ClusterImage, FeaturesImage, TopicsImage};

/// `ConfigRecord.resource_type` of a topic.
pub const CONFIG_TOPIC: i8 = 2;
/// `ConfigRecord.resource_type` of a broker; the empty name is the default of all brokers.
pub const CONFIG_BROKER: i8 = 4;
/// `ConfigRecord.resource_type` of a client metrics subscription (KIP-714).
pub const CONFIG_CLIENT_METRICS: i8 = 16;
/// `ConfigRecord.resource_type` of a group.
pub const CONFIG_GROUP: i8 = 32;

/// What a config belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Kafka's number of the kind of resource.
    pub resource_type: i8,
    /// The topic, broker id, group or subscription.
    pub name: Str,
}

impl ConfigResource {
    /// A resource of a kind.
    pub fn new(resource_type: i8, name: impl Into<Str>) -> Self {
        Self { resource_type, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: impl Into<Str>) -> Self {
        Self::new(CONFIG_TOPIC, name)
    }

    /// A broker, or the default of all brokers if the name is empty.
    pub fn broker(name: impl Into<Str>) -> Self {
        Self::new(CONFIG_BROKER, name)
    }
}

/// The configs of one resource.
pub type Configs = BTreeMap<Str, Str>;

/// A quota's key: who, and what is limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaKey {
    /// Kind and name of each part of who.
    pub entity: Vec<(Str, Option<Str>)>,
    /// What is limited.
    pub key: Str,
}

/// Who may do what and how they prove who they are: kept as the records that said so, so that
/// nothing is lost before there is a crate that acts on it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SecurityImage {
    /// Access control entries by id.
    pub acls: BTreeMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// SCRAM credentials by mechanism and user.
    pub scram: BTreeMap<(i8, Str), Arc<UserScramCredentialRecord>>,
    /// Delegation tokens by id.
    pub delegation_tokens: BTreeMap<Str, Arc<DelegationTokenRecord>>,
}

/// Up to where an image has read the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The first offset that it has not seen; a snapshot of it is named after this.
    pub next_offset: Offset,
    /// The epoch of the last batch.
    pub epoch: LeaderEpoch,
    /// When the last batch was appended.
    pub append_time: Timestamp,
}

/// The cluster's metadata at one offset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetadataImage {
    /// Up to where it has read.
    pub provenance: Provenance,
    /// Feature levels.
    pub features: Arc<FeaturesImage>,
    /// Nodes.
    pub cluster: Arc<ClusterImage>,
    /// Topics and partitions.
    pub topics: Arc<TopicsImage>,
    /// Configs of every resource that has any.
    pub configs: Arc<BTreeMap<ConfigResource, Arc<Configs>>>,
    /// Quotas.
    pub client_quotas: Arc<BTreeMap<QuotaKey, f64>>,
    /// The first producer id that no broker has; `None` until the first block is given away.
    pub next_producer_id: Option<ProducerId>,
    /// ACLs, credentials, tokens.
    pub security: Arc<SecurityImage>,
}

impl MetadataImage {
    /// The configs of a resource; `None` if it has none.
    #[must_use]
    pub fn configs_of(&self, resource: &ConfigResource) -> Option<&Arc<Configs>> {
        self.configs.get(resource)
    }

    /// One config of a resource.
    #[must_use]
    pub fn config(&self, resource: &ConfigResource, name: &str) -> Option<&Str> {
        self.configs.get(resource)?.get(name)
    }

    /// Whether two images say the same, wherever they have read it.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { provenance: other.provenance, ..self.clone() } == *other
    }
}
