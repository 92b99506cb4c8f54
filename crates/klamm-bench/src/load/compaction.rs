//! Compaction: a topic is filled with keys that repeat, made a compacted one, and watched until
//! the broker's cleaner is through. What its threads used is the figure.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use klamm_bench::payload::{PRODUCE_VERSION, Payload};
use klamm_bench::topic::{self, Topic, check_produced};
use klamm_bench::wire::Connection;
use klamm_bench::{LoadError, cpu};
use klamm_model::Timestamp;
use klamm_protocol::ProduceRequest;
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend};
use serde_json::{Value, json};

use crate::Target;

/// What Kafka and Klamm write when a log was cleaned (Kafka: `LogCleanerManager`).
const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Kafka looks for something to clean every 15 seconds, and cleans 1 GB in less than the rest.
const CLEANING_WAIT_MAX: Duration = Duration::from_secs(120);

/// Pause between two looks at the checkpoint.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made.
    #[arg(long)]
    topic: String,
    /// The broker's log directory.
    #[arg(long)]
    data: PathBuf,
    /// What the names of the broker's cleaner threads begin with.
    #[arg(long)]
    cleaner_threads: String,
    /// Bytes of batches to clean.
    #[arg(long, default_value_t = 1_000_000_000)]
    bytes: u64,
    /// Keys that the records share.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of a batch, about.
    #[arg(long, default_value_t = 16 * 1024)]
    batch_bytes: usize,
    /// Taken for the sake of the other loads: the cleaner ends the window.
    #[arg(long)]
    seconds: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    topic::make(address, Topic { name: &arguments.topic, partition_count: 1 })?;
    let mut connection = Connection::open(address)?;
    let name = arguments.topic.as_str();
    // While it is filled nothing is cleaned; its segments are a tenth of it.
    let segment_bytes = (arguments.bytes / 10).clamp(1 << 20, 1 << 30).to_string();
    topic::configure(&mut connection, name, ("segment.bytes", &segment_bytes))?;
    let filled = fill(&mut connection, arguments)?;
    let cpu_before = cleaner_cpu(arguments)?;
    let start = Instant::now();
    topic::configure(&mut connection, name, ("cleanup.policy", "compact"))?;
    let cleaned_to = wait_for_cleaner(&arguments.data, name)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_s = (cleaner_cpu(arguments)?.saturating_sub(cpu_before)).as_secs_f64();
    let part = cleaned_to as f64 / filled.records.max(1) as f64;
    let megabytes = filled.bytes as f64 * part / 1e6;
    topic::delete(address, name)?;
    Ok(json!({
        "seconds": seconds,
        "records": filled.records,
        "cleaned_mb": megabytes,
        "cpu_s": cpu_s,
        "cpu_s_per_gb": cpu_s * 1e3 / megabytes,
        "mb_per_cpu_s": megabytes / cpu_s,
    }))
}

fn cleaner_cpu(arguments: &Arguments) -> Result<Duration, LoadError> {
    cpu::cpu_time_of(arguments.target.pid, &arguments.cleaner_threads)
}

#[derive(Default)]
struct Filled {
    bytes: u64,
    records: u64,
}

fn fill(connection: &mut Connection, arguments: &Arguments) -> Result<Filled, LoadError> {
    let mut state: u64 = 1;
    let mut filled = Filled::default();
    while filled.bytes < arguments.bytes {
        let payload = batch(arguments, &mut state)?;
        let mut frame = payload.produce_frame(&arguments.topic, 0)?;
        let id = connection.send(&mut frame)?;
        check_produced(&connection.receive::<ProduceRequest>(id, PRODUCE_VERSION)?)?;
        filled.bytes += payload.batch.len() as u64;
        filled.records += payload.record_count.unsigned_abs();
    }
    Ok(filled)
}

/// 100-byte values under keys that come again.
fn batch(arguments: &Arguments, state: &mut u64) -> Result<Payload, LoadError> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut value = [0; 100];
    while builder.len_bytes() < arguments.batch_bytes {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = format!("key-{:08}", (*state >> 33) % arguments.keys.max(1));
        value.fill((*state >> 40) as u8);
        builder.push(RecordToAppend {
            timestamp: Timestamp(1_790_000_000_000),
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
        });
    }
    let record_count = builder.record_count() as i64;
    let bytes = builder
        .build()
        .map_err(|error| LoadError::unexpected(format!("a batch cannot be made: {error}")))?;
    Ok(Payload { batch: bytes.into(), record_count })
}

/// Waits until the checkpoint says how far the topic was cleaned.
fn wait_for_cleaner(data: &Path, topic: &str) -> Result<u64, LoadError> {
    let start = Instant::now();
    let path = data.join(CLEANER_CHECKPOINT);
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(offset) = cleaned_to(&text, topic).filter(|offset| *offset > 0) {
            return Ok(offset);
        }
        if start.elapsed() > CLEANING_WAIT_MAX {
            return Err(LoadError::TimedOut { what: "the cleaner" });
        }
        std::thread::sleep(AGAIN);
    }
}

/// The offset that a checkpoint has for the topic's only partition.
fn cleaned_to(checkpoint: &str, topic: &str) -> Option<u64> {
    checkpoint.lines().find_map(|line| {
        let offset = line.strip_prefix(topic)?.strip_prefix(" 0 ")?;
        offset.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::cleaned_to;

    #[test]
    fn a_checkpoint_is_asked_for_the_topic_itself_and_not_for_its_namesakes() {
        let text = "0\n3\nload-1 0 5\nload-11 0 7\nload-1 1 9\n";
        assert_eq!(cleaned_to(text, "load-1"), Some(5));
        assert_eq!(cleaned_to(text, "load-11"), Some(7));
        assert_eq!(cleaned_to(text, "load-2"), None);
        assert_eq!(cleaned_to("", "load-1"), None);
    }
}
