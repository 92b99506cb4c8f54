//! What a cleaner is given for its work, and what it says of it.

use std::fmt;

use klamm_model::Offset;

use super::rules::Seen;
use crate::error::LogError;
use crate::log::Log;

/// Whoever lets a cleaner at a log for a moment.
pub trait LogOwner {
    /// Asks the log; nobody else does meanwhile.
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T;
}

impl LogOwner for std::sync::Mutex<Log> {
    fn with_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> T {
        ask(&mut self.lock().expect("no holder of this lock can panic"))
    }
}

/// The run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Slows a cleaner down, and stops it.
pub trait Pace {
    /// So many bytes were read or written; may wait.
    ///
    /// # Errors
    /// The run is to end.
    fn spend(&mut self, bytes: u64) -> Result<(), Stopped>;
}

/// Why a run did not come to its end. What it swapped in until then is sound.
#[derive(Debug)]
pub enum CleanError {
    /// It was stopped.
    Stopped,
    /// The log was cut or closed under it.
    Disturbed,
    /// The disk failed, or a batch is damaged.
    Log(LogError),
}

impl fmt::Display for CleanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => write!(f, "cleaning was stopped"),
            Self::Disturbed => write!(f, "the log was cut or closed while it was cleaned"),
            Self::Log(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CleanError {}

impl From<LogError> for CleanError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// What a cleaner may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerOptions {
    /// For the table of keys; it is given back after each run.
    pub keys_bytes: u64,
    /// How full the table may get.
    pub load_factor: f64,
    /// For reading and writing.
    pub io_bytes: usize,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanReport {
    /// Everything below is clean now.
    pub cleaned_to: Offset,
    /// Bytes of the segments that were written again.
    pub bytes_before: u64,
    /// Bytes of what took their place.
    pub bytes_after: u64,
    /// Records in the segments.
    pub records_before: u64,
    /// Records that stayed.
    pub records_after: u64,
    /// Records that went because they had no key.
    pub without_key: u64,
    /// How full the table of keys was, of what it may be.
    pub keys_utilization: f64,
}

impl CleanReport {
    pub(super) fn add(&mut self, before: u64, after: u64, (seen_before, seen): (&Seen, &Seen)) {
        self.bytes_before += before;
        self.bytes_after += after;
        self.records_before += seen.records_read - seen_before.records_read;
        self.records_after += seen.records_kept - seen_before.records_kept;
        self.without_key += seen.without_key - seen_before.without_key;
    }
}
