//! Fetch (key 1): reads batches, waiting for some if there are none. Served: v4-v18.
//!
//! v5 log start · v7 sessions (KIP-227) · v9 leader epochs (KIP-320) · v10 zstd (KIP-110) ·
//! v11 racks (KIP-392) · v12 flexible, divergence (KIP-595) · v13 topics by id (KIP-516) · v15
//! the replica's state (KIP-903) · v16 the leader to turn to (KIP-951) · v17 directory ids
//! (KIP-853) · v18 the follower's high watermark (KIP-1166).

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::{FileSlice, task};
use klamm_log::AtLeastOne;
use klamm_model::{ErrorCode, IsolationLevel, NodeId, Offset};
use klamm_protocol::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint};
use klamm_protocol::{FetchRequest, FetchResponse, Listener};
use klamm_replication::{Answer, FetchSignal, SessionRef, SessionRequest, Told, Wanted, Worth};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::session_code;
use crate::fetch_read::{Line, epoch};
use crate::topic_key::FetchKey;

/// From here on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
/// From here on a client is told who leads.
const LEADERS_FROM: i16 = 16;

pub(crate) struct Fetch;

/// How much, and for how long, a fetch waits.
struct Bounds {
    bytes_min: u64,
    bytes_max: u64,
    wait: Duration,
    isolation: IsolationLevel,
}

impl Api for Fetch {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: FetchRequest,
        version: i16,
    ) -> Reply<FetchResponse> {
        if request.replica_id >= 0 || request.replica_state.replica_id >= 0 {
            // Only replicas of a partition may read past its high watermark, and there are none.
            return refused(ErrorCode::ClusterAuthorizationFailed).into();
        }
        let bounds = Bounds {
            bytes_min: u64::try_from(request.min_bytes).unwrap_or(0),
            bytes_max: u64::try_from(request.max_bytes.min(ctx.config.network.fetch_max_bytes))
                .unwrap_or(0),
            wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            isolation: IsolationLevel::from_wire(request.isolation_level),
        };
        let by_topic_id = version >= TOPIC_IDS_FROM;
        let random = (ctx.env.random.bits() & 0x7fff_ffff) as i32;
        let begun = {
            let mut sessions = ctx.fetch_sessions.lock().expect("no holder of this lock can panic");
            sessions.on_request(ctx.env.clock.now(), random, session_request(&request, by_topic_id))
        };
        let (answer, wanted) = match begun {
            Ok(begun) => begun,
            Err(error) => return refused(session_code(error)).into(),
        };
        let mut lines: Vec<Line> =
            wanted.into_iter().map(|(key, wanted)| Line::new(&ctx, key, wanted)).collect();
        read_or_wait(&ctx, &mut lines, &bounds).await;
        finish(&ctx, &caller, answer, lines, version)
    }
}

fn refused(code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code.code(), ..FetchResponse::default() }
}

fn session_request(request: &FetchRequest, by_topic_id: bool) -> SessionRequest<FetchKey> {
    let key = |topic: &Str, topic_id, partition| FetchKey {
        topic_id,
        topic: topic.detached(),
        partition,
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        for p in &topic.partitions {
            let wanted = Wanted {
                fetch_offset: Offset(p.fetch_offset),
                bytes_max: u32::try_from(p.partition_max_bytes).unwrap_or(0),
                current_leader_epoch: epoch(p.current_leader_epoch),
                last_fetched_epoch: epoch(p.last_fetched_epoch),
            };
            partitions.push((key(&topic.topic, topic.topic_id, p.partition), wanted));
        }
    }
    let forgotten = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| key(&topic.topic, topic.topic_id, *p)))
        .collect();
    let session = SessionRef { id: request.session_id, epoch: request.session_epoch };
    SessionRequest { session, by_topic_id, partitions, forgotten }
}

/// Reads; if there is too little, waits until enough has come, something is wrong, or time is up.
async fn read_or_wait(ctx: &Context, lines: &mut [Line], bounds: &Bounds) {
    if read_all(ctx, lines, bounds).await >= bounds.bytes_min
        || bounds.wait.is_zero()
        || has_errors(lines)
    {
        return;
    }
    let signal = Arc::new(FetchSignal::default());
    let _watches: Vec<_> = lines
        .iter()
        .enumerate()
        .filter_map(|(place, line)| {
            line.partition.as_ref().map(|partition| partition.watch(&signal, place))
        })
        .collect();
    let waited = task::timeout(bounds.wait, async {
        // What came between the first look and the registration is found by the second.
        while read_all(ctx, lines, bounds).await < bounds.bytes_min && !has_errors(lines) {
            poll_fn(|cx| signal.poll_moved(cx)).await;
        }
    });
    if waited.await.is_none() {
        tracing::trace!("a fetch waited in vain");
    }
}

fn has_errors(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.worth() == Worth::Error)
}

/// Reads every partition within the bytes that are left; gives how many bytes were found.
async fn read_all(ctx: &Context, lines: &mut [Line], bounds: &Bounds) -> u64 {
    let mut found = 0;
    for line in lines {
        let first = if found == 0 { AtLeastOne::Batch } else { AtLeastOne::Nothing };
        line.read(ctx, bounds.isolation, bounds.bytes_max.saturating_sub(found), first).await;
        found += line.bytes();
    }
    found
}

fn finish(
    ctx: &Context,
    caller: &Caller,
    answer: Answer,
    mut lines: Vec<Line>,
    version: i16,
) -> Reply<FetchResponse> {
    let told: Vec<(FetchKey, Told, Worth)> =
        lines.iter().map(|line| (line.key.clone(), line.told(), line.worth())).collect();
    let tell = {
        let mut sessions = ctx.fetch_sessions.lock().expect("no holder of this lock can panic");
        sessions.on_answer(answer, &told)
    };
    let mut response =
        FetchResponse { session_id: answer.session_id(), ..FetchResponse::default() };
    if version >= LEADERS_FROM {
        name_leaders(ctx, caller, &mut lines, &mut response);
    }
    let mut files: Vec<FileSlice> = Vec::new();
    for (line, tell) in lines.into_iter().zip(tell) {
        if !tell {
            continue;
        }
        count(ctx, &line);
        files.extend(line.slice);
        let is_same = |topic: &FetchableTopicResponse| {
            topic.topic_id == line.key.topic_id && topic.topic == line.key.topic
        };
        match response.responses.last_mut() {
            Some(last) if is_same(last) => last.partitions.push(line.data),
            _ => response.responses.push(FetchableTopicResponse {
                topic: line.key.topic,
                topic_id: line.key.topic_id,
                partitions: vec![line.data],
            }),
        }
    }
    Reply::SendWithFiles(response, files)
}

fn count(ctx: &Context, line: &Line) {
    ctx.traffic.fetch_requests.increment();
    ctx.traffic.bytes_out.add(line.bytes());
    if line.data.error_code != 0 {
        ctx.traffic.failed_fetch_requests.increment();
    }
}

/// Tells a client that asked the wrong broker which one leads (KIP-951).
fn name_leaders(ctx: &Context, caller: &Caller, lines: &mut [Line], response: &mut FetchResponse) {
    let is_wrong = |code: i16| {
        code == ErrorCode::NotLeaderOrFollower.code() || code == ErrorCode::FencedLeaderEpoch.code()
    };
    if !lines.iter().any(|line| is_wrong(line.data.error_code)) {
        return;
    }
    let image = ctx.metadata.image();
    for line in lines.iter_mut().filter(|line| is_wrong(line.data.error_code)) {
        let topic = match line.key.topic_id.is_zero() {
            true => image.topics.by_name(&line.key.topic),
            false => image.topics.by_id(line.key.topic_id),
        };
        let Some(partition) = topic.and_then(|topic| topic.partition(line.key.partition)) else {
            continue;
        };
        let leader_id = partition.leader.unwrap_or(NodeId(-1)).0;
        line.data.current_leader =
            LeaderIdAndEpoch { leader_id, leader_epoch: partition.leader_epoch.0 };
        let is_new = !response.node_endpoints.iter().any(|node| node.node_id == leader_id);
        let endpoint = Context::endpoint(&image.cluster, NodeId(leader_id), &caller.listener_name);
        if let Some(endpoint) = endpoint.filter(|_| is_new) {
            response.node_endpoints.push(NodeEndpoint {
                node_id: leader_id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: None,
            });
        }
    }
}
