//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, RESIDENCY_STRIDE_BYTES, Space};

/// Files of the operating system.
#[derive(Debug)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealLock {
    file: File,
}

impl DiskLock for RealLock {
    fn sync_file_system(&self) -> io::Result<()> {
        let kind = rustix::fs::fstatfs(&self.file)?.f_type;
        if !SYNCED_WHOLE.contains(&(kind as u64)) || !syncfs_tells() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(rustix::fs::syncfs(&self.file)?)
    }
}

/// ext2 to ext4, XFS, Btrfs: of others, such as FUSE, `syncfs(2)` may promise less than `fsync(2)`.
const SYNCED_WHOLE: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Since Linux 5.8 `syncfs(2)` gives the errors of write-back that came since its descriptor was
/// opened.
fn syncfs_tells() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    kernel_version(&release).is_some_and(|version| version >= (5, 8))
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Drop for RealLock {
    /// Unlocks by itself: closing is not enough while a child that another thread forked still
    /// has its copies of all descriptors, until it executes its program.
    fn drop(&mut self) {
        let _closing_unlocks_too = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        match mode {
            OpenMode::Create => {
                options.create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.create_new(true);
            }
            OpenMode::Read | OpenMode::ReadWrite => {}
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // The listing itself says what is a directory, but for links.
            let file_type = entry.file_type()?;
            if file_type.is_dir() {
                entries.push(DirEntry { name, is_dir: true, len: 0 });
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and the question.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            entries.push(DirEntry { name, is_dir: false, len: metadata.len() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(RealLock { file })),
            Err(e) => Err(e.into()),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], position + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_cached_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            let parts = &mut [IoSliceMut::new(&mut into[done..])];
            let at = position + done as u64;
            match rustix::io::preadv2(&self.0, parts, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                // A file system without support for the question says so; then it is waited for.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.read_at(into, position),
                // `AGAIN` among them, which is `WouldBlock`.
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let first = match rustix::io::pwritev(&self.0, parts, position) {
            Ok(n) => n,
            Err(Errno::INTR) => 0,
            Err(e) => return Err(e.into()),
        };
        if first == total {
            return Ok(());
        }
        write_rest(&self.0, parts, position, first)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn is_resident(&self, position: u64, len: u64) -> bool {
        let mut byte = [0_u8; 1];
        let mut at = position;
        let last = position + len.saturating_sub(1);
        loop {
            let parts = &mut [IoSliceMut::new(&mut byte)];
            // A file system without support for the question says so; then it is not asked.
            match rustix::io::preadv2(&self.0, parts, at, ReadWriteFlags::NOWAIT) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
            if at >= last {
                return true;
            }
            at = (at + RESIDENCY_STRIDE_BYTES).min(last);
        }
    }

    fn forget_cached(&self, position: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        // POSIX_FADV_DONTNEED; a file system without it keeps what it has.
        let _wish = rustix::fs::fadvise(&self.0, position, len, rustix::fs::Advice::DontNeed);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// The rare rest of a short write, part by part.
fn write_rest(file: &File, parts: &[IoSlice<'_>], position: u64, done: usize) -> io::Result<()> {
    let mut skip = done;
    let mut at = position + done as u64;
    for part in parts {
        let from = skip.min(part.len());
        skip -= from;
        file.write_all_at(&part[from..], at)?;
        at += (part.len() - from) as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileSlice;

    #[test]
    fn a_lock_is_free_when_it_is_dropped_even_if_its_descriptor_was_copied() {
        let path = std::env::temp_dir().join(format!("klamm-env-lock-{}", std::process::id()));
        let lock = RealDisk.lock(&path).expect("the file is there and free");
        let taken = RealDisk.lock(&path).map(drop).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::WouldBlock);
        drop(lock);

        let file = File::open(&path).expect("the file is there");
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).expect("it is free");
        let copy = file.try_clone().expect("descriptors can be copied");
        drop(RealLock { file });
        RealDisk.lock(&path).map(drop).expect("the copy does not hold it");
        drop(copy);
        fs::remove_file(&path).expect("the file can be removed");
    }

    #[test]
    fn what_is_not_in_memory_is_read_by_who_waits_and_then_by_who_does_not() {
        let path = std::env::temp_dir().join(format!("klamm-env-cold-{}", std::process::id()));
        let written: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let file = RealDisk.open(&path, OpenMode::Create).expect("it can be made");
        file.write_all_at(&[IoSlice::new(&written)], 0).expect("there is room");
        file.sync().expect("the device works");
        file.forget_cached(0, 100_000);
        let slice = FileSlice { file, position: 10, len: 99_000 };
        // A file system may keep it all the same: then it is there at once.
        match slice.read_cached() {
            Ok(bytes) => assert_eq!(bytes, written[10..99_010]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        slice.warm();
        assert!(slice.is_resident());
        assert_eq!(slice.read_cached().expect("it is in memory now"), written[10..99_010]);
        let beyond = FileSlice { position: 99_000, len: 1001, ..slice };
        let error = beyond.read_cached().expect_err("it ends before");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        fs::remove_file(&path).expect("the file can be removed");
    }

    #[test]
    fn the_kernels_version_is_read_from_its_release() {
        assert_eq!(kernel_version("6.12.8+\n"), Some((6, 12)));
        assert_eq!(kernel_version("5.8.0-rc1"), Some((5, 8)));
        assert_eq!(kernel_version("4.4"), Some((4, 4)));
        assert_eq!(kernel_version(""), None);
    }

    #[test]
    fn a_file_system_is_synced_whole_or_says_that_it_cannot_be() {
        let path = std::env::temp_dir().join(format!("klamm-env-whole-{}", std::process::id()));
        let lock = RealDisk.lock(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let outcome = lock.sync_file_system().map_err(|error| error.kind());
        assert!(matches!(outcome, Ok(()) | Err(io::ErrorKind::Unsupported)), "{outcome:?}");
    }
}
