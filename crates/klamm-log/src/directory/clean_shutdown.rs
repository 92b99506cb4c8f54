//! The marker that an orderly stop leaves, and whose stop it was (Kafka:
//! `CleanShutdownFileHandler`).

use std::io;
use std::path::Path;

use klamm_env::{Disk, durable};

pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Kafka's has one short line.
const MARKER_BYTES_MAX: u64 = 64 * 1024;

/// Whether the directory at `path` has one.
pub(crate) fn is_there(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    Ok(disk.file_len(&path.join(CLEAN_SHUTDOWN))?.is_some())
}

/// The broker epoch in it, if it has one.
pub(crate) fn broker_epoch(disk: &dyn Disk, path: &Path) -> io::Result<Option<i64>> {
    let text = durable::read(disk, &path.join(CLEAN_SHUTDOWN), MARKER_BYTES_MAX)?;
    let text = text.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(text.split_once("\"brokerEpoch\":").and_then(|(_, rest)| {
        let rest = rest.trim_start();
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..len].parse().ok()
    }))
}

/// Removes it: from here on a crash must be seen as one.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.remove_file(&path.join(CLEAN_SHUTDOWN))?;
    disk.sync_dir(path)
}

/// Says that everything is in order.
pub(crate) fn write(disk: &dyn Disk, path: &Path, broker_epoch: i64) -> io::Result<()> {
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    durable::replace(disk, &path.join(CLEAN_SHUTDOWN), text.as_bytes())
}
