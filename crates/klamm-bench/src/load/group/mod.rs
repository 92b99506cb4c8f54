//! Members that join one group at once, and one that leaves: what a group costs its coordinator.
//! Each member is a connection with heartbeats of its own; none fetches records.

mod board;
mod classic;
mod consumer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use clap::{Args, ValueEnum};
use klamm_bench::LoadError;
use klamm_bench::topic::{self, Topic};
use klamm_bench::wire::Connection;
use klamm_protocol::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::{FindCoordinatorRequest, OffsetFetchRequest};
use klamm_stdx::Str;
use serde_json::{Value, json};

use self::board::{Board, Stable};
use super::again::until_done;
use super::window::{Done, Window};
use crate::Target;

const FIND_VERSION: i16 = 3;
const OFFSET_FETCH_VERSION: i16 = 8;

/// Kafka's `heartbeat.interval.ms`, `session.timeout.ms` and `max.poll.interval.ms`.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// Stack of a member's thread: it holds nothing large.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// JoinGroup and SyncGroup; the members' leader divides the partitions.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848); the coordinator divides them.
    Consumer,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The topic that is made, with a partition for each member.
    #[arg(long)]
    topic: String,
    /// Members.
    #[arg(long, default_value_t = 200)]
    members: usize,
    /// The group's protocol.
    #[arg(long, value_enum, default_value = "classic")]
    protocol: Protocol,
    /// Without a change for so many seconds the group is stable.
    #[arg(long, default_value_t = 3)]
    quiet_seconds: u64,
    /// Longest wait for a stable group, in seconds.
    #[arg(long, default_value_t = 120)]
    wait_seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, LoadError> {
    let partitions = i32::try_from(arguments.members)
        .map_err(|_| LoadError::unexpected(format!("{} members", arguments.members)))?;
    let address = arguments.target.address;
    let topic = Topic { name: &arguments.topic, partition_count: partitions };
    topic::make(address, topic)?;
    wait_for_coordinator(address, &arguments.topic)?;
    let board = Arc::new(Board::new(arguments.members, arguments.members));
    let stable = Stable {
        members: arguments.members,
        quiet: Duration::from_secs(arguments.quiet_seconds),
        wait_max: Duration::from_secs(arguments.wait_seconds),
    };

    let window = Window::open(arguments.target.pid)?;
    let start = window.start();
    let mut members = (0..arguments.members)
        .map(|index| Running::start(arguments, index, &board))
        .collect::<Result<Vec<Running>, LoadError>>()?;
    let changed = board.wait(stable)?;
    let mut figures = window.close(Done::default())?;
    figures["stable_ms"] = json!(changed.duration_since(start).as_secs_f64() * 1e3);
    figures["assignments"] = json!(board.assignments());

    let window = Window::open(arguments.target.pid)?;
    let start = window.start();
    members.remove(0).leave()?;
    // Its partitions are the others' now: one of them has two.
    let changed = board.wait(Stable { members: arguments.members - 1, ..stable })?;
    figures["leave_cpu_s"] = window.close(Done::default())?["cpu_s"].clone();
    figures["leave_stable_ms"] = json!(changed.duration_since(start).as_secs_f64() * 1e3);

    // All are told before the first is waited for: none may wait for another to join again.
    let threads: Vec<_> = members.into_iter().map(Running::told).collect();
    for thread in threads {
        joined(thread)?;
    }
    topic::delete(address, topic.name)?;
    Ok(figures)
}

/// A member in its thread; it leaves when the sender is gone.
struct Running {
    stays: Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    fn start(arguments: &Arguments, index: usize, board: &Arc<Board>) -> Result<Self, LoadError> {
        let (stays, told) = std::sync::mpsc::channel();
        let member = Member {
            address: arguments.target.address,
            group: Str::from(format!("{}-group", arguments.topic).as_str()),
            topic: Str::from(arguments.topic.as_str()),
            partitions: i32::try_from(arguments.members).unwrap_or(i32::MAX),
            index,
            board: Arc::clone(board),
            told,
        };
        let protocol = arguments.protocol;
        let run = move || {
            let lived = match protocol {
                Protocol::Classic => classic::live(&member),
                Protocol::Consumer => consumer::live(&member),
            };
            if let Err(error) = lived {
                member.board.fail(error);
            }
        };
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(run)
            .map_err(|error| LoadError::system("start a member's thread", error))?;
        Ok(Self { stays, thread })
    }

    /// Tells the member to leave.
    fn told(self) -> std::thread::JoinHandle<()> {
        drop(self.stays);
        self.thread
    }

    /// Leaves, and has left.
    fn leave(self) -> Result<(), LoadError> {
        joined(self.told())
    }
}

fn joined(thread: std::thread::JoinHandle<()>) -> Result<(), LoadError> {
    thread.join().map_err(|_| LoadError::unexpected("a member's panic"))
}

/// A member: where it is, what it wants, and whom it tells.
struct Member {
    address: SocketAddr,
    group: Str,
    topic: Str,
    /// Of the topic.
    partitions: i32,
    /// Its number among the members.
    index: usize,
    board: Arc<Board>,
    /// Nothing comes here; its end is the word to leave.
    told: Receiver<()>,
}

impl Member {
    /// Waits for a while; tells whether to go on.
    fn goes_on_after(&self, interval: Duration) -> bool {
        use std::sync::mpsc::RecvTimeoutError;
        !matches!(self.told.recv_timeout(interval), Err(RecvTimeoutError::Disconnected))
    }

    /// Asks where to begin, as a consumer does with each partition that it is given, and takes
    /// the partitions.
    fn take(&self, connection: &mut Connection, partitions: &[i32]) -> Result<(), LoadError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let topic = OffsetFetchRequestTopics {
            name: self.topic.clone(),
            partition_indexes: partitions.to_vec(),
            ..OffsetFetchRequestTopics::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let answer = connection.ask(&request, OFFSET_FETCH_VERSION)?;
        match answer.groups.first().map(|group| group.error_code) {
            Some(0) => self.board.take(self.index, partitions),
            Some(code) => Err(LoadError::Refused { what: "an offset", code }),
            None => Err(LoadError::unexpected("an answer without the group")),
        }
    }
}

/// The topic of the offsets may have to be made, and read.
fn wait_for_coordinator(address: SocketAddr, topic: &str) -> Result<(), LoadError> {
    let key = Str::from(format!("{topic}-group").as_str());
    let find = FindCoordinatorRequest { key: key.clone(), ..FindCoordinatorRequest::default() };
    let group = OffsetFetchRequestGroup {
        group_id: key,
        topics: Some(Vec::new()),
        ..OffsetFetchRequestGroup::default()
    };
    let fetch = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let mut connection = Connection::open(address)?;
    until_done("a coordinator", || match connection.ask(&find, FIND_VERSION)?.error_code {
        0 => {
            let answer = connection.ask(&fetch, OFFSET_FETCH_VERSION)?;
            Ok(answer.groups.first().map_or(0, |group| group.error_code))
        }
        code => Ok(code),
    })
}
