//! Why a replica is not moved to another log directory.

use std::fmt;

use klamm_log::LogError;

/// Why a replica is not moved.
#[derive(Debug)]
pub enum MoveRefused {
    /// The topic's name leaves no room for the copy's directory.
    NameTooLong,
    /// This node has no such log directory.
    NoSuchDirectory,
    /// The log directory takes no new replicas (KIP-1066).
    Cordoned,
    /// The partition or the log directory is offline.
    Offline,
    /// There is no such partition here. It goes into that directory if it is made.
    UnknownPartition,
    /// An earlier move has just come to its end: it may be asked again.
    Busy,
    /// The copy could not be made.
    Log(LogError),
}

impl fmt::Display for MoveRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong => {
                write!(f, "the topic's name is too long for a directory beside it")
            }
            Self::NoSuchDirectory => write!(f, "the log directory is not one of log.dirs"),
            Self::Cordoned => write!(f, "the log directory is cordoned (cordoned.log.dirs)"),
            Self::Offline => write!(f, "the partition or the log directory is offline"),
            Self::UnknownPartition => write!(f, "the partition is not here; it is made there"),
            Self::Busy => write!(f, "an earlier move is just ending; ask again"),
            Self::Log(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for MoveRefused {}
