//! The cluster's metadata as an immutable image, rebuilt from the records of the metadata log.
//!
//! A [`Loader`] replays committed records into a [`MetadataDelta`]; what comes out is the next
//! [`MetadataImage`] and the [`Changes`] that led to it. [`MetadataImage::to_records`] goes the
//! other way, for snapshots. Never decides anything about the cluster and never reads a file.

mod changes;
mod cluster;
mod delta;
mod detach;
pub mod features;
mod handle;
mod image;
mod loader;
mod partition;
mod record;
mod replay_error;
mod snapshot;
mod topics;
mod version;

pub use changes::Changes;
pub use cluster::{BrokerRegistration, ClusterImage, Endpoint, SupportedFeature};
pub use delta::MetadataDelta;
pub use features::{FeaturesImage, bootstrap_records, supported_features};
pub use handle::{MetadataHandle, Publisher};
pub use image::{
    CONFIG_BROKER, CONFIG_CLIENT_METRICS, CONFIG_GROUP, CONFIG_TOPIC, ConfigResource, Configs,
    MetadataImage, Provenance, QuotaKey, SecurityImage,
};
pub use loader::Loader;
pub use partition::{LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, PartitionRegistration};
pub use record::{VersionedRecord, record_version};
pub use replay_error::ReplayError;
pub use snapshot::SnapshotError;
pub use topics::{TopicImage, TopicsImage};
pub use version::{MetadataVersion, MetadataVersionError};
