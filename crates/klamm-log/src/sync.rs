//! What of a log may be in memory only, and the tickets by which it becomes durable.
//!
//! ```text
//! dirtied ──ticket──> in flight ──on_synced──> forgotten
//!    ^                    │
//!    └── dirtied again ───┘   a newer generation: the ticket under way does not cover it
//! ```
//!
//! Never syncs by itself, and never believes a ticket beyond what the log held when it was
//! issued: what a truncation cut off and what was appended in its place is not covered.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};
use klamm_model::Offset;

use crate::mark::RecoveryMark;
use crate::seeded_bugs::{SeededBug, is_seeded};

/// Tickets whose outcome was not reported. A flusher has one at a time; whoever never reports
/// loses the oldest, and with it only the news that something is durable.
const TICKETS_MAX: usize = 64;

/// What is to be synced, and what is durable then.
#[derive(Debug)]
pub struct SyncTicket {
    /// Files with bytes that may be in memory only.
    pub files: Vec<Arc<dyn DiskFile>>,
    /// Files that are opened for it: so many logs may wait that they cannot all be kept open. One
    /// that is gone was deleted since.
    pub paths: Vec<PathBuf>,
    /// Directories with names that may be in memory only.
    pub dirs: Vec<PathBuf>,
    /// Everything below is durable when all of them are synced.
    pub up_to: Offset,
}

impl SyncTicket {
    /// Syncs everything, one after another.
    ///
    /// # Errors
    /// The first failed sync; it must not be retried.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        for file in &self.files {
            match file.sync() {
                Err(_) if is_seeded(SeededBug::FailedSyncRetried) => file.sync()?,
                outcome => outcome?,
            }
        }
        for path in &self.paths {
            match disk.open(path, OpenMode::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync()?,
            }
        }
        for dir in &self.dirs {
            disk.sync_dir(dir)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Dirty {
    File { file: Arc<dyn DiskFile>, segment_base: Option<Offset> },
    Path { path: PathBuf, segment_base: Option<Offset> },
    Dir(PathBuf),
}

#[derive(Debug)]
struct Issued {
    up_to: Offset,
    /// `up_to`, or less after a truncation.
    covers: Offset,
    generation: u64,
    mark: Option<RecoveryMark>,
}

/// Files and directories that wait to be synced, besides the active segment's file.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    dirty: Vec<(u64, Dirty)>,
    generation: u64,
    issued: VecDeque<Issued>,
}

impl Unsynced {
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// A file of the segment at `segment_base`, or of the log as a whole.
    pub(crate) fn file(&mut self, file: Arc<dyn DiskFile>, segment_base: Option<Offset>) {
        self.generation += 1;
        self.dirty.push((self.generation, Dirty::File { file, segment_base }));
    }

    /// A small file that need not be kept open.
    pub(crate) fn path(&mut self, path: PathBuf, segment_base: Option<Offset>) {
        self.generation += 1;
        self.dirty.retain(
            |(_, dirty)| !matches!(dirty, Dirty::Path { path: known, .. } if *known == path),
        );
        self.dirty.push((self.generation, Dirty::Path { path, segment_base }));
    }

    pub(crate) fn dir(&mut self, dir: PathBuf) {
        if is_seeded(SeededBug::DirectoryNotSynced) {
            return;
        }
        self.generation += 1;
        self.dirty.retain(|(_, dirty)| !matches!(dirty, Dirty::Dir(known) if *known == dir));
        self.dirty.push((self.generation, Dirty::Dir(dir)));
    }

    pub(crate) fn has_dir(&self, dir: &Path) -> bool {
        self.dirty.iter().any(|(_, dirty)| matches!(dirty, Dirty::Dir(known) if known == dir))
    }

    /// Whether bytes are to be synced, not only names.
    pub(crate) fn has_files(&self) -> bool {
        self.dirty.iter().any(|(_, dirty)| !matches!(dirty, Dirty::Dir(_)))
    }

    /// The segment is going: nobody needs its files.
    pub(crate) fn forget_segment(&mut self, base_offset: Offset) {
        self.dirty.retain(|(_, dirty)| {
            let (Dirty::File { segment_base, .. } | Dirty::Path { segment_base, .. }) = dirty
            else {
                return true;
            };
            *segment_base != Some(base_offset)
        });
    }

    /// What is to be synced of a segment, and of the snapshot at its start; nothing is forgotten.
    pub(crate) fn ticket_of(&self, base_offset: Offset, up_to: Offset) -> SyncTicket {
        let mut ticket =
            SyncTicket { files: Vec::new(), paths: Vec::new(), dirs: Vec::new(), up_to };
        for (_, dirty) in &self.dirty {
            match dirty {
                Dirty::File { file, segment_base } if *segment_base == Some(base_offset) => {
                    ticket.files.push(Arc::clone(file));
                }
                Dirty::Path { path, segment_base } if *segment_base == Some(base_offset) => {
                    ticket.paths.push(path.clone());
                }
                _ => {}
            }
        }
        ticket
    }

    /// A ticket for everything that is dirty, and `active`; with it `mark` comes true.
    pub(crate) fn issue(
        &mut self,
        active: Option<Arc<dyn DiskFile>>,
        up_to: Offset,
        mark: Option<RecoveryMark>,
    ) -> SyncTicket {
        let (mut files, mut paths, mut dirs) = (Vec::new(), Vec::new(), Vec::new());
        for (_, dirty) in &self.dirty {
            match dirty {
                Dirty::File { file, .. } => files.push(Arc::clone(file)),
                Dirty::Path { path, .. } => paths.push(path.clone()),
                Dirty::Dir(dir) => dirs.push(dir.clone()),
            }
        }
        if let Some(active) = active
            && !files.iter().any(|file| Arc::ptr_eq(file, &active))
        {
            files.push(active);
        }
        if self.issued.len() == TICKETS_MAX {
            self.issued.pop_front();
        }
        let generation = self.generation;
        self.issued.push_back(Issued { up_to, covers: up_to, generation, mark });
        SyncTicket { files, paths, dirs, up_to }
    }

    /// A ticket was honoured; gives what is durable for certain. With several of the same end in
    /// flight the oldest is meant, which promises least.
    pub(crate) fn honoured(&mut self, up_to: Offset) -> Option<(Offset, Option<RecoveryMark>)> {
        let at = self.issued.iter().position(|issued| issued.up_to == up_to)?;
        let issued = self.issued.remove(at)?;
        self.dirty.retain(|(generation, _)| *generation > issued.generation);
        Some((issued.covers, issued.mark))
    }

    /// The log's directory has another name now.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        for (_, dirty) in &mut self.dirty {
            match dirty {
                Dirty::File { .. } => {}
                Dirty::Path { path, .. } | Dirty::Dir(path) => *path = renamed(path, from, to),
            }
        }
    }

    /// The log was cut: what is under way covers nothing behind the cut.
    pub(crate) fn cut_to(&mut self, end: Offset) {
        for issued in &mut self.issued {
            issued.covers = issued.covers.min(end);
            issued.mark = None;
        }
    }
}

/// A path as it is after a directory above it, or it itself, got another name.
pub(crate) fn renamed(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}
