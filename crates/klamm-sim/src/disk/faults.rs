//! Counting calls, and failing the one that is due.

use std::collections::BTreeMap;
use std::io;

use super::inode::DeviceFault;

/// A system call, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Opening a file that exists.
    Open,
    /// Opening a file that is made by it.
    Create,
    /// Making a directory.
    MakeDir,
    /// Listing a directory.
    List,
    /// Asking for the length of a file, by name or by descriptor.
    Stat,
    /// Renaming.
    Rename,
    /// Removing a file or a directory.
    Unlink,
    /// Syncing a directory.
    SyncDir,
    /// Locking a file.
    Lock,
    /// Asking how much room there is.
    Space,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting or extending a file.
    SetLen,
    /// Reserving room.
    Reserve,
}

impl Call {
    /// Whether the disk may be another one after it.
    #[must_use]
    pub fn is_change(self) -> bool {
        !matches!(
            self,
            Self::Open | Self::List | Self::Stat | Self::Lock | Self::Space | Self::Read
        )
    }
}

/// What is counted, and what is to fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    counts: BTreeMap<Call, u64>,
    changes: u64,
    /// The power goes after this many changes.
    power_until: Option<u64>,
    is_off: bool,
    failing: Vec<(Call, u64, io::ErrorKind)>,
    failing_change: Option<u64>,
    failed: u64,
    failed_syncs: u64,
    /// The file system holds no more than this.
    pub(super) capacity_bytes: Option<u64>,
    page_writes: u64,
    device: Vec<(u64, DeviceFault)>,
}

/// What becomes of a call.
pub(super) enum Verdict {
    Goes,
    Fails(io::ErrorKind),
}

impl Faults {
    /// A call begins. The call after which the power goes is carried out whole.
    pub(super) fn begin(&mut self, call: Call) -> io::Result<Verdict> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        let n = self.counts.entry(call).or_default();
        *n += 1;
        let n = *n;
        if call.is_change() {
            self.changes += 1;
            self.is_off = self.power_until.is_some_and(|until| self.changes >= until);
        }
        let planned = self.failing.iter().find(|(c, at, _)| *c == call && *at == n);
        let any = self.failing_change.filter(|at| call.is_change() && *at == self.changes);
        let kind = planned.map(|(_, _, kind)| *kind).or(any.map(|_| io::ErrorKind::StorageFull));
        Ok(kind.map_or(Verdict::Goes, |kind| {
            self.failed += 1;
            self.failed_syncs += u64::from(matches!(call, Call::Sync | Call::SyncDir));
            Verdict::Fails(kind)
        }))
    }

    pub(super) fn note_failure(&mut self) {
        self.failed += 1;
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts.get(&call).copied().unwrap_or(0)
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn failed_syncs(&self) -> u64 {
        self.failed_syncs
    }

    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    pub(super) fn power_off_after(&mut self, changes: u64) {
        self.power_until = Some(self.changes + changes);
        self.is_off = changes == 0;
    }

    pub(super) fn fail(&mut self, call: Call, nth: u64, kind: io::ErrorKind) {
        let at = self.count(call) + nth;
        self.failing.push((call, at, kind));
    }

    pub(super) fn fail_change(&mut self, nth: u64) {
        self.failing_change = Some(self.changes + nth);
    }

    pub(super) fn fail_page_write(&mut self, nth: u64, fault: DeviceFault) {
        self.device.push((self.page_writes + nth, fault));
    }

    /// A page goes to the device.
    pub(super) fn page_write(&mut self) -> Option<DeviceFault> {
        self.page_writes += 1;
        let n = self.page_writes;
        self.device.iter().find(|(at, _)| *at == n).map(|(_, fault)| *fault)
    }

    pub(super) fn page_writes(&self) -> u64 {
        self.page_writes
    }
}
