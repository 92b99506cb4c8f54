//! The one seam (invariant A2): clock, disk, network, random source and tasks.
//!
//! Everything above talks to these traits and thin types; [`real`] implements them with the
//! operating system. A simulator implements the same traits. No other crate names `std::fs`,
//! `std::net`, `tokio::net` or `tokio::time`, or asks the time.

pub mod clock;
pub mod disk;
pub mod durable;
pub mod net;
pub mod random;
pub mod real;
pub mod task;

pub use clock::{Clock, Moment};
pub use disk::{DirEntry, Disk, DiskFile, DiskLock, FileSlice, OpenMode, Patience, Space};
pub use random::Random;

use std::sync::Arc;

/// The effects that a node may have, handed down from the top.
#[derive(Clone, Debug)]
pub struct Env {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// Where random numbers come from.
    pub random: Arc<dyn Random>,
}
