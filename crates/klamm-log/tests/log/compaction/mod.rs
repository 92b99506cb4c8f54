//! Compaction through the public door.

mod crashes;
mod kafka;
mod model;
mod rules;
mod support;
mod together;
