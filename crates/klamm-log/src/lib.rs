//! One partition's log on disk, and the directories that hold logs. Kafka's files, byte for byte.
//!
//! A [`Log`] has one owner, who appends; any number of readers hold its [`LogView`] and take no
//! lock of the owner's. Nothing here knows of leaders, replicas or clients, and nothing syncs by
//! itself: the owner asks for a [`SyncTicket`], has it done by a [`Flusher`], and reports back.
//!
//! ```text
//! log.dirs/                               klamm-log
//! ├── .lock  meta.properties              one process, of one node, of one cluster
//! ├── .kafka_cleanshutdown                there after an orderly stop only
//! ├── recovery-point-offset-checkpoint    below it everything is on the disk
//! ├── log-start-offset-checkpoint  replication-offset-checkpoint
//! ├── klamm-recovery-checkpoint           what a restart need not read; Kafka passes it over
//! └── topic-0/                            one Log
//!     ├── partition.metadata  leader-epoch-checkpoint
//!     ├── 00000000000000000000.log        a Segment: batches,
//!     ├── 00000000000000000000.index      sparse offset -> position,
//!     ├── 00000000000000000000.timeindex  sparse timestamp -> offset,
//!     └── 00000000000000000123.snapshot   producers as of that offset
//! ```

mod aborted;
mod active;
mod append;
mod appended;
mod checkpoint;
mod clean_shutdown;
mod close;
mod closed;
mod compaction;
mod config;
mod deletions;
mod dir_error;
mod dooming;
pub mod dump;
mod epochs;
mod error;
mod flush;
mod flush_timer;
mod flusher;
mod found_partition;
mod index;
mod indexes;
mod listing;
mod log;
mod log_dir;
mod log_dirs;
mod mark;
mod marker;
mod meta_properties;
pub mod names;
mod open_files;
mod partition_metadata;
mod producer_entry;
mod producer_rules;
mod producer_snapshot;
mod producer_state;
mod read;
mod recent;
mod recovery;
mod reload;
mod relocation;
mod retention;
mod roll;
mod room;
mod save;
mod scrub;
mod search;
mod seeded_bugs;
mod segment;
mod snapshots;
mod sync;
mod timestamps;
mod transaction_index;
mod truncation;
mod undecided;
mod verification;
pub mod verify;
mod view;

pub use appended::{AppendError, Appended, FollowError, Origin, SequenceError, TransactionError};
pub use checkpoint::{CheckpointError, OffsetCheckpoint};
pub use close::Closing;
pub use closed::ClosedLog;
pub use compaction::{
    Assessment, Candidate, CleanError, CleanReport, Cleaner, CleanerOptions, KeySecret, LogOwner,
    Pace, Stopped, filthiest,
};
pub use config::{Cleanup, Durability, LogConfig};
pub use deletions::DoomedFiles;
pub use dir_error::DirError;
pub use epochs::{EpochEnd, LeaderEpochs};
pub use error::LogError;
pub use flusher::{Flusher, Syncable, Urgency};
pub use found_partition::FoundPartition;
pub use index::{IndexEntry, TimeIndexEntry, decode_index, decode_time_index};
pub use log::Log;
pub use log_dir::LogDir;
pub use log_dirs::{FailedDir, LogDirs, LogDirsOptions};
pub use mark::RecoveryMark;
pub use marker::Marker;
pub use meta_properties::{MetaProperties, MetaPropertiesError};
pub use open_files::OpenFiles;
pub use partition_metadata::{
    PartitionMetadataError, read_partition_metadata, write_partition_metadata,
};
pub use producer_entry::{ProducerEntry, RememberedBatch};
pub use producer_rules::ProducerRules;
pub use producer_snapshot::{SnapshotError, decode_snapshot, encode_snapshot};
pub use producer_state::ProducerState;
pub use read::{AtLeastOne, Limits, Read, ReadError};
pub use recovery::{Opening, RecoveryReport};
pub use relocation::{Copied, CopyError};
pub use room::{Room, Shortage};
pub use scrub::{Scrubbed, SealedSegment};
#[cfg(feature = "seeded-bugs")]
pub use seeded_bugs::{SeededBug, with_bug};
pub use sync::SyncTicket;
pub use timestamps::FoundTimestamp;
pub use transaction_index::AbortedTransaction;
pub use view::LogView;
