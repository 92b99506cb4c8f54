//! The crate through its public door, on real directories.

mod format;
mod quorum;
mod support;
