//! Which snapshots there are, when the next is due, and which may go. Decides only.

use klamm_model::Timestamp;

use super::options::SnapshotRules;
use crate::SnapshotId;
use crate::snapshot::SnapshotFile;

/// The snapshots of a metadata log, and how much of it is in none.
#[derive(Debug)]
pub(super) struct Snapshots {
    rules: SnapshotRules,
    /// Oldest first.
    kept: Vec<Kept>,
    bytes_since: u64,
    /// When the first record that is in no snapshot was appended.
    unsaved_since: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Kept {
    file: SnapshotFile,
    since: Timestamp,
}

impl Snapshots {
    /// Those of the last life, behind the newest of which `bytes_replayed` bytes are in the log.
    pub(super) fn new(
        rules: SnapshotRules,
        found: Vec<SnapshotFile>,
        bytes_replayed: u64,
        wall: Timestamp,
    ) -> Self {
        Self {
            rules,
            kept: found.into_iter().map(|file| Kept { file, since: wall }).collect(),
            bytes_since: bytes_replayed,
            unsaved_since: (bytes_replayed > 0).then_some(wall),
        }
    }

    /// Bytes were appended to the log.
    pub(super) fn on_appended(&mut self, bytes: u64, wall: Timestamp) {
        self.bytes_since += bytes;
        self.unsaved_since.get_or_insert(wall);
    }

    pub(super) fn is_due(&self, wall: Timestamp) -> bool {
        let by_time = self.next_due().is_some_and(|due| due <= wall);
        self.bytes_since >= self.rules.bytes_between || by_time
    }

    /// When one is due by time; `None` if nothing is new or time does not matter.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let interval_ms = i64::try_from(self.rules.interval_ms?).unwrap_or(i64::MAX);
        self.unsaved_since.map(|since| Timestamp(since.0.saturating_add(interval_ms)))
    }

    /// One is being written. Counted from here even if it fails: what fails now is not tried at
    /// every append.
    pub(super) fn begin(&mut self, wall: Timestamp) {
        self.bytes_since = 0;
        self.unsaved_since = Some(wall);
    }

    /// It is written.
    pub(super) fn on_written(&mut self, file: SnapshotFile, wall: Timestamp) {
        self.kept.retain(|kept| kept.file.id != file.id);
        self.kept.push(Kept { file, since: wall });
        self.unsaved_since = None;
    }

    /// The oldest and the one after it, if the oldest is too much, too old, or only what
    /// formatting wrote. The newest always stays.
    pub(super) fn superfluous(
        &self,
        wall: Timestamp,
        log_bytes: u64,
    ) -> Option<(&SnapshotFile, &SnapshotFile)> {
        let [oldest, next, ..] = &self.kept[..] else { return None };
        let of_snapshots: u64 = self.kept.iter().map(|kept| kept.file.len).sum();
        let bytes = of_snapshots + log_bytes;
        let is_too_much = self.rules.retention_bytes.is_some_and(|max| bytes > max);
        let age = wall.0.saturating_sub(oldest.since.0);
        let is_too_old = self.rules.retention_ms.is_some_and(|max| age > max);
        let is_of_formatting = oldest.file.id == SnapshotId::BOOTSTRAP;
        (is_too_much || is_too_old || is_of_formatting).then_some((&oldest.file, &next.file))
    }

    /// Its file is gone.
    pub(super) fn drop_oldest(&mut self) {
        self.kept.remove(0);
    }
}
