//! From before a broker is started until it acknowledges a record.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use klamm_bench::LoadError;
use klamm_bench::topic::{self, Topic};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the broker will listen.
    #[arg(long)]
    address: SocketAddr,
    /// The topic that is made.
    #[arg(long, default_value = "first")]
    topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
}

/// Prints `ready` when it starts to try: whoever starts the broker waits for that.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    println!("ready");
    std::io::stdout().flush().map_err(|error| LoadError::system("write", error))?;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.partitions };
    topic::make(arguments.address, topic)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|_| LoadError::unexpected("the clock is before 1970"))?;
    Ok(json!({ "acked_unix_us": now.as_micros() as u64 }))
}
