//! Checksums of sealed segments, looked at now and then so that damage is found before somebody
//! needs what is damaged. Reads only; what was not in memory before is not kept there.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::{Disk, DiskFile, OpenMode};

use crate::Stopped;
use crate::error::LogError;
use crate::log::Log;
use crate::names::LOG_SUFFIX;
use crate::segment::Segment;
use crate::verify::{
    CURE_BATCHES, Finding, Progress, Severity, VerifyError, WalkEnd, walk_batches,
};
use crate::view::LogView;

/// Pieces of a file that are in memory or not as a whole.
const PIECE_BYTES: u64 = 1024 * 1024;

/// A segment that is not written to any more.
#[derive(Debug, Clone)]
pub struct SealedSegment {
    disk: Arc<dyn Disk>,
    segment: Arc<Segment>,
    view: Arc<LogView>,
    cuts: u64,
}

/// What became of a look at a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scrubbed {
    /// Every batch is what was written.
    Sound,
    /// It was deleted, cut or compacted meanwhile: what was read says nothing.
    Gone,
    /// This is wrong; the first finding of the file.
    Damaged(Finding),
}

impl Log {
    /// The segments that are not written to any more.
    #[must_use]
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        let segments = self.view.segments.load();
        let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let of = |segment: &Arc<Segment>| SealedSegment {
            disk: Arc::clone(&self.disk),
            segment: Arc::clone(segment),
            view: Arc::clone(&self.view),
            cuts: self.view.cuts(),
        };
        sealed.iter().map(of).collect()
    }
}

impl SealedSegment {
    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segment.size()
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.segment.path(LOG_SUFFIX)
    }

    /// Reads all of it and compares the checksums and the order of its batches.
    ///
    /// # Errors
    /// It was stopped.
    pub fn scrub(&self, progress: &mut dyn Progress) -> Result<Scrubbed, Stopped> {
        let path = self.path();
        let found = match self.first_damage(progress) {
            Ok(None) => return Ok(Scrubbed::Sound),
            Ok(Some((at, what))) => (Some(at), what, CURE_BATCHES),
            Err(VerifyError::Stopped) => return Err(Stopped),
            Err(VerifyError::Log(error)) => {
                (None, error.to_string(), "look after the disk: it does not give back what it has")
            }
        };
        if !self.is_current() {
            return Ok(Scrubbed::Gone);
        }
        let (position, what, cure) = found;
        Ok(Scrubbed::Damaged(Finding { path, position, severity: Severity::Damage, what, cure }))
    }

    fn first_damage(
        &self,
        progress: &mut dyn Progress,
    ) -> Result<Option<(u64, String)>, VerifyError> {
        let (path, size) = (self.path(), self.size());
        let file = self.disk.open(&path, OpenMode::Read).map_err(LogError::io(&path))?;
        let file = Passing::new(file, size);
        let (mut found, mut next) = (None, self.segment.base_offset);
        let ended = walk_batches((&path, &file), size, progress, &mut |batch| {
            let header = batch.batch.header();
            let order = match header.base_offset < next {
                true => Err(format!("offset {} does not follow {next}", header.base_offset)),
                false => Ok(()),
            };
            next = header.next_offset();
            let checked = batch
                .checksum
                .as_ref()
                .map_err(ToString::to_string)
                .and(order.as_ref().map_err(Clone::clone));
            if let Err(what) = checked {
                found.get_or_insert((batch.position, what));
            }
        })?;
        if let WalkEnd::NotABatch { position, error } = ended {
            found.get_or_insert((position, error.to_string()));
        }
        Ok(found)
    }

    /// Whether it is still that part of the log.
    fn is_current(&self) -> bool {
        let segments = self.view.segments.load();
        self.view.cuts() == self.cuts
            && segments.iter().any(|segment| Arc::ptr_eq(segment, &self.segment))
    }
}

/// A file that is read once from front to back: what was not in memory before goes again.
#[derive(Debug)]
struct Passing {
    file: Arc<dyn DiskFile>,
    /// Of each piece, before anything was read.
    was_resident: Vec<bool>,
}

impl Passing {
    fn new(file: Arc<dyn DiskFile>, size: u64) -> Self {
        let pieces = (0..size.div_ceil(PIECE_BYTES)).map(|piece| piece * PIECE_BYTES);
        let was_resident =
            pieces.map(|at| file.is_resident(at, PIECE_BYTES.min(size - at))).collect();
        Self { file, was_resident }
    }
}

impl DiskFile for Passing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let n = self.file.read_at(into, position)?;
        let (first, last) = (position / PIECE_BYTES, (position + n as u64) / PIECE_BYTES);
        for piece in first..=last {
            let is_cold = usize::try_from(piece).ok().and_then(|i| self.was_resident.get(i));
            if is_cold == Some(&false) {
                self.file.forget_cached(piece * PIECE_BYTES, PIECE_BYTES);
            }
        }
        Ok(n)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_at(parts, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn is_resident(&self, position: u64, len: u64) -> bool {
        self.file.is_resident(position, len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}
