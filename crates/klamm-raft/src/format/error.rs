//! Why directories are not formatted.

use std::fmt;
use std::path::PathBuf;

use crate::RaftError;

/// Why nothing was formatted.
#[derive(Debug)]
pub enum FormatError {
    /// Directories are in use already.
    AlreadyFormatted(Vec<PathBuf>),
    /// A formatted directory belongs to another cluster or node.
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What it says.
        what: String,
    },
    /// A feature or a level that cannot be.
    Feature {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The voters cannot be.
    Voters(String),
    /// A user cannot be.
    Scram(String),
    /// The cluster id is not usable.
    ClusterId(String),
    /// The disk failed.
    Disk(RaftError),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyFormatted(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "already formatted: {}; use --ignore-formatted to format only the others",
                    paths.join(", ")
                )
            }
            Self::Foreign { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Feature { name, what } => write!(f, "feature {name}: {what}"),
            Self::Voters(what) | Self::Scram(what) | Self::ClusterId(what) => f.write_str(what),
            Self::Disk(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<RaftError> for FormatError {
    fn from(error: RaftError) -> Self {
        Self::Disk(error)
    }
}
