//! Why the metadata log cannot be opened or changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use klamm_log::LogError;
use klamm_model::{LeaderEpoch, NodeId, Offset, Uuid};

/// What stands in the way.
#[derive(Debug)]
pub enum RaftError {
    /// The disk failed: what is durable is unknown, and the log is closed for writing.
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
    /// The log failed.
    Log(LogError),
    /// A file is not what it should be; nothing of it was used or changed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what helps.
        what: String,
    },
    /// A committed record that this program cannot apply.
    Record {
        /// Its offset; within a snapshot for records of one.
        offset: Offset,
        /// What is wrong with it.
        what: String,
    },
    /// Nobody says who the voters are.
    NoVoters,
    /// This node does not vote.
    NotAVoter {
        /// This node.
        node_id: NodeId,
        /// Those who do.
        voters: Vec<NodeId>,
    },
    /// The voter set knows this node with another directory.
    OtherDirectory {
        /// The directory in the voter set.
        expected: Uuid,
        /// The directory of this node.
        actual: Uuid,
    },
    /// More voters than this version can do.
    ManyVoters {
        /// How many.
        count: usize,
    },
    /// No epoch is left.
    EpochsUsedUp {
        /// The last one.
        epoch: LeaderEpoch,
    },
    /// Records that must be committed together do not fit one batch.
    TooLarge {
        /// Their bytes.
        bytes: usize,
    },
    /// An image that lacks records of the log: a snapshot of it would lose them.
    StaleImage {
        /// Up to where the image has read.
        image: Offset,
        /// The end of the log.
        log: Offset,
    },
    /// An earlier write or sync failed.
    Closed,
}

impl RaftError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.to_owned(), error }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

impl From<LogError> for RaftError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl fmt::Display for RaftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Log(error) => write!(f, "metadata log: {error}"),
            Self::Damaged { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Record { offset, what } => {
                write!(f, "the metadata record at offset {offset} cannot be applied: {what}")
            }
            Self::NoVoters => f.write_str(
                "nobody votes: format the directory with 'klamm storage format --standalone', \
                 or set controller.quorum.voters",
            ),
            Self::NotAVoter { node_id, voters } => {
                let voters: Vec<_> = voters.iter().map(ToString::to_string).collect();
                write!(f, "node {node_id} is not among the voters: {}", voters.join(", "))
            }
            Self::OtherDirectory { expected, actual } => write!(
                f,
                "the voter set knows this node with directory {expected}, and its metadata \
                 directory is {actual}: it was replaced, or meta.properties is another's"
            ),
            Self::ManyVoters { count } => {
                write!(f, "the quorum has {count} voters; more than one is not built yet")
            }
            Self::EpochsUsedUp { epoch } => write!(f, "no epoch is left after {epoch}"),
            Self::TooLarge { bytes } => write!(
                f,
                "records of {bytes} bytes must be committed together, more than {} fit no batch",
                crate::BATCH_BYTES_MAX
            ),
            Self::StaleImage { image, log } => {
                write!(f, "the image has read up to offset {image}, the log ends at {log}")
            }
            Self::Closed => f.write_str("the metadata log is closed after a failed write or sync"),
        }
    }
}

impl std::error::Error for RaftError {}
