//! The partitions of this broker: who leads them, how far they are committed, and who waits.
//!
//! A [`Partition`] holds its log behind one mutex, taken for microseconds by appends alone.
//! Readers take no lock: they read the log's view, bounded by the high watermark. With a single
//! replica the high watermark is the end of the log, or what is synced of it, as the topic's
//! durability says.

mod assignments;
mod checkpoint_turns;
mod checkpoints;
mod cleaner;
mod cleaner_checkpoints;
mod cleaner_throttle;
mod close;
mod coordinator_log;
mod directories;
mod directory;
mod doomed;
mod fetch_session;
mod fetch_sessions;
mod index;
mod move_refused;
mod mover;
mod moves;
mod moving;
mod new_partition;
mod opening;
mod partition;
mod partitions;
mod replica_move;
mod rules;
mod scrub;
mod waiters;

pub use cleaner::{CleanerFigures, LogCleaner, Turn};
pub use cleaner_throttle::Throttle;
pub use coordinator_log::CoordinatorPartition;
pub use directories::{Directories, OpenError};
pub use directory::Directory;
pub use fetch_session::{Answer, SessionError, SessionRef, SessionRequest, Told, Wanted, Worth};
pub use fetch_sessions::FetchSessions;
pub use move_refused::MoveRefused;
pub use mover::{LogMover, MoveTurn};
pub use new_partition::{Age, NewPartition};
pub use partition::{AppendRefused, CommitWait, Partition, ReadRefused, TransactionMarker, Watch};
pub use partitions::{FirstWrites, Partitions};
pub use replica_move::FutureReplica;
pub use rules::{log_config, rules};
pub use scrub::{LogScrub, ScrubFigures};
pub use waiters::FetchSignal;
