//! The load of the benchmark: raw connections that send batches encoded beforehand, so that the
//! broker is what is measured. Never starts or stops a broker, and never judges a figure:
//! `cargo xtask bench` does.

pub mod cold;
pub mod cpu;
pub mod error;
pub mod payload;
pub mod poll;
pub mod read_back;
pub mod topic;
pub mod wire;

pub use error::LoadError;
