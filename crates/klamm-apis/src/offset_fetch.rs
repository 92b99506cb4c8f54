//! OffsetFetch (key 9): reads how far groups have come. Served: v1-v10.
//!
//! v2 all partitions by null · v5 leader epochs · v6 flexible · v7 stable offsets (KIP-447) · v8
//! several groups (KIP-709) · v9 the member's epoch (KIP-848) · v10 topics by id.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_group_coordinator::{
    FoundOffset, OffsetFetch as OffsetFetchOf, OffsetsOfGroup, Request, Response, Stability,
};
use klamm_model::{ErrorCode, PartitionIndex};
use klamm_protocol::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use klamm_protocol::{Listener, OffsetFetchRequest, OffsetFetchResponse};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;
use crate::groups::{ask, misplaced};

/// From here on several groups can be asked for.
const GROUPS_FROM: i16 = 8;
/// From here on topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;

pub(crate) struct OffsetFetch;

impl Api for OffsetFetch {
    type Request = OffsetFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=10;
    const LISTENERS: &'static [Listener] = &[Listener::Broker];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: OffsetFetchRequest,
        version: i16,
    ) -> Reply<OffsetFetchResponse> {
        if version >= GROUPS_FROM {
            let mut groups = Vec::with_capacity(request.groups.len());
            for group in request.groups {
                let asked = (group, stability(request.require_stable));
                groups.push(fetch_group(&ctx, asked, version).await);
            }
            return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() }.into();
        }
        let asked = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
        });
        let stability = stability(request.require_stable);
        match fetch(
            &ctx,
            &request.group_id,
            OffsetFetchOf { asked: asked.clone(), stability, member: None },
        )
        .await
        {
            Ok(found) => single(found, version, ErrorCode::None).into(),
            Err(code) => {
                // Before version 2 an error stands with each partition.
                let mut found = OffsetsOfGroup::default();
                for (topic, partitions) in asked.unwrap_or_default() {
                    found.topics.push((
                        topic,
                        partitions.into_iter().map(|p| (p, FoundOffset::None)).collect(),
                    ));
                }
                single(found, version, code).into()
            }
        }
    }
}

fn stability(require_stable: bool) -> Stability {
    if require_stable { Stability::Required } else { Stability::Any }
}

async fn fetch(
    ctx: &Context,
    group_id: &Str,
    asked: OffsetFetchOf,
) -> Result<OffsetsOfGroup, ErrorCode> {
    match ask(ctx, group_id, Request::FetchOffsets(group_id.clone(), asked)).await {
        Response::FetchOffsets(found) => found,
        other => Err(misplaced(&other)),
    }
}

/// The answer of the versions that ask for one group.
fn single(found: OffsetsOfGroup, version: i16, code: ErrorCode) -> OffsetFetchResponse {
    let topic =
        |(name, partitions): (Str, Vec<(PartitionIndex, FoundOffset)>)| OffsetFetchResponseTopic {
            name,
            partitions: partitions
                .into_iter()
                .map(|(partition_index, offset)| {
                    let line = Line::of(offset);
                    OffsetFetchResponsePartition {
                        partition_index,
                        committed_offset: line.offset,
                        committed_leader_epoch: line.leader_epoch,
                        metadata: Some(line.metadata),
                        error_code: if code.is_none() { line.code.code() } else { code.code() },
                    }
                })
                .collect(),
        };
    OffsetFetchResponse {
        topics: found.topics.into_iter().map(topic).collect(),
        error_code: if version >= 2 { code.code() } else { 0 },
        ..OffsetFetchResponse::default()
    }
}

async fn fetch_group(
    ctx: &Context,
    (group, stability): (OffsetFetchRequestGroup, Stability),
    version: i16,
) -> OffsetFetchResponseGroup {
    let by_id = version >= TOPIC_IDS_FROM;
    let member = group.member_id.map(|member_id| (member_id, group.member_epoch));
    let mut unknown = Vec::new();
    let asked = group.topics.map(|topics| {
        let image = ctx.metadata.image();
        let mut named = Vec::new();
        for topic in topics {
            match image.topics.by_id(topic.topic_id).filter(|_| by_id) {
                Some(known) => named.push((known.name.clone(), topic.partition_indexes)),
                None if by_id => unknown.push(topic),
                None => named.push((topic.name, topic.partition_indexes)),
            }
        }
        named
    });
    let mut answered = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..OffsetFetchResponseGroup::default()
    };
    let found = match fetch(ctx, &group.group_id, OffsetFetchOf { asked, stability, member }).await
    {
        Ok(found) => found,
        Err(code) => {
            answered.error_code = code.code();
            return answered;
        }
    };
    let image = ctx.metadata.image();
    for (name, partitions) in found.topics {
        let topic_id = image.topics.id(&name).unwrap_or_default();
        if by_id && topic_id.is_zero() {
            // Offsets of a topic that is gone have no id to be told by.
            continue;
        }
        let lines = partitions
            .into_iter()
            .map(|(index, offset)| line(index, offset, ErrorCode::None))
            .collect();
        answered.topics.push(OffsetFetchResponseTopics { name, topic_id, partitions: lines });
    }
    for topic in unknown {
        let lines = topic
            .partition_indexes
            .iter()
            .map(|p| line(*p, FoundOffset::None, ErrorCode::UnknownTopicId))
            .collect();
        let line = OffsetFetchResponseTopics {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: lines,
        };
        answered.topics.push(line);
    }
    answered
}

fn line(
    partition_index: i32,
    offset: FoundOffset,
    code: ErrorCode,
) -> OffsetFetchResponsePartitions {
    let told = Line::of(offset);
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: told.offset,
        committed_leader_epoch: told.leader_epoch,
        metadata: Some(told.metadata),
        error_code: if code.is_none() { told.code.code() } else { code.code() },
    }
}

/// A committed offset as the wire tells it: -1 and no words where there is none.
struct Line {
    offset: i64,
    leader_epoch: i32,
    metadata: Str,
    code: ErrorCode,
}

impl Line {
    fn of(offset: FoundOffset) -> Self {
        let code = match &offset {
            FoundOffset::Unstable => ErrorCode::UnstableOffsetCommit,
            FoundOffset::None | FoundOffset::Committed(_) => ErrorCode::None,
        };
        match offset {
            FoundOffset::Committed(committed) => Self {
                offset: committed.offset.0,
                leader_epoch: committed.leader_epoch.map_or(-1, |epoch| epoch.0),
                metadata: committed.metadata,
                code,
            },
            FoundOffset::None | FoundOffset::Unstable => {
                Self { offset: -1, leader_epoch: -1, metadata: Str::new(), code }
            }
        }
    }
}
