//! KRaft for a quorum of one: the metadata log, who leads it, and its snapshots. Kafka's files,
//! byte for byte.
//!
//! ```text
//! open ──> snapshot + log replayed ──> elected in epoch + 1 ──> leader ── append ──> committed
//!          (Quorum::open)              (core::elect)                     (one batch, one sync)
//! ```
//!
//! A record is committed when it is on the disk of a majority: here, on ours. [`core`] decides
//! and touches nothing; [`Quorum`] does. More voters change this crate and no other. Never
//! interprets a record beyond replaying it, and never retries a failed write or sync.

mod batch;
pub mod core;
mod error;
mod files;
mod format;
mod quorum;
mod quorum_state;
mod replay;
mod snapshot;
mod tail;
mod verify;
mod voters;

pub use batch::BATCH_BYTES_MAX;
pub use error::RaftError;
pub use format::{
    Format, FormatError, FormatReport, FormatVoters, ScramCredential, format, scram_record,
};
pub use quorum::{Opened, Quorum, QuorumOptions, SnapshotRules};
pub use quorum_state::QuorumState;
pub use snapshot::SnapshotId;
pub use verify::{Checked, verify_metadata_files};
pub use voters::{Voter, VoterEndpoint};
