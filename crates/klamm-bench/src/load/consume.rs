//! Catch-up reads: a topic from its start to its end, again and again, every batch checked.

use std::time::Duration;

use clap::Args;
use klamm_bench::LoadError;
use klamm_bench::read_back::read_all;
use klamm_bench::topic::Topic;
use serde_json::Value;

use super::window::{Done, Window};
use crate::Target;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic, which exists.
    #[arg(long)]
    topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// No pass starts after this many seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let topic = Topic { name: &arguments.topic, partition_count: arguments.partitions };
    let window = Window::open(arguments.target.pid)?;
    let mut done = Done::default();
    while window.start().elapsed() < Duration::from_secs(arguments.seconds) {
        let read = read_all(arguments.target.address, topic)?;
        if read.bytes == 0 {
            return Err(LoadError::unexpected("the topic is empty"));
        }
        done.requests += read.request_count;
        done.records += read.record_counts.iter().sum::<i64>().unsigned_abs();
        done.bytes += read.bytes;
    }
    window.close(done)
}
