//! Transactions of one record, committed one after another by many producers: what a commit costs.
//! Transactions v2 (KIP-890): a produce request brings its partition in, and EndTxn ends it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use klamm_bench::LoadError;
use klamm_bench::payload::TransactionalPayload;
use klamm_bench::topic::{self, Topic, check_produced};
use klamm_bench::wire::{Connection, Frame};
use klamm_protocol::{
    EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest,
};
use klamm_stdx::Str;
use serde_json::Value;

use super::again::until_done;
use super::latency::{add_percentiles, all_times, new_histogram, record};
use super::window::{Done, Window};
use crate::Target;

const FIND_VERSION: i16 = 3;
const INIT_VERSION: i16 = 4;
const PRODUCE_VERSION: i16 = 12;
const END_VERSION: i16 = 5;

/// What a refusal is of.
const STEP: &str = "a step of a transaction";

/// Kafka's `CoordinatorType.TRANSACTION`.
const TRANSACTION: i8 = 1;
/// Longer than any commit here takes.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made, with a partition for each producer.
    #[arg(long)]
    topic: String,
    /// Producers, each with a connection.
    #[arg(long, default_value_t = 16)]
    producers: i32,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Length of the window.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.producers };
    topic::make(address, topic)?;
    let mut producers = (0..arguments.producers)
        .map(|index| Producer::init(address, arguments, index))
        .collect::<Result<Vec<Producer>, LoadError>>()?;
    let window = Window::open(arguments.target.pid)?;
    let end = window.start() + Duration::from_secs(arguments.seconds);
    let histogram = all_times(&mut producers, |producer| producer.commit_until(end))?;
    let requests = histogram.len();
    let mut figures = window.close(Done { requests, records: requests, bytes: 0 })?;
    add_percentiles(&mut figures, &histogram);
    if let Some(per_second) = figures["requests_per_s"].as_f64() {
        // Less is better for all figures of the table.
        figures["ms_per_commit"] = (1_000.0 / per_second.max(f64::MIN_POSITIVE)).into();
    }
    topic::delete(address, topic.name)?;
    Ok(figures)
}

/// A producer with its transactional id.
struct Producer {
    connection: Connection,
    payload: TransactionalPayload,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn init(address: SocketAddr, arguments: &Arguments, index: i32) -> Result<Self, LoadError> {
        let transactional_id = format!("{}-{index}", arguments.topic);
        let mut connection = Connection::open(address)?;
        let find = FindCoordinatorRequest {
            key: Str::from(transactional_id.as_str()),
            key_type: TRANSACTION,
            ..FindCoordinatorRequest::default()
        };
        until_done(STEP, || Ok(connection.ask(&find, FIND_VERSION)?.error_code))?;
        let init = InitProducerIdRequest {
            transactional_id: Some(Str::from(transactional_id.as_str())),
            transaction_timeout_ms: TRANSACTION_TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let (mut id, mut epoch) = (-1, -1);
        until_done(STEP, || {
            let answer = connection.ask(&init, INIT_VERSION)?;
            (id, epoch) = (answer.producer_id, answer.producer_epoch);
            Ok(answer.error_code)
        })?;
        let payload = TransactionalPayload {
            topic: arguments.topic.clone(),
            partition: index,
            transactional_id,
            value_bytes: arguments.value_bytes,
        };
        Ok(Self { connection, payload, id, epoch })
    }

    /// Commits one transaction after another; gives how long each took.
    fn commit_until(&mut self, end: Instant) -> Result<Histogram<u64>, LoadError> {
        let mut histogram = new_histogram()?;
        while Instant::now() < end {
            let begun = Instant::now();
            self.commit_one()?;
            record(&mut histogram, begun.elapsed());
        }
        Ok(histogram)
    }

    fn commit_one(&mut self) -> Result<(), LoadError> {
        let mut frame: Frame = self.payload.produce_frame(self.id, self.epoch)?;
        let connection = &mut self.connection;
        until_done(STEP, || {
            let correlation_id = connection.send(&mut frame)?;
            let answer = connection.receive::<ProduceRequest>(correlation_id, PRODUCE_VERSION)?;
            match check_produced(&answer) {
                Err(LoadError::Refused { code, .. }) => Ok(code),
                other => other.map(|()| 0),
            }
        })?;
        let end = EndTxnRequest {
            transactional_id: Str::from(self.payload.transactional_id.as_str()),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: true,
        };
        let mut next = (self.id, self.epoch);
        until_done(STEP, || {
            let answer = connection.ask(&end, END_VERSION)?;
            next = (answer.producer_id, answer.producer_epoch);
            Ok(answer.error_code)
        })?;
        (self.id, self.epoch) = next;
        Ok(())
    }
}
