//! The loads, one a file.

mod again;
pub(crate) mod cold_reads;
pub(crate) mod commits;
pub(crate) mod compaction;
pub(crate) mod connections;
pub(crate) mod consume;
pub(crate) mod first_ack;
pub(crate) mod group;
pub(crate) mod latency;
pub(crate) mod partitions;
pub(crate) mod produce;
pub(crate) mod rest;
pub(crate) mod transactions;
pub(crate) mod unbatched;
mod window;
