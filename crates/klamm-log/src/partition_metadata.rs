//! `partition.metadata`: the id of the topic that a partition's directory belongs to, so that a
//! recreated topic is never mixed up with the old one (Kafka: `PartitionMetadataFile`).

use std::fmt;
use std::io;
use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_model::TopicId;

use crate::names::PARTITION_METADATA;

const FILE_BYTES_MAX: u64 = 4096;
/// What the file begins with; the topic's id is its end.
const BEFORE_ID: &str = "version: 0\ntopic_id: ";

/// What is wrong with the file.
#[derive(Debug)]
pub enum PartitionMetadataError {
    /// It cannot be read.
    Io(io::Error),
    /// Its text has another form.
    Text(String),
}

impl fmt::Display for PartitionMetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{PARTITION_METADATA}: {error}"),
            Self::Text(what) => write!(
                f,
                "{PARTITION_METADATA}: {what}; restore the file, or remove it if the directory belongs to the topic of its name as it is now"
            ),
        }
    }
}

impl std::error::Error for PartitionMetadataError {}

/// The topic id of the partition in `dir`; `None` if there is no such file.
///
/// # Errors
/// The file cannot be read or has another form.
pub fn read_partition_metadata(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Option<TopicId>, PartitionMetadataError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) =
        durable::read(disk, &path, FILE_BYTES_MAX).map_err(PartitionMetadataError::Io)?
    else {
        return Ok(None);
    };
    if bytes.iter().all(|byte| *byte == 0) {
        // A crash before the first sync of the partition: nothing in it was acknowledged.
        tracing::warn!(file = %path.display(), "an empty file says nothing of the topic");
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    if is_torn(&text) {
        tracing::warn!(file = %path.display(), "a file that is cut off says nothing of the topic");
        return Ok(None);
    }
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).ok_or_else(|| PartitionMetadataError::Text(format!("no line '{name}'")))
    };
    if field("version:")? != "0" {
        return Err(PartitionMetadataError::Text("version is not 0".into()));
    }
    let id: TopicId = field("topic_id:")?
        .parse()
        .map_err(|e: klamm_model::UuidParseError| PartitionMetadataError::Text(e.to_string()))?;
    if id.is_zero() {
        return Err(PartitionMetadataError::Text("topic_id is all zeros".into()));
    }
    Ok(Some(id))
}

/// Whether a power cut before the first sync has left only the beginning of the file: nothing in
/// the directory was acknowledged then.
fn is_torn(text: &str) -> bool {
    const ID_CHARS: usize = 22;
    match text.strip_prefix(BEFORE_ID) {
        None => BEFORE_ID.starts_with(text),
        Some(id) => {
            let id = id.trim_end_matches('\0');
            let is_id = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            id.len() < ID_CHARS && id.chars().all(is_id)
        }
    }
}

/// Writes the file. It becomes durable with the first sync of the partition.
///
/// # Errors
/// The disk failed.
pub fn write_partition_metadata(disk: &dyn Disk, dir: &Path, topic_id: TopicId) -> io::Result<()> {
    let file = disk.open(&dir.join(PARTITION_METADATA), klamm_env::OpenMode::Create)?;
    let text = format!("{BEFORE_ID}{topic_id}");
    file.write_all_at(&[io::IoSlice::new(text.as_bytes())], 0)?;
    file.set_len(text.len() as u64)
}
