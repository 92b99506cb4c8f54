//! Files of a log directory looked at offline, for whoever wants to know what is wrong and what
//! helps. Reads everything, decodes everything, believes nothing; only [`repair_indexes`] writes.
//!
//! ```text
//! walk       the batches of a file, through a buffer of bounded size
//! indexes    what an index says, against the batches as they come by
//! partition  one partition's directory: its segments, and the small files beside them
//! directory  a log directory: its small files against the ends of its logs
//! repair     indexes written anew, each as a whole
//! ```

mod aborts;
mod directory;
mod indexes;
mod partition;
mod repair;
mod walk;

use std::path::{Path, PathBuf};

use klamm_model::Offset;

use crate::error::LogError;

pub use directory::verify_small_files;
pub use partition::{PartitionReport, verify_partition};
pub use repair::{Repaired, repair_indexes};
pub use walk::{BatchCheck, WalkEnd, walk_batches};

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong with it; the next start tidies it up, or it is worth knowing.
    Note,
    /// The file is not what it should be.
    Damage,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub path: PathBuf,
    /// Where in it, in bytes, if it is somewhere.
    pub position: Option<u64>,
    /// What it means.
    pub severity: Severity,
    /// What is there.
    pub what: String,
    /// What can be done.
    pub cure: &'static str,
}

/// What can be done about damaged batches.
pub(crate) const CURE_BATCHES: &str = "restore the file from a replica or a backup, or give up what is behind: truncate it at this byte";
/// What can be done about a wrong index.
pub(crate) const CURE_INDEX: &str = "klamm log repair-index writes it anew from the batches";
const CURE_SNAPSHOT: &str = "klamm log repair-index writes it anew; the next start does without it";
const CURE_CHECKPOINT: &str =
    "restore it from a backup, or remove it: the next start finds out from the logs";
const CURE_NONE: &str = "nothing is to be done: the next start takes care of it";

/// Where findings go.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Finding>,
}

/// More of one file are not told: who has these looks for a backup.
const FINDINGS_PER_FILE_MAX: usize = 20;

impl Findings {
    pub(crate) fn damage(&mut self, path: &Path, at: Option<u64>, told: (String, &'static str)) {
        self.add(path, at, Severity::Damage, told);
    }

    pub(crate) fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.add(path, None, Severity::Note, (what.into(), CURE_NONE));
    }

    fn add(
        &mut self,
        path: &Path,
        position: Option<u64>,
        severity: Severity,
        (what, cure): (String, &'static str),
    ) {
        let of_file = self.found.iter().filter(|finding| finding.path == path).count();
        if of_file < FINDINGS_PER_FILE_MAX {
            self.found.push(Finding { path: path.to_owned(), position, severity, what, cure });
        }
    }
}

/// Told how many bytes were read; may end the work.
pub trait Progress {
    /// So many bytes more were read; may wait.
    ///
    /// # Errors
    /// The work is to end.
    fn read(&mut self, bytes: u64) -> Result<(), crate::Stopped>;
}

/// Why files could not be looked at.
#[derive(Debug)]
pub enum VerifyError {
    /// Somebody asked to end it.
    Stopped,
    /// The disk failed.
    Log(LogError),
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was stopped"),
            Self::Log(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for VerifyError {}

impl From<LogError> for VerifyError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<crate::Stopped> for VerifyError {
    fn from(_: crate::Stopped) -> Self {
        Self::Stopped
    }
}

/// The range of offsets that a partition's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The base offset of its first segment.
    pub first: Offset,
    /// The offset after its last batch.
    pub end: Offset,
}
