//! Large batches over one connection, several in flight, to all partitions in turn.

use std::collections::VecDeque;
use std::time::Duration;

use clap::Args;
use klamm_bench::payload::{PRODUCE_VERSION, Payload, Shape};
use klamm_bench::topic::{self, Topic, check_produced};
use klamm_bench::wire::{Connection, Frame};
use klamm_bench::{LoadError, read_back};
use klamm_protocol::ProduceRequest;
use serde_json::Value;

use super::window::{Done, Window};
use crate::Target;

/// Requests in flight, as many as Kafka's own producer has.
const IN_FLIGHT: usize = 5;

/// What becomes of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum After {
    /// It is read back in full and deleted.
    Check,
    /// It is deleted.
    Delete,
    /// It stays, for consumers.
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made.
    #[arg(long)]
    topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Bytes of a batch, at most.
    #[arg(long, default_value_t = (1 << 20) - 4096)]
    batch_bytes: usize,
    /// The window ends after this many seconds or...
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// ...this many bytes, whichever comes first: the disk is not endless.
    #[arg(long, default_value_t = 2_000_000_000)]
    bytes: u64,
    /// What becomes of the topic.
    #[arg(long, value_enum, default_value = "check")]
    after: After,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.partitions };
    topic::make(address, topic)?;
    let shape =
        Shape { value_bytes: arguments.value_bytes, batch_bytes_max: arguments.batch_bytes };
    let payload = Payload::new(shape)?;
    let mut frames = (0..arguments.partitions)
        .map(|partition| payload.produce_frame(topic.name, partition))
        .collect::<Result<Vec<Frame>, _>>()?;
    let mut connection = Connection::open(address)?;
    // One record of each partition is that of its making.
    let mut acknowledged = vec![1; frames.len()];
    let mut waiting = VecDeque::new();
    let mut done = Done::default();

    let window = Window::open(arguments.target.pid)?;
    let limit = Duration::from_secs(arguments.seconds);
    for index in (0..frames.len()).cycle() {
        if window.start().elapsed() >= limit || done.bytes >= arguments.bytes {
            break;
        }
        if waiting.len() == IN_FLIGHT {
            receive(&mut connection, &mut waiting)?;
        }
        waiting.push_back(connection.send(&mut frames[index])?);
        acknowledged[index] += payload.record_count;
        done.requests += 1;
        done.records += payload.record_count.unsigned_abs();
        done.bytes += payload.batch.len() as u64;
    }
    while !waiting.is_empty() {
        receive(&mut connection, &mut waiting)?;
    }
    let figures = window.close(done)?;

    if arguments.after == After::Check {
        read_back::read_all(address, topic)?.expect(&acknowledged)?;
    }
    if arguments.after != After::Keep {
        topic::delete(address, topic.name)?;
    }
    Ok(figures)
}

/// Receives the oldest answer; any refusal voids the window.
fn receive(connection: &mut Connection, waiting: &mut VecDeque<i32>) -> Result<(), LoadError> {
    let Some(correlation_id) = waiting.pop_front() else { return Ok(()) };
    check_produced(&connection.receive::<ProduceRequest>(correlation_id, PRODUCE_VERSION)?)
}
