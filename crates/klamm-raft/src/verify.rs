//! The small files of the metadata log, looked at offline. Nothing is changed.

use std::path::{Path, PathBuf};

use klamm_env::Disk;

use crate::RaftError;
use crate::quorum_state::{QUORUM_STATE, QuorumState};
use crate::snapshot;

/// A file, and what is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// Which.
    pub path: PathBuf,
    /// What is wrong, and what helps.
    pub result: Result<(), RaftError>,
}

/// Looks at `quorum-state` and the snapshots in the metadata log's directory, or at the
/// `bootstrap.checkpoint` in a log directory.
///
/// # Errors
/// The directory cannot be read.
pub fn verify_metadata_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<Checked>, RaftError> {
    let mut checked = Vec::new();
    for entry in disk.list(dir).map_err(RaftError::io(dir))? {
        let path = dir.join(&entry.name);
        if entry.name == QUORUM_STATE {
            let result = QuorumState::read(disk, dir).map(drop);
            checked.push(Checked { path, result });
        } else if !entry.is_dir && entry.name.ends_with(".checkpoint") {
            let result = snapshot::read_file(disk, &path).map(drop);
            checked.push(Checked { path, result });
        }
    }
    Ok(checked)
}
