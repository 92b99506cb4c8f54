//! The controller's settings and what every operation is given and gives back. Operations live
//! in files of their own; none of them changes the image: they say which records would.

use std::sync::Arc;

use klamm_env::{Moment, Random};
use klamm_metadata::{MetadataImage, MetadataVersion, VersionedRecord};
use klamm_model::Offset;
use klamm_persisted::metadata::MetadataRecord;
use klamm_stdx::Str;

use crate::ConfigRules;
use crate::heartbeats::Heartbeats;

/// Records that one operation may write (Kafka: `QuorumController.MAX_RECORDS_PER_USER_OP`): one
/// batch of the metadata log must hold them all.
pub const RECORDS_PER_OPERATION_MAX: usize = 10_000;

/// How the cluster is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's id; a broker of another cluster is refused.
    pub cluster_id: Str,
    /// `num.partitions`: for topics whose creator does not say.
    pub num_partitions: i32,
    /// `default.replication.factor`: for topics whose creator does not say.
    pub default_replication_factor: i16,
    /// `min.insync.replicas` where no config says otherwise.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable` where no config says otherwise.
    pub unclean_leader_election: UncleanLeaderElection,
    /// `delete.topic.enable`.
    pub delete_topics: DeleteTopics,
    /// `broker.session.timeout.ms`: a broker that is silent for longer is fenced.
    pub broker_session_timeout_ms: u64,
}

/// Whether a replica outside the ISR may lead, which loses what it has not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncleanLeaderElection {
    /// Rather no leader.
    Disabled,
    /// Rather a leader.
    Enabled,
}

/// Whether topics may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteTopics {
    /// They may.
    Enabled,
    /// They stay.
    Disabled,
}

impl Settings {
    /// Kafka's defaults.
    pub fn new(cluster_id: impl Into<Str>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            unclean_leader_election: UncleanLeaderElection::Disabled,
            delete_topics: DeleteTopics::Enabled,
            broker_session_timeout_ms: 9_000,
        }
    }
}

/// What an operation sees of the world.
pub struct Context<'a> {
    /// The metadata with all operations before this one.
    pub image: &'a MetadataImage,
    /// Where the operation's first record will be in the log.
    pub next_offset: Offset,
    /// What time it is, for sessions.
    pub now: Moment,
    /// Where ids and starting points come from.
    pub random: &'a dyn Random,
}

impl Context<'_> {
    pub(crate) fn version(&self) -> MetadataVersion {
        self.image.features.metadata_version
    }

    pub(crate) fn record(&self, record: impl Into<MetadataRecord>) -> VersionedRecord {
        VersionedRecord::new(record, self.version())
    }
}

/// What an operation decided: nothing of it counts before the records are committed.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerResult<T> {
    /// What happened, for the log.
    pub records: Vec<VersionedRecord>,
    /// What to answer once the records are committed.
    pub response: T,
}

impl<T> ControllerResult<T> {
    /// A decision with records.
    pub fn new(records: Vec<VersionedRecord>, response: T) -> Self {
        Self { records, response }
    }

    /// A decision that changes nothing.
    pub fn unchanged(response: T) -> Self {
        Self { records: Vec::new(), response }
    }
}

/// Whether a request is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Do it.
    #[default]
    Apply,
    /// Say what would happen.
    ValidateOnly,
}

impl Mode {
    /// The result with its records, or without if the request is only tried.
    pub(crate) fn result<T>(
        self,
        records: Vec<VersionedRecord>,
        response: T,
    ) -> ControllerResult<T> {
        match self {
            Self::Apply => ControllerResult::new(records, response),
            Self::ValidateOnly => ControllerResult::unchanged(response),
        }
    }
}

/// The cluster's decisions (Kafka: `QuorumController` and its control managers).
pub struct Controller {
    pub(crate) settings: Settings,
    pub(crate) rules: Arc<dyn ConfigRules>,
    pub(crate) heartbeats: Heartbeats,
}

impl Controller {
    /// A controller that has heard from no broker yet.
    #[must_use]
    pub fn new(settings: Settings, rules: Arc<dyn ConfigRules>) -> Self {
        let heartbeats = Heartbeats::new(settings.broker_session_timeout_ms);
        Self { settings, rules, heartbeats }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
