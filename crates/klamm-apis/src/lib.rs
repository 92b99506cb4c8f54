//! One file per Kafka API: decode, call the domain, answer. Wire types, sentinels and version
//! numbers end here (invariant A6); one file maps every domain error to Kafka's code.

mod api;
mod api_versions;
mod caller;
mod context;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod errors;
mod fetch;
mod fetch_read;
mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod internal_topics;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod producer_ids;
mod registry;
mod session;
mod sync_group;
mod topic_key;

pub use context::{Context, Handles, RequestCounts, Traffic};
pub use producer_ids::ProducerIds;
pub use registry::{Served, served};
pub use session::ApiService;
pub use topic_key::FetchKey;
