//! DescribeLogDirs (key 35): sizes of partitions and room on the disks. Served: v1-v5.
//!
//! v2 flexible · v3 an error for the whole answer · v4 total and usable bytes (KIP-827) · v5
//! whether a directory is cordoned (KIP-1066). Source: KIP-113.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_protocol::describe_log_dirs_request::DescribableLogDirTopic;
use klamm_protocol::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use klamm_protocol::{DescribeLogDirsRequest, DescribeLogDirsResponse, Listener};
use klamm_replication::{Directory, FutureReplica, Partition};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

pub(crate) struct DescribeLogDirs;

impl Api for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=5;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeLogDirsRequest,
        _: i16,
    ) -> Reply<DescribeLogDirsResponse> {
        let wanted = Wanted::new(&ctx, request.topics);
        let directories = ctx.partitions.directories();
        let usable = directories.all().iter().map(|dir| describe(&ctx, dir, &wanted));
        let failed = directories.failed().iter().map(|path| failed(path));
        let results = usable.chain(failed).collect();
        DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() }.into()
    }
}

/// The replicas that were asked for, those included that are on their way to another directory.
struct Wanted {
    partitions: Vec<Arc<Partition>>,
    futures: Vec<FutureReplica>,
}

impl Wanted {
    fn new(ctx: &Context, topics: Option<Vec<DescribableLogDirTopic>>) -> Self {
        let mut futures = ctx.partitions.futures();
        let Some(topics) = topics else {
            return Self { partitions: ctx.partitions.all(), futures };
        };
        let each = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.topic, *p)));
        let partitions: Vec<Arc<Partition>> = each
            .filter_map(|(topic, partition)| ctx.partitions.by_name(topic, partition))
            .collect();
        futures.retain(|future| partitions.iter().any(|p| *p.name() == future.partition));
        Self { partitions, futures }
    }
}

fn describe(ctx: &Context, directory: &Directory, wanted: &Wanted) -> DescribeLogDirsResult {
    let dir = directory.log_dir();
    let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in wanted.partitions.iter().filter(|p| is_in(p, dir.path())) {
        let lines = topics.entry(partition.name().topic.clone()).or_default();
        lines.push(DescribeLogDirsPartition {
            partition_index: partition.name().partition,
            partition_size: i64::try_from(partition.view().size_bytes()).unwrap_or(i64::MAX),
            ..DescribeLogDirsPartition::default()
        });
    }
    for future in wanted.futures.iter().filter(|future| future.directory == dir.path()) {
        let lines = topics.entry(future.partition.topic.clone()).or_default();
        lines.push(DescribeLogDirsPartition {
            partition_index: future.partition.partition,
            partition_size: i64::try_from(future.size_bytes).unwrap_or(i64::MAX),
            offset_lag: future.offset_lag,
            is_future_key: true,
        });
    }
    let is_offline = directory.is_offline();
    let space = ctx.env.disk.space(dir.path());
    let bytes = |of: fn(&klamm_env::Space) -> u64| {
        space.as_ref().map_or(-1, |space| i64::try_from(of(space)).unwrap_or(i64::MAX))
    };
    DescribeLogDirsResult {
        error_code: if is_offline { ErrorCode::KafkaStorageError.code() } else { 0 },
        log_dir: Str::from(dir.path().display().to_string()),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions })
            .collect(),
        total_bytes: bytes(|space| space.total_bytes),
        usable_bytes: bytes(|space| space.usable_bytes),
        is_cordoned: directory.is_cordoned(),
    }
}

/// A directory that could not be used since the start.
fn failed(path: &Path) -> DescribeLogDirsResult {
    DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: Str::from(path.display().to_string()),
        total_bytes: -1,
        usable_bytes: -1,
        ..DescribeLogDirsResult::default()
    }
}

fn is_in(partition: &Partition, dir: &Path) -> bool {
    !partition.is_unopened() && partition.directory().log_dir().path() == dir
}
