//! Compaction through the public door.

mod crashes;
mod model;
mod rules;
mod support;
mod together;
