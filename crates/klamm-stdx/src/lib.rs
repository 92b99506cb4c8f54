//! What the standard library lacks. No Kafka word inside, no I/O, no clock.

mod deadlines;
mod str;
pub mod varint;

pub use deadlines::{Deadline, Deadlines};
pub use str::Str;
