//! A broker at rest: its memory and open files, and the CPU it uses although nothing is asked of it.

use std::time::Duration;

use clap::Args;
use klamm_bench::{LoadError, cpu};
use serde_json::{Value, json};

use super::window::{Done, Window};

#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// The broker's process.
    #[arg(long)]
    pid: u32,
    /// How long to wait before looking.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub(crate) fn memory(arguments: &Memory) -> Result<Value, LoadError> {
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    Ok(json!({
        "resident_mib": cpu::resident_bytes(arguments.pid)? as f64 / (1024.0 * 1024.0),
        "open_files": cpu::open_file_count(arguments.pid)?,
        "read_mb": cpu::read_bytes(arguments.pid)? as f64 / 1e6,
    }))
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// The broker's process.
    #[arg(long)]
    pid: u32,
    /// How long to watch.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

pub(crate) fn idle(arguments: &Idle) -> Result<Value, LoadError> {
    let window = Window::open(arguments.pid)?;
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    window.close(Done::default())
}
