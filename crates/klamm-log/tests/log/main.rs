//! A log through its public door, on a disk in memory that counts, fails and crashes.

mod append;
mod batches;
mod cuts;
mod disk;
mod failures;
mod flusher;
mod kafka;
mod model;
mod producers;
mod readers;
mod recovery;
