//! The directories that hold logs: whose they are, what is in them, and how the last stop left them.

pub(crate) mod clean_shutdown;
pub(crate) mod error;
pub(crate) mod found_partition;
pub(crate) mod log_dir;
pub(crate) mod log_dirs;
pub(crate) mod meta_properties;
