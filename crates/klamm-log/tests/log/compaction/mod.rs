//! Compaction through the public door.

mod costs;
mod crashes;
mod kafka;
mod model;
mod rules;
mod support;
mod together;
