//! Offsets, committed one request after another by many groups: what a commit costs.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use klamm_bench::LoadError;
use klamm_bench::topic::{self, Topic};
use klamm_bench::wire::{Connection, Frame};
use klamm_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::{FindCoordinatorRequest, OffsetCommitRequest};
use klamm_stdx::Str;
use serde_json::Value;

use super::again::until_done;
use super::latency::{add_percentiles, all_times, new_histogram, record};
use super::window::{Done, Window};
use crate::Target;

const FIND_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 9;
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made, and whose partitions' offsets are committed.
    #[arg(long)]
    topic: String,
    /// Groups, each with a connection and one request in flight.
    #[arg(long, default_value_t = 16)]
    groups: usize,
    /// Partitions in each commit.
    #[arg(long, default_value_t = 10)]
    partitions: i32,
    /// Length of the window.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: arguments.partitions };
    topic::make(address, topic)?;
    let mut groups = (0..arguments.groups)
        .map(|index| Committer::open(arguments, index))
        .collect::<Result<Vec<Committer>, LoadError>>()?;
    let window = Window::open(arguments.target.pid)?;
    let end = window.start() + Duration::from_secs(arguments.seconds);
    let histogram = all_times(&mut groups, |committer| committer.commit_until(end))?;
    let requests = histogram.len();
    let mut figures = window.close(Done { requests, records: requests, bytes: 0 })?;
    add_percentiles(&mut figures, &histogram);
    topic::delete(address, topic.name)?;
    Ok(figures)
}

/// A group without members, whose offsets somebody commits.
struct Committer {
    connection: Connection,
    frame: Frame,
}

impl Committer {
    fn open(arguments: &Arguments, index: usize) -> Result<Self, LoadError> {
        let group = Str::from(format!("{}-{index}", arguments.topic).as_str());
        let mut connection = Connection::open(arguments.target.address)?;
        let find =
            FindCoordinatorRequest { key: group.clone(), ..FindCoordinatorRequest::default() };
        let request = commit(&group, arguments);
        let mut frame = Frame::encode(&request, COMMIT_VERSION)?;
        until_done("a commit", || match connection.ask(&find, FIND_VERSION)?.error_code {
            0 => commit_once(&mut connection, &mut frame),
            code => Ok(code),
        })?;
        Ok(Self { connection, frame })
    }

    fn commit_until(&mut self, end: Instant) -> Result<Histogram<u64>, LoadError> {
        let mut histogram = new_histogram()?;
        while Instant::now() < end {
            let begun = Instant::now();
            match commit_once(&mut self.connection, &mut self.frame)? {
                0 => record(&mut histogram, begun.elapsed()),
                code => return Err(LoadError::Refused { what: "a commit", code }),
            }
        }
        Ok(histogram)
    }
}

fn commit(group: &Str, arguments: &Arguments) -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: Str::from(arguments.topic.as_str()),
        partitions: (0..arguments.partitions).map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.clone(),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

/// Commits; gives the first error's code, or zero.
fn commit_once(connection: &mut Connection, frame: &mut Frame) -> Result<i16, LoadError> {
    let id = connection.send(frame)?;
    let answer = connection.receive::<OffsetCommitRequest>(id, COMMIT_VERSION)?;
    let mut codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
    Ok(codes.find(|code| *code != 0).unwrap_or(0))
}
