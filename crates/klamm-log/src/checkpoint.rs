//! The small text files that say how far something has come (Kafka: `CheckpointFile`):
//! a version, a count, and that many lines.

use std::fmt;
use std::path::{Path, PathBuf};

use klamm_env::{Disk, durable};
use klamm_model::{LeaderEpoch, Offset, TopicPartition};

use crate::error::LogError;

/// A checkpoint of 10,000 partitions has about 300 KB; more than this is no checkpoint of ours.
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is wrong with a checkpoint's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointError {
    /// The first line is not version 0.
    Version(String),
    /// The second line is no count, or not that of the lines.
    Count {
        /// What it says.
        expected: String,
        /// How many lines there are.
        found: usize,
    },
    /// A line has the wrong form.
    Line(String),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(line) => write!(f, "version '{line}' is not 0"),
            Self::Count { expected, found } => {
                write!(f, "{found} lines where '{expected}' are promised")
            }
            Self::Line(line) => write!(f, "line '{line}' has the wrong form"),
        }
    }
}

impl std::error::Error for CheckpointError {}

fn write_lines(lines: &[String]) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn parse_lines<T>(
    bytes: &[u8],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default().trim();
    if version != "0" {
        return Err(CheckpointError::Version(shorten(version)));
    }
    let expected = lines.next().unwrap_or_default().trim().to_owned();
    let mut entries = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        entries.push(parse(line.trim()).ok_or_else(|| CheckpointError::Line(shorten(line)))?);
    }
    if expected.parse() != Ok(entries.len()) {
        return Err(CheckpointError::Count { expected: shorten(&expected), found: entries.len() });
    }
    Ok(entries)
}

fn shorten(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

/// Offsets by partition: recovery points, log starts, high watermarks (Kafka:
/// `OffsetCheckpointFile`).
#[derive(Debug, Clone)]
pub struct OffsetCheckpoint {
    path: PathBuf,
}

impl OffsetCheckpoint {
    /// The checkpoint in the file at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What was written last. A file that is missing, or that a crash of other software left
    /// unreadable, is an empty checkpoint: everything it could say can be found out again.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(&self, disk: &dyn Disk) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let bytes = durable::read(disk, &self.path, CHECKPOINT_BYTES_MAX)
            .map_err(LogError::io(&self.path))?;
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        match parse_offsets(&bytes) {
            Ok(entries) => Ok(entries),
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "checkpoint ignored: logs are recovered instead");
                Ok(Vec::new())
            }
        }
    }

    /// Replaces the checkpoint, durably and as a whole.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write(
        &self,
        disk: &dyn Disk,
        entries: &[(TopicPartition, Offset)],
    ) -> Result<(), LogError> {
        let line = |(tp, offset): &(TopicPartition, Offset)| {
            format!("{} {} {offset}", tp.topic, tp.partition)
        };
        let lines: Vec<String> = entries.iter().map(line).collect();
        durable::replace(disk, &self.path, write_lines(&lines).as_bytes())
            .map_err(LogError::io(&self.path))
    }
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_whitespace();
    let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
    let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
    let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
    words.next().is_none().then(|| (TopicPartition::new(topic, partition), Offset(offset)))
}

/// Leader epochs and where they begin (Kafka: `LeaderEpochCheckpointFile`). `None` if there is no
/// readable file; the batches tell the epochs too.
pub(crate) fn read_leader_epochs(
    disk: &dyn Disk,
    path: &Path,
) -> Result<Option<Vec<(LeaderEpoch, Offset)>>, LogError> {
    let bytes = durable::read(disk, path, CHECKPOINT_BYTES_MAX).map_err(LogError::io(path))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let parsed = parse_leader_epochs(&bytes);
    match parsed {
        Ok(entries) => Ok(Some(entries)),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "leader epochs are read from the batches instead");
            Ok(None)
        }
    }
}

pub(crate) fn parse_leader_epochs(
    bytes: &[u8],
) -> Result<Vec<(LeaderEpoch, Offset)>, CheckpointError> {
    parse_lines(bytes, |line| {
        let (epoch, offset) = line.split_once(' ')?;
        let epoch = epoch.parse().ok().filter(|epoch| *epoch >= 0)?;
        let offset = offset.trim().parse().ok().filter(|offset| *offset >= 0)?;
        Some((LeaderEpoch(epoch), Offset(offset)))
    })
}

pub(crate) fn parse_offsets(
    bytes: &[u8],
) -> Result<Vec<(TopicPartition, Offset)>, CheckpointError> {
    parse_lines(bytes, parse_offset)
}

pub(crate) fn write_leader_epochs(
    disk: &dyn Disk,
    path: &Path,
    entries: &[(LeaderEpoch, Offset)],
) -> Result<(), LogError> {
    durable::replace(disk, path, leader_epochs_text(entries).as_bytes())
        .map_err(LogError::growth(path))
}

/// The same, written aside and not synced; see [`durable::write_aside`].
pub(crate) fn write_leader_epochs_aside(
    disk: &dyn Disk,
    path: &Path,
    entries: &[(LeaderEpoch, Offset)],
) -> Result<(), LogError> {
    let written = durable::write_aside(disk, path, leader_epochs_text(entries).as_bytes());
    written.map(drop).map_err(LogError::growth(path))
}

fn leader_epochs_text(entries: &[(LeaderEpoch, Offset)]) -> String {
    let lines: Vec<String> =
        entries.iter().map(|(epoch, offset)| format!("{epoch} {offset}")).collect();
    write_lines(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas() {
        assert_eq!(write_lines(&["t 0 5".into(), "u 1 7".into()]), "0\n2\nt 0 5\nu 1 7\n");
        let parsed = parse_lines(b"0\n2\nt 0 5\nu 1 7\n", parse_offset).unwrap();
        assert_eq!(parsed[1], (TopicPartition::new("u", 1), Offset(7)));
    }

    #[test]
    fn a_text_that_is_old_short_long_or_garbage_is_refused() {
        let parse = |text: &[u8]| parse_lines(text, parse_offset);
        assert!(matches!(parse(b""), Err(CheckpointError::Version(_))));
        assert!(matches!(parse(b"1\n0\n"), Err(CheckpointError::Version(_))));
        assert!(matches!(parse(b"0\n2\nt 0 5\n"), Err(CheckpointError::Count { found: 1, .. })));
        assert!(matches!(parse(b"0\nx\n"), Err(CheckpointError::Count { .. })));
        assert!(matches!(parse(b"0\n1\nt 0\n"), Err(CheckpointError::Line(_))));
        assert!(matches!(parse(b"0\n1\nt 0 -5\n"), Err(CheckpointError::Line(_))));
        assert!(matches!(parse(b"0\n1\nt 0 5 6\n"), Err(CheckpointError::Line(_))));
        assert!(matches!(parse(&[0xff; 40]), Err(CheckpointError::Version(_))));
    }
}
