//! How much a reader of a log wants, what it gets, and why it gets nothing.

use std::fmt;

use klamm_env::FileSlice;
use klamm_model::Offset;

use crate::error::LogError;

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At most this many bytes.
    pub bytes_max: u32,
    /// Whether one batch is given even if it is larger (KIP-74).
    pub at_least_one: AtLeastOne,
    /// Nothing from here on is given: the high watermark or the last stable offset.
    pub upper: Offset,
}

/// Whether a reader must make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLeastOne {
    /// It must: a batch that is larger than the limit is given all the same.
    Batch,
    /// It need not: others have given something already.
    Nothing,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Whole batches, the last of which may be cut by the limit; `None` if there is nothing.
    pub slice: Option<FileSlice>,
}

/// Why nothing can be read.
#[derive(Debug)]
pub enum ReadError {
    /// The offset is below the log's start or above its end.
    OutOfRange {
        /// The first offset that there is.
        log_start_offset: Offset,
        /// The one after the last.
        log_end_offset: Offset,
    },
    /// The disk failed, or holds something else.
    Log(LogError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { log_start_offset, log_end_offset } => {
                write!(f, "offset is outside {log_start_offset}..={log_end_offset}")
            }
            Self::Log(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// Nothing failed: a device would have had to be waited for.
    pub(crate) fn would_block(&self) -> bool {
        let Self::Log(LogError::Io { error, .. }) = self else { return false };
        error.kind() == std::io::ErrorKind::WouldBlock
    }
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// An error that a log which is cut meanwhile can cause.
pub(crate) trait IsFromDisk {
    fn is_from_disk(&self) -> bool;
}

impl IsFromDisk for LogError {
    fn is_from_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Corrupt { .. })
    }
}

impl IsFromDisk for ReadError {
    fn is_from_disk(&self) -> bool {
        matches!(self, Self::Log(error) if error.is_from_disk())
    }
}
