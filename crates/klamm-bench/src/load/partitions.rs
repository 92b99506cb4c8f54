//! Many partitions: how long it takes until all have a leader, and then one record in each.

use std::time::{Duration, Instant};

use clap::Args;
use klamm_bench::LoadError;
use klamm_bench::payload::{PRODUCE_VERSION, Payload, Shape};
use klamm_bench::topic::{self, Topic, check_produced};
use klamm_bench::wire::Connection;
use klamm_protocol::{MetadataRequest, ProduceRequest};
use serde_json::{Value, json};

use super::window::{Done, Window};
use crate::Target;

/// Topics that one request makes: Kafka takes 10,000 records of metadata at once.
const TOPICS_PER_REQUEST: usize = 100;

/// The version of metadata that is sent.
const METADATA_VERSION: i16 = 9;

/// Pause between two looks at the metadata, and how long they go on.
const AGAIN: Duration = Duration::from_millis(5);
const LEADERS_WAIT_MAX: Duration = Duration::from_secs(120);

/// Produce requests in flight while the records are written.
const IN_FLIGHT: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// What the topics' names begin with.
    #[arg(long)]
    topic: String,
    /// How many topics.
    #[arg(long, default_value_t = 1_000)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 10)]
    partitions: i32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let names: Vec<String> =
        (0..arguments.topics).map(|n| format!("{}-{n}", arguments.topic)).collect();
    let partition_count = arguments.partitions;
    let topics: Vec<Topic<'_>> = names.iter().map(|name| Topic { name, partition_count }).collect();
    let mut connection = Connection::open(arguments.target.address)?;
    let window = Window::open(arguments.target.pid)?;
    for chunk in topics.chunks(TOPICS_PER_REQUEST) {
        topic::create_all(&mut connection, chunk)?;
    }
    let wanted = names.len() * partition_count.unsigned_abs() as usize;
    wait_for_leaders(&mut connection, &arguments.topic, wanted)?;
    let create_ms = window.start().elapsed().as_secs_f64() * 1e3;
    let mut figures = window.close(Done { requests: wanted as u64, ..Done::default() })?;
    figures["create_ms"] = json!(create_ms);
    write_records(&mut connection, &topics)?;
    Ok(figures)
}

fn wait_for_leaders(
    connection: &mut Connection,
    prefix: &str,
    wanted: usize,
) -> Result<(), LoadError> {
    let start = Instant::now();
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    loop {
        let answer = connection.ask(&request, METADATA_VERSION)?;
        let is_ours = |name: &str| name.strip_prefix(prefix).is_some_and(|n| n.starts_with('-'));
        let ours = answer.topics.iter().filter(|t| t.name.as_deref().is_some_and(is_ours));
        let led = ours.flat_map(|topic| &topic.partitions);
        let led = led.filter(|partition| partition.error_code == 0 && partition.leader_id >= 0);
        if led.count() >= wanted {
            return Ok(());
        }
        if start.elapsed() > LEADERS_WAIT_MAX {
            return Err(LoadError::TimedOut { what: "a leader of every partition" });
        }
        std::thread::sleep(AGAIN);
    }
}

/// One record in each partition.
fn write_records(connection: &mut Connection, topics: &[Topic<'_>]) -> Result<(), LoadError> {
    let payload = Payload::new(Shape { value_bytes: 100, batch_bytes_max: 0 })?;
    let mut waiting = std::collections::VecDeque::new();
    for topic in topics {
        for partition in 0..topic.partition_count {
            if waiting.len() == IN_FLIGHT {
                receive(connection, waiting.pop_front())?;
            }
            let mut frame = payload.produce_frame(topic.name, partition)?;
            waiting.push_back(connection.send(&mut frame)?);
        }
    }
    waiting.into_iter().try_for_each(|id| receive(connection, Some(id)))
}

fn receive(connection: &mut Connection, id: Option<i32>) -> Result<(), LoadError> {
    let Some(id) = id else { return Ok(()) };
    check_produced(&connection.receive::<ProduceRequest>(id, PRODUCE_VERSION)?)
}
