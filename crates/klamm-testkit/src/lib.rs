//! Test support: the binary as a process, a raw connection, and other people's programs. Never
//! part of a node, and never waits for time to pass: only for something to happen.
//!
//! A test that needs a program which was not set up fails and says how to set it up; nothing is
//! skipped in silence.

mod broker;
mod client;
mod connection;
mod house;
mod process;
mod temp_dir;
mod tools;
mod wait;

pub use broker::{Broker, BrokerOptions, start_refused};
pub use client::{Client, StoredRecord, batch_of, produce_request};
pub use connection::{RawConnection, frame_of, head};
pub use house::{House, check_log, stop};
pub use process::{Lines, Process};
pub use temp_dir::TempDir;
pub use tools::{Finished, JavaProgram, Tools};
pub use wait::{WAIT_MAX, wait_until};
