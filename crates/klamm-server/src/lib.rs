//! Assembles a node from its roles, starts it in order and stops it in the reverse order. The
//! embedded door: [`Node::start`].
//!
//! ```text
//! start: listeners bound → directories locked (formatted if new) → metadata log read →
//!        partitions opened → groups → controller → registered, unfenced → connections accepted
//! stop:  connections answered and closed → groups → controller → partitions closed, directories
//!        marked clean → metadata log closed
//! ```

mod boot;
mod config_rules;
mod error;
mod format;
mod housekeeping;
mod http;
mod metadata_log;
mod metrics;
mod node;
mod publisher;

pub use error::StartError;
pub use node::{Node, NodeOptions};
