//! What somebody who reads old records does to those who write new ones: an open loop for one half
//! of the window alone, and for the other beside a reader of a topic that no memory holds.
//!
//! The same thread that drives the loop takes the reader's bytes, a little at a time, so that the
//! load never takes its own core away from itself.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use klamm_bench::cold::{ColdReader, forget_pages};
use klamm_bench::payload::{Payload, Shape};
use klamm_bench::topic::{self, Topic};
use klamm_bench::{LoadError, cpu};
use serde_json::{Value, json};

use super::latency::{Pace, drive, ms_at, open_lanes};
use crate::Target;

/// Connections of the open loop, and partitions of its topic.
const CONNECTIONS: i32 = 8;

/// Requests of so many seconds before the first half count for nothing.
const LEAD_IN_SECONDS: u32 = 3;

/// Of the reader's bytes so many must have come from the device, or nothing was cold.
const COLD_SHARE_MIN: f64 = 0.5;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made for the open loop.
    #[arg(long)]
    topic: String,
    /// The topic that is read; it exists.
    #[arg(long)]
    cold_topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 6)]
    cold_partitions: i32,
    /// How fast it is read, at most, in megabytes a second.
    #[arg(long, default_value_t = 150)]
    cold_mb_per_s: u64,
    /// The broker's log directory.
    #[arg(long)]
    data: PathBuf,
    /// Requests a second of the open loop.
    #[arg(long, default_value_t = 2500)]
    rate: u32,
    /// Length of each half of the window.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let target = &arguments.target;
    let topic = Topic { name: &arguments.topic, partition_count: CONNECTIONS };
    topic::make(target.address, topic)?;
    let payload = Payload::new(Shape { value_bytes: 1024, batch_bytes_max: 0 })?;
    let mut lanes = open_lanes(target.address, topic, &payload)?;
    // Before either half everything is written back: what filled the topic burdens neither. Nor do
    // the first requests to a new topic, and the end of the window's before.
    forget(&arguments.data, &arguments.cold_topic)?;
    let lead_in = Pace { rate: arguments.rate, seconds: LEAD_IN_SECONDS };
    drive(&mut lanes, lead_in, Instant::now(), &mut |_| Ok(()))?;
    let pace = Pace { rate: arguments.rate, seconds: arguments.seconds };
    let quiet = drive(&mut lanes, pace, Instant::now(), &mut |_| Ok(()))?;

    forget(&arguments.data, &arguments.cold_topic)?;
    let cold = Topic { name: &arguments.cold_topic, partition_count: arguments.cold_partitions };
    let mut reader = ColdReader::open(target.address, cold, arguments.cold_mb_per_s * 1_000_000)?;
    let device_before = cpu::device_read_bytes(target.pid)?;
    let beside = drive(&mut lanes, pace, Instant::now(), &mut |since| reader.step(since))?;
    let from_device = cpu::device_read_bytes(target.pid)?.saturating_sub(device_before);
    topic::delete(target.address, topic.name)?;

    let share = from_device as f64 / reader.bytes().max(1) as f64;
    if reader.bytes() == 0 || share < COLD_SHARE_MIN {
        let text = format!("of {} bytes {from_device} came from the device", reader.bytes());
        return Err(LoadError::unexpected(text));
    }
    let (alone_ms, beside_ms) = (ms_at(&quiet.answered, 99.9), ms_at(&beside.answered, 99.9));
    Ok(json!({
        "alone_p50_ms": ms_at(&quiet.answered, 50.0),
        "alone_p999_ms": alone_ms,
        "beside_p50_ms": ms_at(&beside.answered, 50.0),
        "beside_p99_ms": ms_at(&beside.answered, 99.0),
        "beside_p999_ms": beside_ms,
        "moved_ms": (beside_ms - alone_ms).max(MOVED_MS_MIN),
        // The load's own lateness: a move of its size says nothing about the broker.
        "pacer_late_p999_ms": ms_at(&beside.late, 99.9),
        "cold_mb": reader.bytes() as f64 / 1e6,
        "from_device_share": share,
    }))
}

/// A smaller move is not told apart from none.
const MOVED_MS_MIN: f64 = 0.01;

/// Drops the topic's files from the page cache.
fn forget(data: &Path, topic: &str) -> Result<(), LoadError> {
    let failed = |error| LoadError::system(format!("list {}", data.display()), error);
    for entry in std::fs::read_dir(data).map_err(failed)? {
        let dir = entry.map_err(failed)?.path();
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.rsplit_once('-').is_some_and(|(of_topic, _)| of_topic == topic) {
            forget_pages(&dir)?;
        }
    }
    Ok(())
}
