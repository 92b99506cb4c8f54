//! Assembles a node from its roles, starts it in order and stops it in the reverse order. The
//! embedded door: [`Node::start`].
//!
//! ```text
//! start: listeners bound → directories locked (formatted if new) → metadata log read →
//!        partitions opened → groups → controller → registered, unfenced → connections accepted
//! stop:  connections answered and closed → groups → controller → partitions closed, directories
//!        marked clean → metadata log closed
//! ```
//!
//! Beside them run housekeeping and the cleaner threads, from when partitions are open until just
//! before they are closed.
//!
//! ```text
//! housekeeping: retention, checkpoints, removal, /metrics     cleaner-N: compaction
//! ```

mod boot;
mod cleaner;
mod config_rules;
mod coordinators;
mod error;
mod format;
mod housekeeping;
mod http;
mod metadata_log;
mod metrics;
mod mover;
mod node;
mod publisher;
mod reporter;
mod scrub;

pub use error::StartError;
pub use node::{Node, NodeOptions};
