//! A simulated disk, and campaigns that prove on it what the log promises.
//!
//! [`SimDisk`] is a machine's disk in memory: it knows what is in the page cache and what is on
//! the device, loses what was not synced when the power goes, tears writes at sectors, and fails
//! any call it is told to fail. [`campaign`] works on logs over it, crashes, opens them again and
//! compares them with a model. [`coordinators`] does the same to the production shards of groups
//! and transactions, over partitions in memory. Everything follows from a seed; nothing here runs
//! in production.
//!
//! ```text
//! cargo run -p klamm-sim -- seed 42          one seed again, with what it did
//! cargo run -p klamm-sim -- seeds 0 10000    many
//! cargo run -p klamm-sim -- transactions 42  a seed of the transaction coordinator's simulation
//! cargo run -p klamm-sim -- groups 0 20000   many of the classic groups'
//! cargo run -p klamm-sim -- consumer-groups 0 20000   many of the consumer protocol's groups'
//! cargo run -p klamm-sim -- migration 0 20000   many of groups' that change their protocol
//! ```

pub mod campaign;
pub mod coordinators;
mod damage;
mod disk;
mod random;

pub use damage::Damage;
pub use disk::{Call, DeviceFault, Fate, PAGE_BYTES, SECTOR_BYTES, SimDisk};
pub use random::Seeded;
