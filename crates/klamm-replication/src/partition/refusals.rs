//! Why a partition does not take a batch, or does not give records.

use std::fmt;

use klamm_log::{AppendError, ReadError, Shortage};

/// Why a batch was not appended.
#[derive(Debug)]
pub enum AppendRefused {
    /// This broker does not lead the partition.
    NotLeader,
    /// Its directory is offline.
    Offline,
    /// The disk is nearly full; what is left is for others than producers.
    NearlyFull(Shortage),
    /// The log refused.
    Log(AppendError),
}

impl fmt::Display for AppendRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader => write!(f, "this broker does not lead the partition"),
            Self::Offline => write!(f, "the log directory of the partition is offline"),
            Self::NearlyFull(shortage) => fmt::Display::fmt(shortage, f),
            Self::Log(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for AppendRefused {}

/// Why nothing can be read.
#[derive(Debug)]
pub enum ReadRefused {
    /// This broker does not lead the partition.
    NotLeader,
    /// The client believes in an older epoch.
    FencedEpoch,
    /// The client believes in a newer epoch than this broker has heard of.
    UnknownEpoch,
    /// Its directory is offline.
    Offline,
    /// The log refused.
    Log(ReadError),
}
