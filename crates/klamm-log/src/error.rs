//! Why a log cannot be opened or changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use klamm_model::Offset;

/// What stands in the way.
#[derive(Debug)]
pub enum LogError {
    /// The disk failed; the directory must not be used any more.
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
    /// The disk has no room: nothing was changed, and the same may be asked again.
    Full {
        /// What could not grow.
        path: PathBuf,
    },
    /// A segment holds what no crash leaves behind.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// What is there.
        what: String,
    },
    /// A small file holds what Klamm did not write.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what helps.
        what: String,
    },
    /// An offset outside the log.
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first that there is.
        log_start_offset: Offset,
        /// The one after the last.
        log_end_offset: Offset,
    },
}

/// Whether a call failed for want of room (`ENOSPC`, `EDQUOT`).
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl LogError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.to_owned(), error }
    }

    /// For a step that can be taken again as a whole if there was no room for it.
    pub(crate) fn growth(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| match is_full(&error) {
            true => Self::Full { path: path.to_owned() },
            false => Self::Io { path: path.to_owned(), error },
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Full { path } => write!(
                f,
                "{}: no space is left on the disk; delete records or topics, lower retention, or add room",
                path.display()
            ),
            Self::Corrupt { path, position, what } => {
                let path = path.display();
                write!(
                    f,
                    "{path} is corrupt at byte {position}: {what}; restore the file from a replica \
                     or a backup, or give up what is behind: truncate --size={position} {path}"
                )
            }
            Self::Unreadable { path, what } => write!(f, "{}: {what}", path.display()),
            Self::OutOfRange { offset, log_start_offset, log_end_offset } => {
                write!(f, "offset {offset} is outside {log_start_offset}..{log_end_offset}")
            }
        }
    }
}

impl std::error::Error for LogError {}
