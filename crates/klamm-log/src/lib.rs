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
//!
//! `log.rs` is the log, and each thing that is done to it has a file: `append`, `roll`, `flush`,
//! `save`, `close`, `retention`, `truncation`, `relocation`, `recovery`, `compaction`. What it is
//! made of is below them: `segment`, `producers`, `epochs`, `aborted`, `sync`, and the `view`.

mod aborted;
mod append;
mod appended;
mod checkpoint;
mod close;
mod closed;
mod compaction;
mod config;
mod deletions;
mod directory;
mod dooming;
pub mod dump;
mod epochs;
mod error;
mod flush;
mod flush_timer;
mod flusher;
mod listing;
mod log;
mod mark;
pub mod names;
mod partition_metadata;
mod producers;
mod recovery;
mod reload;
mod relocation;
mod retention;
mod roll;
mod room;
mod save;
mod scrub;
mod seeded_bugs;
mod segment;
mod sync;
mod truncation;
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
pub use directory::error::DirError;
pub use directory::found_partition::FoundPartition;
pub use directory::log_dir::LogDir;
pub use directory::log_dirs::{FailedDir, LogDirs, LogDirsOptions};
pub use directory::meta_properties::{MetaProperties, MetaPropertiesError};
pub use epochs::{EpochEnd, LeaderEpochs};
pub use error::LogError;
pub use flusher::{Flusher, Syncable, Urgency};
pub use log::Log;
pub use mark::RecoveryMark;
pub use partition_metadata::{
    PartitionMetadataError, read_partition_metadata, write_partition_metadata,
};
pub use producers::entry::{ProducerEntry, RememberedBatch};
pub use producers::marker::Marker;
pub use producers::rules::ProducerRules;
pub use producers::snapshot::{SnapshotError, decode_snapshot, encode_snapshot};
pub use producers::state::ProducerState;
pub use recovery::{Opening, RecoveryReport};
pub use relocation::{Copied, CopyError};
pub use room::{Room, Shortage};
pub use scrub::{Scrubbed, SealedSegment};
#[cfg(feature = "seeded-bugs")]
pub use seeded_bugs::{SeededBug, with_bug};
pub use segment::index::{IndexEntry, TimeIndexEntry, decode_index, decode_time_index};
pub use segment::open_files::OpenFiles;
pub use segment::transaction_index::AbortedTransaction;
pub use sync::SyncTicket;
pub use view::LogView;
pub use view::read::{AtLeastOne, Limits, Read, ReadError};
pub use view::timestamps::FoundTimestamp;
