//! One record a request and one request in flight on each connection: what a request costs.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use klamm_bench::LoadError;
use klamm_bench::payload::{Payload, Shape};
use klamm_bench::poll::{Lane, wait_readable};
use klamm_bench::read_back;
use klamm_bench::topic::{self, Topic};
use serde_json::Value;

use super::latency::{add_percentiles, new_histogram, record};
use super::window::{Done, Window};
use crate::Target;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made, with a partition for each connection.
    #[arg(long)]
    topic: String,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: i32,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Length of the window.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.connections };
    topic::make(address, topic)?;
    let payload = Payload::new(Shape { value_bytes: arguments.value_bytes, batch_bytes_max: 0 })?;
    let mut lanes = (0..arguments.connections)
        .map(|index| Lane::open(address, payload.produce_frame(topic.name, index)?))
        .collect::<Result<Vec<Lane>, LoadError>>()?;
    let mut histogram = new_histogram()?;
    let mut acknowledged = vec![1; lanes.len()];

    let window = Window::open(arguments.target.pid)?;
    drive(
        &mut lanes,
        &mut acknowledged,
        &mut histogram,
        window.start() + Duration::from_secs(arguments.seconds),
    )?;
    let requests = histogram.len();
    let done = Done { requests, records: requests, bytes: requests * payload.batch.len() as u64 };
    let mut figures = window.close(done)?;
    add_percentiles(&mut figures, &histogram);
    read_back::read_all(address, topic)?.expect(&acknowledged)?;
    topic::delete(address, topic.name)?;
    Ok(figures)
}

/// Keeps one request in flight on each lane until the end, and takes the last answers.
fn drive(
    lanes: &mut [Lane],
    acknowledged: &mut [i64],
    histogram: &mut Histogram<u64>,
    end: Instant,
) -> Result<(), LoadError> {
    let mut ready = Vec::new();
    for lane in &mut *lanes {
        lane.send(Instant::now())?;
    }
    let mut in_flight = lanes.len();
    while in_flight > 0 {
        wait_readable(lanes, &mut ready)?;
        for &index in &ready {
            let lane = &mut lanes[index];
            lane.receive(|sent| {
                record(histogram, sent.elapsed());
                acknowledged[index] += 1;
            })?;
            let now = Instant::now();
            if lane.waiting_count() == 0 {
                if now < end { lane.send(now)? } else { in_flight -= 1 }
            }
        }
    }
    Ok(())
}
