//! The Produce request that carries batches, and each batch's part of the answer.

use std::collections::BTreeMap;

use klamm_codec::RecordsField;
use klamm_model::{Acks, TopicId, TopicPartition};
use klamm_protocol::{
    ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use klamm_stdx::Str;

use super::batch::ReadyBatch;
use super::shared::Shared;

/// How long the broker may wait for the other replicas.
pub(super) const PRODUCE_TIMEOUT_MS: i32 = 30_000;
/// The first version of Produce that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// The request that carries the batches; their bytes are not copied until they are written.
pub(super) fn request(
    shared: &Shared,
    batches: &[ReadyBatch],
    ids: &[(TopicPartition, TopicId)],
    version: i16,
) -> ProduceRequest {
    let mut topics: BTreeMap<Str, Vec<PartitionProduceData>> = BTreeMap::new();
    for batch in batches {
        topics.entry(batch.partition.topic.clone()).or_default().push(PartitionProduceData {
            index: batch.partition.partition,
            records: RecordsField::Bytes(batch.bytes.clone()),
        });
    }
    let topic = |(name, partition_data): (Str, _)| match version {
        TOPIC_IDS_FROM.. => TopicProduceData {
            topic_id: topic_id(ids, &name),
            partition_data,
            ..TopicProduceData::default()
        },
        _ => TopicProduceData { name, partition_data, ..TopicProduceData::default() },
    };
    ProduceRequest {
        transactional_id: shared.transactional_id.clone(),
        acks: match shared.options.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        },
        timeout_ms: PRODUCE_TIMEOUT_MS,
        topic_data: topics.into_iter().map(topic).collect(),
    }
}

fn topic_id(ids: &[(TopicPartition, TopicId)], name: &Str) -> TopicId {
    let found = ids.iter().find(|(partition, _)| partition.topic == *name);
    found.map(|(_, id)| *id).unwrap_or_default()
}

/// What the broker says of a batch.
pub(super) fn answer_to<'a>(
    response: &'a ProduceResponse,
    batch: &ReadyBatch,
    ids: &[(TopicPartition, TopicId)],
) -> Option<&'a PartitionProduceResponse> {
    let id = topic_id(ids, &batch.partition.topic);
    response
        .responses
        .iter()
        .filter(|topic| topic.name == batch.partition.topic || topic.topic_id == id)
        .flat_map(|topic| &topic.partition_responses)
        .find(|partition| partition.index == batch.partition.partition)
}
