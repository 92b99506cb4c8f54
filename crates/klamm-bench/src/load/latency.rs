//! An open loop: requests go out when they are due, whether or not the broker keeps up, and their
//! latency counts from that moment.
//!
//! One thread that never sleeps drives all connections, so that neither a timer's slack nor a
//! wake-up of the load's own is measured. It needs a core for itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use klamm_bench::LoadError;
use klamm_bench::payload::{Payload, Shape};
use klamm_bench::poll::{Lane, readable_now, wait_readable};
use klamm_bench::topic::{self, Topic};
use serde_json::{Value, json};

use super::window::{Done, Window};
use crate::Target;

/// Largest latency that is told apart; a larger one counts as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made, with a partition for each connection.
    #[arg(long)]
    topic: String,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    connections: i32,
    /// Requests a second over all connections.
    #[arg(long, default_value_t = 2500)]
    rate: u32,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Length of the window.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.connections };
    topic::make(address, topic)?;
    let payload = Payload::new(Shape { value_bytes: arguments.value_bytes, batch_bytes_max: 0 })?;
    let mut lanes = open_lanes(address, topic, &payload)?;
    let window = Window::open(arguments.target.pid)?;
    let pace = Pace { rate: arguments.rate, seconds: arguments.seconds };
    let latencies = drive(&mut lanes, pace, window.start(), &mut |_| Ok(()))?;
    let requests = latencies.answered.len();
    let done = Done { requests, records: requests, bytes: requests * payload.batch.len() as u64 };
    let mut value = window.close(done)?;
    add_percentiles(&mut value, &latencies.answered);
    // The load's own lateness: latencies of its size say nothing about the broker.
    value["pacer_late_p99_ms"] = json!(ms_at(&latencies.late, 99.0));
    topic::delete(address, topic.name)?;
    Ok(value)
}

/// A connection for each partition of the topic.
pub(super) fn open_lanes(
    address: SocketAddr,
    topic: Topic<'_>,
    payload: &Payload,
) -> Result<Vec<Lane>, LoadError> {
    (0..topic.partition_count)
        .map(|index| Lane::open(address, payload.produce_frame(topic.name, index)?))
        .collect()
}

pub(super) struct Latencies {
    pub(super) answered: Histogram<u64>,
    pub(super) late: Histogram<u64>,
}

/// How many requests, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A second, over all connections.
    pub(super) rate: u32,
    pub(super) seconds: u32,
}

/// Drives the lanes. While nothing is due, `meanwhile` is called again and again with the time
/// since the start; it must be short.
pub(super) fn drive(
    lanes: &mut [Lane],
    pace: Pace,
    start: Instant,
    meanwhile: &mut dyn FnMut(Duration) -> Result<(), LoadError>,
) -> Result<Latencies, LoadError> {
    let mut latencies = Latencies { answered: new_histogram()?, late: new_histogram()? };
    let interval = Duration::from_secs(1) / pace.rate.max(1);
    let total = u64::from(pace.rate) * u64::from(pace.seconds);
    let lane_count = lanes.len();
    let mut ready = Vec::new();
    for n in 0..total {
        let due = start + interval.mul_f64(n as f64);
        while Instant::now() < due {
            receive_ready(lanes, &mut ready, &mut latencies.answered, Wait::No)?;
            meanwhile(start.elapsed())?;
        }
        record(&mut latencies.late, due.elapsed());
        lanes[n as usize % lane_count].send(due)?;
    }
    while lanes.iter().any(|lane| lane.waiting_count() > 0) {
        receive_ready(lanes, &mut ready, &mut latencies.answered, Wait::Yes)?;
    }
    Ok(latencies)
}

#[derive(Clone, Copy)]
enum Wait {
    No,
    Yes,
}

fn receive_ready(
    lanes: &mut [Lane],
    ready: &mut Vec<usize>,
    histogram: &mut Histogram<u64>,
    wait: Wait,
) -> Result<(), LoadError> {
    match wait {
        Wait::No => readable_now(lanes, ready)?,
        Wait::Yes => wait_readable(lanes, ready)?,
    }
    for &index in &*ready {
        lanes[index].receive(|due| record(histogram, due.elapsed()))?;
    }
    Ok(())
}

/// A histogram of nanoseconds with three digits.
pub(super) fn new_histogram() -> Result<Histogram<u64>, LoadError> {
    Histogram::new_with_max(LATENCY_MAX.as_nanos() as u64, 3)
        .map_err(|error| LoadError::unexpected(format!("a histogram cannot be made: {error}")))
}

pub(super) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}

/// Lets each client work in a thread of its own; gives the times of all together.
pub(super) fn all_times<C: Send>(
    clients: &mut [C],
    work: impl Fn(&mut C) -> Result<Histogram<u64>, LoadError> + Sync,
) -> Result<Histogram<u64>, LoadError> {
    let work = &work;
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || work(client))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(LoadError::unexpected("a client's panic")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<Histogram<u64>>, LoadError>>()
    })?;
    let mut histogram = new_histogram()?;
    for one in &times {
        histogram
            .add(one)
            .map_err(|error| LoadError::unexpected(format!("times that do not add up: {error}")))?;
    }
    Ok(histogram)
}

/// Adds percentiles in milliseconds.
pub(super) fn add_percentiles(figures: &mut Value, histogram: &Histogram<u64>) {
    for (name, percentile) in
        [("p50_ms", 50.0), ("p99_ms", 99.0), ("p999_ms", 99.9), ("max_ms", 100.0)]
    {
        figures[name] = json!(ms_at(histogram, percentile));
    }
}

pub(super) fn ms_at(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_percentile(percentile) as f64 / 1e6
}
