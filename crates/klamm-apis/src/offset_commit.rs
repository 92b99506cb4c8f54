//! OffsetCommit (key 8): stores how far a group has come. Served: v2-v10.
//!
//! v5 no retention time · v6 leader epochs · v7 static members (KIP-345) · v8 flexible · v9 the
//! member epoch of new groups (KIP-848) · v10 topics by id.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{
    MemberEpochs, OffsetCommit as Commit, OffsetToCommit, PartitionResult, Request, Response,
};
use klamm_metadata::MetadataImage;
use klamm_model::{ErrorCode, GenerationId, LeaderEpoch, Offset};
use klamm_protocol::offset_commit_request::OffsetCommitRequestTopic;
use klamm_protocol::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use klamm_protocol::{Listener, OffsetCommitRequest, OffsetCommitResponse};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::by_topic::ByTopic;
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

/// From here on members of the consumer protocol can tell their epoch.
const MEMBER_EPOCHS_FROM: i16 = 9;
/// From here on topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;

pub(crate) struct OffsetCommit;

impl Api for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=10;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        mut request: OffsetCommitRequest,
        version: i16,
    ) -> Reply<OffsetCommitResponse> {
        // One image for all of the request: a topic that goes meanwhile has its answer too.
        let image = ctx.metadata.image();
        if version >= TOPIC_IDS_FROM {
            for topic in &mut request.topics {
                topic.name =
                    image.topics.by_id(topic.topic_id).map(|t| t.name.clone()).unwrap_or_default();
            }
        }
        let mut offsets = Vec::new();
        let mut answered = ByTopic::default();
        for topic in &request.topics {
            let (lines, refused) = split(&image, topic, version);
            offsets.extend(lines);
            let answer = OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: refused,
            };
            answered.push(topic.name.clone(), answer);
        }
        let group_id = request.group_id;
        let commit = Commit {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation_id: GenerationId(request.generation_id_or_member_epoch),
            epochs: match version {
                MEMBER_EPOCHS_FROM.. => MemberEpochs::Known,
                _ => MemberEpochs::Unknown,
            },
            retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
            offsets,
        };
        let response = ask(&ctx, &group_id, Request::CommitOffsets(group_id.clone(), commit)).await;
        let results = match response {
            Response::CommitOffsets(results) => results,
            other => {
                let error = misplaced(&other);
                let line = |o: OffsetToCommit| PartitionResult {
                    topic: o.topic,
                    partition: o.partition,
                    error,
                };
                let sent = request.topics.iter().flat_map(|topic| split(&image, topic, version).0);
                sent.map(line).collect()
            }
        };
        for result in results {
            let line = OffsetCommitResponsePartition {
                partition_index: result.partition,
                error_code: result.error.code(),
            };
            let unasked =
                |name| OffsetCommitResponseTopic { name, ..OffsetCommitResponseTopic::default() };
            answered.get_or_push(result.topic, unasked).partitions.push(line);
        }
        let topics = answered.into_topics();
        OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }.into()
    }
}

/// The lines that can be committed, and answers for those that cannot.
fn split(
    image: &MetadataImage,
    topic: &OffsetCommitRequestTopic,
    version: i16,
) -> (Vec<OffsetToCommit>, Vec<OffsetCommitResponsePartition>) {
    let known = image.topics.by_name(&topic.name).filter(|_| !topic.name.is_empty());
    let by_id = version >= TOPIC_IDS_FROM;
    let missing =
        if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let mut lines = Vec::new();
    let mut refused = Vec::new();
    for p in &topic.partitions {
        let code = match known {
            None => Some(missing),
            Some(known) if known.partition(p.partition_index).is_none() => {
                Some(ErrorCode::UnknownTopicOrPartition)
            }
            Some(_) => None,
        };
        if let Some(code) = code {
            let line = OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code.code(),
            };
            refused.push(line);
            continue;
        }
        lines.push(OffsetToCommit {
            topic: topic.name.clone(),
            topic_id: by_id.then_some(topic.topic_id),
            partition: p.partition_index,
            offset: Offset(p.committed_offset),
            leader_epoch: (p.committed_leader_epoch >= 0)
                .then_some(LeaderEpoch(p.committed_leader_epoch)),
            metadata: p.committed_metadata.clone().unwrap_or_else(Str::new),
        });
    }
    (lines, refused)
}
