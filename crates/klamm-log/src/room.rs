//! Whether the disk of a log directory is nearly full. Producers are refused while some room is
//! left, so that what makes room again (deletion, retention) and what keeps the node alive
//! (offsets of groups, metadata) still finds some.
//!
//! ```text
//!          usable < limit (or a write found no room)
//!  ample ───────────────────────────────────────────> short
//!        <───────────────────────────────────────────
//!          usable >= limit + a quarter of it
//! ```
//!
//! Never asks the disk for every append: once a second, or after 16 MiB, is enough.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use klamm_env::{Disk, Space};
use klamm_model::Timestamp;

/// The disk is asked again after this time,
const LOOK_INTERVAL_MS: u64 = 1_000;
/// or after this many bytes.
const LOOK_INTERVAL_BYTES: i64 = 16 * 1024 * 1024;
/// Kept free where nothing was configured: at most this, or a hundredth of the file system.
const RESERVE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why an append was refused before anything was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The directory.
    pub dir: PathBuf,
    /// What was free when the disk was asked last.
    pub usable_bytes: u64,
    /// What is kept free.
    pub min_free_bytes: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the disk of log directory {} is nearly full: {} bytes are free and {} are kept \
             (klamm.storage.min.free.bytes); delete records or topics, lower retention, or add room",
            self.dir.display(),
            self.usable_bytes,
            self.min_free_bytes
        )
    }
}

/// Watches the room in a directory.
#[derive(Debug)]
pub struct Room {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `klamm.storage.min.free.bytes`; `None`: by the size of the file system.
    configured: Option<u64>,
    is_short: AtomicBool,
    usable: AtomicU64,
    limit: AtomicU64,
    looked_at_ms: AtomicI64,
    bytes_until_look: AtomicI64,
}

impl Room {
    /// Watches a directory; nothing is asked before the first append.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, configured: Option<u64>) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            configured,
            is_short: AtomicBool::new(false),
            usable: AtomicU64::new(0),
            limit: AtomicU64::new(configured.unwrap_or(0)),
            looked_at_ms: AtomicI64::new(i64::MIN),
            bytes_until_look: AtomicI64::new(0),
        }
    }

    /// Whether `bytes` of a producer may be written.
    ///
    /// # Errors
    /// The disk is nearly full.
    pub fn admit(&self, bytes: u64, wall: Timestamp) -> Result<(), Shortage> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let left = self.bytes_until_look.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        let age = wall.0.abs_diff(self.looked_at_ms.load(Ordering::Relaxed));
        if left <= 0 || age >= LOOK_INTERVAL_MS {
            self.look(wall);
        }
        match self.is_short() {
            true => Err(self.shortage()),
            false => Ok(()),
        }
    }

    /// Whether producers are refused.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// A write found no room at all.
    pub fn on_full(&self, wall: Timestamp) {
        self.look(wall);
        if !self.is_short.swap(true, Ordering::Relaxed) {
            tracing::warn!(dir = %self.dir.display(), "a write found no room: producers are refused");
        }
    }

    fn shortage(&self) -> Shortage {
        Shortage {
            dir: self.dir.clone(),
            usable_bytes: self.usable.load(Ordering::Relaxed),
            min_free_bytes: self.limit.load(Ordering::Relaxed),
        }
    }

    fn look(&self, wall: Timestamp) {
        self.looked_at_ms.store(wall.0, Ordering::Relaxed);
        self.bytes_until_look.store(LOOK_INTERVAL_BYTES, Ordering::Relaxed);
        let space = match self.disk.space(&self.dir) {
            Ok(space) => space,
            Err(error) => {
                // The append itself will tell whether the directory is usable.
                tracing::debug!(dir = %self.dir.display(), %error, "the disk does not say how full it is");
                return;
            }
        };
        let limit = limit(space, self.configured);
        self.usable.store(space.usable_bytes, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        let was_short = self.is_short();
        let is_short = judge(was_short, space.usable_bytes, limit);
        self.is_short.store(is_short, Ordering::Relaxed);
        match (was_short, is_short) {
            (false, true) => {
                tracing::warn!(
                    "{}: producers are refused, fetch, delete and admin go on",
                    self.shortage()
                );
            }
            (true, false) => {
                tracing::info!(dir = %self.dir.display(), usable_bytes = space.usable_bytes, "there is room again: producers are served");
            }
            _ => {}
        }
    }
}

/// What is kept free on a file system.
fn limit(space: Space, configured: Option<u64>) -> u64 {
    configured.unwrap_or_else(|| RESERVE_BYTES_MAX.min(space.total_bytes / 100))
}

/// Whether there is too little, without going back and forth at the limit.
fn judge(was_short: bool, usable_bytes: u64, limit: u64) -> bool {
    let enough = if was_short { limit.saturating_add(limit / 4) } else { limit };
    // A limit of 0 asks for nothing, but what a failed write has shown holds until there is room.
    usable_bytes < enough || (was_short && usable_bytes == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1024 * 1024 * 1024;

    fn space(total_bytes: u64, usable_bytes: u64) -> Space {
        Space { total_bytes, usable_bytes }
    }

    #[test]
    fn a_hundredth_of_the_disk_is_kept_free_but_no_more_than_a_gibibyte() {
        assert_eq!(limit(space(100 * 1024, 0), None), 1024);
        assert_eq!(limit(space(4_000 * GB, 0), None), GB);
        assert_eq!(limit(space(4_000 * GB, 0), Some(0)), 0);
        assert_eq!(limit(space(1024, 0), Some(10 * GB)), 10 * GB);
    }

    #[test]
    fn a_shortage_ends_only_when_there_is_a_quarter_more_than_where_it_began() {
        assert!(!judge(false, 1000, 1000));
        assert!(judge(false, 999, 1000));
        assert!(judge(true, 1000, 1000) && judge(true, 1249, 1000));
        assert!(!judge(true, 1250, 1000));
        assert!(!judge(false, 0, 0), "a limit of 0 refuses nothing before a write fails");
        assert!(judge(true, 0, 0) && !judge(true, 1, 0));
    }
}
