//! One question to one broker: records of some partitions. Never keeps anything.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_codec::RecordsField;
use klamm_model::{NodeId, Offset, TopicId, TopicPartition};
use klamm_protocol::{
    ApiKey, FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::{AbortedTransaction, PartitionData},
};
use klamm_stdx::Str;

use super::options::ConsumerOptions;
use crate::cluster::{Client, Purpose};
use crate::error::{ClientError, Result};
use crate::offsets::isolation_to_wire;

/// The first version of Fetch that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// What a broker answered about one partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: TopicPartition,
    /// Where it was asked from.
    pub(super) offset: Offset,
    pub(super) result: Result<FetchedPartition>,
}

/// Batches of one partition, as the broker has them.
#[derive(Debug)]
pub(super) struct FetchedPartition {
    pub(super) records: Bytes,
    pub(super) aborted: Vec<AbortedTransaction>,
    /// Where the records end that may be read now.
    pub(super) end: Offset,
}

type Question = (TopicPartition, Offset, TopicId);

pub(super) async fn fetch(
    client: &Client,
    leader: NodeId,
    questions: Vec<Question>,
    options: &ConsumerOptions,
) -> Result<Vec<Fetched>> {
    let connection = client.broker(leader, Purpose::Data).await?;
    let version = connection.version(ApiKey::Fetch)?;
    let request = request(&questions, options, version);
    let pending = connection.start(&request, version).await?;
    let response = pending.answer().await?;
    if response.error_code != 0 {
        return Err(ClientError::refused(response.error_code, None, "fetching"));
    }
    let mut answers: BTreeMap<(Str, i32), PartitionData> = BTreeMap::new();
    for topic in response.responses {
        let name = match version {
            TOPIC_IDS_FROM.. => {
                let asked = questions.iter().find(|(_, _, id)| *id == topic.topic_id);
                asked.map(|(partition, ..)| partition.topic.clone()).unwrap_or_default()
            }
            _ => topic.topic,
        };
        for partition in topic.partitions {
            answers.insert((name.clone(), partition.partition_index), partition);
        }
    }
    let answer = |(partition, offset, _): Question| {
        let key = (partition.topic.clone(), partition.partition);
        let data = answers.remove(&key)?;
        let result = check(&partition, data, options);
        Some(Fetched { partition, offset, result })
    };
    Ok(questions.into_iter().filter_map(answer).collect())
}

fn check(
    partition: &TopicPartition,
    data: PartitionData,
    options: &ConsumerOptions,
) -> Result<FetchedPartition> {
    if data.error_code != 0 {
        return Err(ClientError::refused(data.error_code, None, &format!("fetching {partition}")));
    }
    let records = match data.records {
        RecordsField::Bytes(bytes) => bytes,
        RecordsField::Null | RecordsField::Deferred(_) => Bytes::new(),
    };
    let end = match isolation_to_wire(options.isolation) {
        1 if data.last_stable_offset >= 0 => data.last_stable_offset,
        _ => data.high_watermark,
    };
    let aborted = data.aborted_transactions.unwrap_or_default();
    Ok(FetchedPartition { records, aborted, end: Offset(end) })
}

fn request(questions: &[Question], options: &ConsumerOptions, version: i16) -> FetchRequest {
    let mut topics: BTreeMap<(Str, TopicId), Vec<FetchPartition>> = BTreeMap::new();
    for (partition, offset, topic_id) in questions {
        let topic = topics.entry((partition.topic.clone(), *topic_id)).or_default();
        topic.push(FetchPartition {
            partition: partition.partition,
            fetch_offset: offset.0,
            partition_max_bytes: options.max_partition_fetch_bytes,
            ..FetchPartition::default()
        });
    }
    let topic = |((name, topic_id), partitions)| match version {
        TOPIC_IDS_FROM.. => FetchTopic { topic: Str::new(), topic_id, partitions },
        _ => FetchTopic { topic: name, topic_id: TopicId::ZERO, partitions },
    };
    FetchRequest {
        max_wait_ms: i32::try_from(options.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.fetch_min_bytes,
        max_bytes: options.fetch_max_bytes,
        isolation_level: isolation_to_wire(options.isolation),
        session_id: 0,
        session_epoch: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..FetchRequest::default()
    }
}
