//! The disk as a trait: positional reads and writes, explicit syncs of files and directories.
//!
//! Nothing is durable before the `sync` that covers it: a file's bytes need [`DiskFile::sync`],
//! its name needs [`Disk::sync_dir`] of the directory that holds it.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; it is only read.
    Read,
    /// It must exist; it is read and written.
    ReadWrite,
    /// It is made if it does not exist; it is read and written.
    Create,
    /// It must not exist; it is read and written.
    CreateNew,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// File name without the path. Names that are not UTF-8 are left out of listings: none is ours.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// Room on the file system of a directory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The size of the file system.
    pub total_bytes: u64,
    /// What an unprivileged process can still use.
    pub usable_bytes: u64,
}

/// A lock on a file, held until it is dropped or the process ends.
pub trait DiskLock: Send + Sync + Debug {
    /// Makes everything durable that was written so far to the file system that holds the lock's
    /// file, bytes and names. What could not be written back since the lock was taken is an error,
    /// even where the file that it belonged to is closed.
    ///
    /// # Errors
    /// `Unsupported` where the system cannot do that or does not tell of failures: then files and
    /// directories have to be synced one by one. With any other error what is durable is unknown,
    /// and the caller must not retry.
    fn sync_file_system(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The files of a node.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of `open(2)`.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents; no error if it exists.
    ///
    /// # Errors
    /// Those of `mkdir(2)`.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// Those of `readdir(3)`.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// The length of a file in bytes, `None` if nothing has that name.
    ///
    /// # Errors
    /// Those of `stat(2)`, except "not found".
    fn file_len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Renames a file or directory, replacing a file of the new name.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    ///
    /// # Errors
    /// Those of `rmdir(2)` and `unlink(2)`.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of `fsync(2)`; what is durable is then unknown and the caller must not retry.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, made if it does not exist.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds it, else those of `open(2)`.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// How much room there is.
    ///
    /// # Errors
    /// Those of `statvfs(3)`.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// An open file. All positions are bytes from its start; there is no cursor.
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    fn len(&self) -> io::Result<u64>;
    /// Reads until `into` is full or the file ends; gives how many bytes.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize>;
    /// Reads as [`Self::read_at`] does what is in memory. A disk that is never waited for need not
    /// tell.
    ///
    /// # Errors
    /// `WouldBlock` if a device would have to be waited for, else those of `pread(2)`.
    fn read_cached_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(into, position)
    }
    /// Writes all of `parts`, one after another, at `position`.
    ///
    /// # Errors
    /// Those of `pwritev(2)`; part of the bytes may then have been written.
    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable (`fdatasync`).
    ///
    /// # Errors
    /// Those of `fdatasync(2)`; the pages may be lost and the caller must not retry.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Asks for room up to `len` bytes without changing the length; a file system that cannot
    /// is no error.
    ///
    /// # Errors
    /// Those of `fallocate(2)`, except "not supported".
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// Whether a read of the range would not wait for a device. A guess: the file's first and
    /// last pages and every [`RESIDENCY_STRIDE_BYTES`] between are asked for.
    fn is_resident(&self, position: u64, len: u64) -> bool;
    /// Whoever reads the range next may have to wait for the device: nobody needs it in memory. A
    /// wish, which a disk may pass over.
    fn forget_cached(&self, _position: u64, _len: u64) {}
    /// The descriptor for `sendfile(2)`, where there is one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
    /// Whether the file is empty.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Whether a reader waits for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Waits,
    /// Not at all: it fails with `WouldBlock`, and somebody else has to wait.
    None,
}

impl Patience {
    /// Reads until `into` is full or the file ends; gives how many bytes.
    ///
    /// # Errors
    /// `WouldBlock` without patience, if a device would have to be waited for; else those of
    /// `pread(2)`.
    pub fn read_at(self, file: &dyn DiskFile, into: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Self::Waits => file.read_at(into, position),
            Self::None => file.read_cached_at(into, position),
        }
    }
}

/// How far apart [`DiskFile::is_resident`] asks: the kernel's read-ahead fills in between.
pub const RESIDENCY_STRIDE_BYTES: u64 = 128 * 1024;

/// A range of a file that is on its way to a client.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Where the range starts.
    pub position: u64,
    /// How many bytes.
    pub len: u32,
}

impl FileSlice {
    /// Copies the range into memory.
    ///
    /// # Errors
    /// Those of `pread(2)`; `UnexpectedEof` if the file is shorter than the range.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.read_with(Patience::Waits)
    }

    /// As [`Self::read`], without waiting for a device.
    ///
    /// # Errors
    /// `WouldBlock` if it would have to, else those of [`Self::read`].
    pub fn read_cached(&self) -> io::Result<Vec<u8>> {
        self.read_with(Patience::None)
    }

    fn read_with(&self, patience: Patience) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let n = patience.read_at(self.file.as_ref(), &mut bytes, self.position)?;
        if n < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    /// Whether sending the range would not wait for a device.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.file.is_resident(self.position, u64::from(self.len))
    }

    /// Has the range brought into memory, waiting for the device. A failure is not lost: whoever
    /// sends the range meets it again.
    pub fn warm(&self) {
        const STEP_BYTES: usize = 256 * 1024;
        let mut step = vec![0; STEP_BYTES.min(self.len as usize)];
        let mut at = self.position;
        let end = self.position + u64::from(self.len);
        while at < end {
            let len = step.len().min(usize::try_from(end - at).unwrap_or(step.len()));
            match self.file.read_at(&mut step[..len], at) {
                Ok(0) | Err(_) => break,
                Ok(n) => at += n as u64,
            }
        }
    }
}
