//! A simulated disk, and campaigns that prove on it what the log promises.
//!
//! [`SimDisk`] is a machine's disk in memory: it knows what is in the page cache and what is on
//! the device, loses what was not synced when the power goes, tears writes at sectors, and fails
//! any call it is told to fail. [`campaign`] works on logs over it, crashes, opens them again and
//! compares them with a model. Everything follows from a seed; nothing here runs in production.
//!
//! ```text
//! cargo run -p klamm-sim -- seed 42          one seed again, with what it did
//! cargo run -p klamm-sim -- seeds 0 10000    many
//! ```

pub mod campaign;
mod damage;
mod disk;
mod random;

pub use damage::Damage;
pub use disk::{Call, DeviceFault, Fate, PAGE_BYTES, SECTOR_BYTES, SimDisk};
pub use random::Seeded;
