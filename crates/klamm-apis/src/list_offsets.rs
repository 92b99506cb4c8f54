//! ListOffsets (key 2): offsets by time or by sentinel. Served: v1-v11.
//!
//! v2 isolation · v4 leader epochs · v6 flexible · v7 the largest timestamp (KIP-734) · v8 the
//! earliest local (KIP-405) · v9 the latest tiered (KIP-1005) · v10 a time limit · v11 the
//! earliest that waits for upload (KIP-1023). Nothing is tiered here: local is all there is.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::task;
use klamm_log::{FoundTimestamp, LogError, LogView, ReadError};
use klamm_model::{ErrorCode, IsolationLevel, LeaderEpoch, Offset, Timestamp};
use klamm_protocol::list_offsets_request::ListOffsetsPartition;
use klamm_protocol::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use klamm_protocol::{ListOffsetsRequest, ListOffsetsResponse, Listener};
use klamm_replication::{CommitWait, Partition, ReadRefused};

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::read_code;
use crate::fetch_read::epoch;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// How long the end of a log is waited for at most; then the answer is what is committed.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(1);
/// From here on leader epochs are told.
const LEADER_EPOCHS_FROM: i16 = 4;

pub(crate) struct ListOffsets;

impl Api for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=11;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: ListOffsetsRequest,
        version: i16,
    ) -> Reply<ListOffsetsResponse> {
        let isolation = IsolationLevel::from_wire(request.isolation_level);
        settle(&ctx, &request).await;
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let partition = ctx.partitions.by_name(&topic.name, asked.partition_index);
                let found = match partition {
                    Some(partition) => find(&partition, isolation, asked, version).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                };
                partitions.push(answer(asked.partition_index, found, version));
            }
            response.topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
        }
        response.into()
    }
}

/// Waits until what is acknowledged is committed: a client that was told of its record (acks=1)
/// finds it below the end. With one replica that is a sync, as long as the disk takes for it.
async fn settle(ctx: &Context, request: &ListOffsetsRequest) {
    let mut commits: Vec<CommitWait> = Vec::new();
    for topic in &request.topics {
        for asked in topic.partitions.iter().filter(|asked| needs_end(asked.timestamp)) {
            let partition = ctx.partitions.by_name(&topic.name, asked.partition_index);
            let Some(partition) = partition.filter(|p| p.check_leader(None).is_ok()) else {
                continue;
            };
            let end = partition.view().log_end_offset();
            if partition.high_watermark() < end {
                commits.push(partition.committed_past(end.plus(-1)));
            }
        }
    }
    if commits.is_empty() {
        return;
    }
    let all = async {
        for commit in commits {
            commit.await;
        }
    };
    let in_time = task::timeout(SETTLE_TIME_MAX, all).await.is_some();
    tracing::trace!(in_time, "commits waited for");
}

fn needs_end(timestamp: i64) -> bool {
    timestamp >= 0 || timestamp == LATEST || timestamp == MAX_TIMESTAMP
}

/// What was found: an offset, and the record's time where it was asked for.
struct Found {
    timestamp: Timestamp,
    offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl From<FoundTimestamp> for Found {
    fn from(found: FoundTimestamp) -> Self {
        Self { timestamp: found.timestamp, offset: found.offset, leader_epoch: found.leader_epoch }
    }
}

async fn find(
    partition: &Arc<Partition>,
    isolation: IsolationLevel,
    asked: &ListOffsetsPartition,
    version: i16,
) -> Result<Option<Found>, ErrorCode> {
    let leader_epoch =
        partition.check_leader(epoch(asked.current_leader_epoch)).map_err(|e| read_code(&e))?;
    let view = partition.view();
    let upper = partition.readable_end(isolation);
    let at = |offset: Offset, leader_epoch| {
        Some(Found { timestamp: Timestamp(-1), offset, leader_epoch })
    };
    let since =
        |needed: i16| if version >= needed { Ok(()) } else { Err(ErrorCode::UnsupportedVersion) };
    match asked.timestamp {
        LATEST if !partition.has_caught_up() => Err(not_yet(version)),
        LATEST => Ok(at(upper, Some(leader_epoch))),
        EARLIEST => Ok(at(view.log_start_offset(), view.epoch_at(view.log_start_offset()))),
        MAX_TIMESTAMP => {
            since(7)?;
            if !partition.has_caught_up() {
                return Err(not_yet(version));
            }
            search(partition, move |view| view.max_timestamp(upper)).await
        }
        EARLIEST_LOCAL => {
            since(8)?;
            Ok(at(view.log_start_offset(), view.epoch_at(view.log_start_offset())))
        }
        LATEST_TIERED => since(9).map(|()| None),
        EARLIEST_PENDING_UPLOAD => since(11).map(|()| None),
        timestamp if timestamp >= 0 => {
            let timestamp = Timestamp(timestamp);
            let found =
                search(partition, move |view| view.offset_for_timestamp(timestamp, upper)).await?;
            if found.is_none() && !partition.has_caught_up() {
                return Err(not_yet(version));
            }
            Ok(found)
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// Has another thread look for a record: who searches by time reads files, and a worker never waits
/// for a device.
async fn search<F>(partition: &Arc<Partition>, look: F) -> Result<Option<Found>, ErrorCode>
where
    F: FnOnce(&LogView) -> Result<Option<FoundTimestamp>, LogError> + Send + 'static,
{
    let partition = Arc::clone(partition);
    let found = task::blocking(move || look(partition.view())).await;
    let found = found.map_err(|_| ErrorCode::KafkaStorageError)?;
    let failed = |error| read_code(&ReadRefused::Log(ReadError::Log(error)));
    Ok(found.map_err(failed)?.map(Found::from))
}

/// Right after a start the end is not known yet: a client that asks again finds out, and one that
/// was told less than before would read from the wrong place (KIP-207).
fn not_yet(version: i16) -> ErrorCode {
    if version >= 5 { ErrorCode::OffsetNotAvailable } else { ErrorCode::LeaderNotAvailable }
}

fn answer(
    partition_index: i32,
    found: Result<Option<Found>, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let mut line = ListOffsetsPartitionResponse {
        partition_index,
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
        ..ListOffsetsPartitionResponse::default()
    };
    match found {
        Ok(Some(found)) => {
            line.timestamp = found.timestamp.0;
            line.offset = found.offset.0;
            let leader_epoch = found.leader_epoch.filter(|_| version >= LEADER_EPOCHS_FROM);
            line.leader_epoch = leader_epoch.map_or(-1, |epoch| epoch.0);
        }
        Ok(None) => {}
        Err(code) => line.error_code = code.code(),
    }
    line
}
