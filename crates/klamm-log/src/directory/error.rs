//! Why a log directory cannot be used, in words that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::{LogError, is_full};

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DirError {
    /// Another process holds its lock.
    InUse(PathBuf),
    /// It cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// It was never formatted.
    NotFormatted(PathBuf),
    /// It belongs to somebody else.
    Foreign {
        /// Which.
        path: PathBuf,
        /// What differs, and both values.
        what: String,
    },
    /// A small file in it is unreadable.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and the cure.
        what: String,
    },
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "log directory {} is in use by another process; stop it, or give this node a directory of its own (log.dirs)",
                path.display()
            ),
            Self::Io { path, error } => write!(
                f,
                "log directory {} cannot be used: {error}; check that it exists, is writable and has room",
                path.display()
            ),
            Self::NotFormatted(path) => write!(
                f,
                "log directory {} is not formatted; run 'klamm storage format' first",
                path.display()
            ),
            Self::Foreign { path, what } => write!(f, "log directory {}: {what}", path.display()),
            Self::Unreadable { path, what } => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for DirError {}

impl DirError {
    /// Whether nothing but room is wanting.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_full(error))
    }
}

impl From<LogError> for DirError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io { path, error } => Self::Io { path, error },
            LogError::Unreadable { path, what } => Self::Unreadable { path, what },
            other => Self::Unreadable { path: PathBuf::new(), what: other.to_string() },
        }
    }
}
