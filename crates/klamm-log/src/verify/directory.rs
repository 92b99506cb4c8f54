//! The small files of a log directory: each can be read, and says nothing that the logs deny.

use std::collections::HashMap;
use std::path::Path;

use klamm_env::{Disk, durable};
use klamm_model::{Offset, TopicPartition};

use super::{CURE_CHECKPOINT, Extent, Finding, Findings, VerifyError};
use crate::checkpoint::parse_offsets;
use crate::closed::{self, CLOSED_LOGS};
use crate::directory::clean_shutdown::CLEAN_SHUTDOWN;
use crate::directory::found_partition::{HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS};
use crate::directory::meta_properties::{META_PROPERTIES, MetaProperties};
use crate::error::LogError;
use crate::mark::{self, RECOVERY_MARKS};
use crate::names::CLEANER_OFFSETS;

const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CURE_MARKS: &str =
    "remove it: the next start reads more and takes longer, and writes it anew";

/// Looks at the small files of the log directory at `root`, whose partitions hold `extents`.
///
/// # Errors
/// The disk failed.
pub fn verify_small_files(
    disk: &dyn Disk,
    root: &Path,
    extents: &HashMap<TopicPartition, Option<Extent>>,
) -> Result<Vec<Finding>, VerifyError> {
    let mut findings = Findings::default();
    if let Err(error) = MetaProperties::read(disk, root) {
        findings.damage(&root.join(META_PROPERTIES), None, (error.to_string(), "see there"));
    }
    for name in [RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS, CLEANER_OFFSETS] {
        let path = root.join(name);
        // Kafka makes the file before it has anything to say (`CheckpointFile`).
        let Some(bytes) = read(disk, &path)?.filter(|bytes| !bytes.is_empty()) else { continue };
        match parse_offsets(&bytes) {
            Ok(entries) => offsets((&path, name), &entries, extents, &mut findings),
            Err(error) => {
                findings.damage(&path, None, (error.to_string(), CURE_CHECKPOINT));
            }
        }
    }
    let path = root.join(RECOVERY_MARKS);
    if let Some(Err(error)) = read(disk, &path)?.map(|bytes| mark::decode(&bytes)) {
        findings.damage(&path, None, (error.to_string(), CURE_MARKS));
    }
    let path = root.join(CLOSED_LOGS);
    if let Some(bytes) = read(disk, &path)? {
        let text = String::from_utf8_lossy(&bytes);
        let writer = text.lines().nth(1).and_then(|line| line.parse().ok());
        if let Err(error) = closed::decode(&bytes, writer.unwrap_or(-1)) {
            findings.damage(&path, None, (error.to_string(), CURE_MARKS));
        }
    }
    let path = root.join(CLEAN_SHUTDOWN);
    let marker = read(disk, &path)?;
    if marker.is_some_and(|bytes| !String::from_utf8_lossy(&bytes).contains("brokerEpoch")) {
        findings.note(&path, "it names no broker epoch, as before Kafka 3.7");
    }
    Ok(findings.found)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, VerifyError> {
    Ok(durable::read(disk, path, FILE_BYTES_MAX).map_err(LogError::io(path))?)
}

/// No checkpoint says more than there is.
fn offsets(
    (path, name): (&Path, &str),
    entries: &[(TopicPartition, Offset)],
    extents: &HashMap<TopicPartition, Option<Extent>>,
    findings: &mut Findings,
) {
    for (partition, offset) in entries {
        let Some(extent) = extents.get(partition) else {
            findings.note(path, format!("it speaks of {partition}, which is not here"));
            continue;
        };
        // A log without a file begins where its checkpoint says.
        let Some(extent) = extent.filter(|extent| *offset > extent.end) else { continue };
        let end = extent.end;
        let what = match name {
            RECOVERY_POINTS => format!(
                "everything of {partition} below {offset} was on the disk, and it ends at {end}"
            ),
            LOG_STARTS => format!("{partition} starts at {offset}, and it ends at {end}"),
            _ => format!("{partition} came to {offset}, and it ends at {end}"),
        };
        let cure = "restore what is missing from a replica or a backup; a start goes on without it";
        findings.damage(path, None, (what, cure));
    }
}
