//! An open file. It stays readable after its name is gone, as with POSIX.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use klamm_env::DiskFile;

use super::faults::{Call, Verdict};
use super::inode::Inode;
use super::state::{State, not_found};

#[derive(Debug)]
pub(super) struct SimFile {
    state: Arc<Mutex<State>>,
    id: u64,
    /// As it was called when it was opened; for the record of calls.
    path: PathBuf,
}

impl SimFile {
    pub(super) fn new(state: Arc<Mutex<State>>, id: u64, path: &Path) -> Self {
        Self { state, id, path: path.to_owned() }
    }

    fn begin(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Verdict)> {
        let mut state = self.state.lock().expect("no holder of this lock can panic");
        let verdict = state.begin(call, &self.path)?;
        Ok((state, verdict))
    }

    fn begin_simple(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        match self.begin(call)? {
            (state, Verdict::Goes) => Ok(state),
            (_, Verdict::Fails(kind)) => Err(kind.into()),
        }
    }

    /// How many of `wanted` bytes at `position` there is room for.
    fn room(&self, state: &State, wanted: usize, position: usize) -> usize {
        let Some(capacity) = state.faults.capacity_bytes else { return wanted };
        let len = state.files.get(&self.id).map_or(0, |inode| inode.bytes().len());
        let free = usize::try_from(capacity.saturating_sub(state.used_bytes())).unwrap_or(0);
        let overwritten = len.saturating_sub(position);
        wanted.min(overwritten + free)
    }
}

fn at(position: u64) -> usize {
    usize::try_from(position).expect("simulated files are small")
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.begin_simple(Call::Stat)?;
        Ok(state.files.get(&self.id).ok_or_else(not_found)?.bytes().len() as u64)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.begin_simple(Call::Read)?;
        let bytes = state.files.get(&self.id).ok_or_else(not_found)?.bytes();
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let n = into.len().min(bytes.len() - from);
        into[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let (mut state, verdict) = self.begin(Call::Write)?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut outcome = Ok(());
        if let Verdict::Fails(kind) = verdict {
            let part = state.random.below(bytes.len());
            bytes.truncate(part);
            outcome = Err(kind.into());
        }
        let room = self.room(&state, bytes.len(), at(position));
        if room < bytes.len() {
            bytes.truncate(room);
            state.faults.note_failure();
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.files.get_mut(&self.id).ok_or_else(not_found)?;
        inode.write(&bytes, at(position));
        state.write_back(self.id);
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, verdict) = self.begin(Call::Sync)?;
        let State { files, faults, random, .. } = &mut *state;
        let inode: &mut Inode = files.get_mut(&self.id).ok_or_else(not_found)?;
        match verdict {
            Verdict::Goes => {
                inode.sync(|| faults.page_write());
                Ok(())
            }
            Verdict::Fails(kind) => {
                inode.fail_sync(random);
                Err(kind.into())
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.begin_simple(Call::SetLen)?;
        let State { files, random, .. } = &mut *state;
        files.get_mut(&self.id).ok_or_else(not_found)?.set_len(at(len), random);
        Ok(())
    }

    fn reserve(&self, _len: u64) -> io::Result<()> {
        self.begin_simple(Call::Reserve).map(drop)
    }

    fn is_resident(&self, _position: u64, _len: u64) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
