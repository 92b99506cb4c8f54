//! The native client: admin, producer and consumer over one small connection type.
//!
//! Single-threaded: a [`Client`] and what is made from it live on one worker
//! ([`klamm_env::task::run_worker`]). Errors say whether a request was certainly not done or
//! whether that is unknown.

mod cluster;
mod connection;
mod error;
mod partitioner;

pub use cluster::{AutoCreate, Client, ClientOptions, TopicInfo};
pub use connection::{Connection, ConnectionOptions};
pub use error::{ClientError, Result};
pub use partitioner::{Partitioner, murmur2, partition_for_key};
