//! A log through its public door, on a disk in memory that counts, fails and crashes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod append;
mod batches;
mod close;
mod compaction;
mod cuts;
mod disk;
mod dump;
mod failures;
mod flusher;
mod kafka;
mod marks;
mod model;
mod open_files;
mod producers;
mod readers;
mod recovery;
mod relocation;
mod verification;
mod verify;
