//! Log directories that fail, fill up or are missing: only what is in them suffers.

#![expect(clippy::unwrap_used, reason = "a test says what must be there")]

mod asleep;
mod checkpoints;
mod cleaner;
mod close;
mod disk;
mod failures;
mod moves;
mod node;
mod scrub;
mod start;
mod topic_ids;
