//! AlterReplicaLogDirs (key 34): moves replicas to other log directories. Served: v1-v2.
//!
//! v2 flexible. The answer comes when the move has begun; DescribeLogDirs tells how far it is.
//! Source: KIP-113.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_model::{ErrorCode, TopicPartition};
use klamm_protocol::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use klamm_protocol::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, Listener};
use klamm_replication::MoveRefused;
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::errors::move_code;

pub(crate) struct AlterReplicaLogDirs;

impl Api for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: AlterReplicaLogDirsRequest,
        _: i16,
    ) -> Reply<AlterReplicaLogDirsResponse> {
        let mut results: BTreeMap<Str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
        for (name, path) in asked(request) {
            let result = ctx.partitions.move_to(&name, &path);
            let error_code = result.map_or_else(|error| refused(&ctx, &name, &error), |()| 0);
            let line =
                AlterReplicaLogDirPartitionResult { partition_index: name.partition, error_code };
            results.entry(name.topic).or_default().push(line);
        }
        let results = results.into_iter();
        AlterReplicaLogDirsResponse {
            results: results
                .map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
                    topic_name,
                    partitions,
                })
                .collect(),
            ..AlterReplicaLogDirsResponse::default()
        }
        .into()
    }
}

/// Each replica once; of several directories for one, the last is meant.
fn asked(request: AlterReplicaLogDirsRequest) -> BTreeMap<TopicPartition, Str> {
    let mut asked = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            for partition in topic.partitions {
                asked.insert(TopicPartition::new(topic.name.clone(), partition), dir.path.clone());
            }
        }
    }
    asked
}

fn refused(ctx: &Context, name: &TopicPartition, error: &MoveRefused) -> i16 {
    let is_elsewhere =
        || ctx.metadata.image().topics.partition(&name.topic, name.partition).is_some();
    let code = match error {
        MoveRefused::UnknownPartition if is_elsewhere() => ErrorCode::ReplicaNotAvailable,
        error => move_code(error),
    };
    tracing::warn!(partition = %name, %error, "a replica is not moved to another log directory");
    code.code()
}
