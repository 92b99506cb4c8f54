//! What tests ask a broker for again and again, over a raw connection. Any refusal is a code for
//! the test to look at.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use klamm_codec::RecordsField;
use klamm_model::{ErrorCode, Timestamp};
use klamm_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm_protocol::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::produce_response::PartitionProduceResponse;
use klamm_protocol::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, Request,
};
use klamm_records::{BatchBuilder, BatchOptions, RecordToAppend, Scratch, batches};
use klamm_stdx::Str;

use crate::connection::RawConnection;
use crate::wait::{WAIT_MAX, wait_until};

/// How long the broker may take for a change, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;
/// The last version that names topics by name.
const BY_NAME: i16 = 12;

/// A record as it came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// A connection that knows a few questions.
#[derive(Debug)]
pub struct Client {
    /// The connection, for other questions.
    pub connection: RawConnection,
}

impl Client {
    /// A client on a connection.
    #[must_use]
    pub fn new(connection: RawConnection) -> Self {
        Self { connection }
    }

    /// Asks, and expects an answer.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.connection
            .ask(request, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", R::KEY))
    }

    /// Creates a topic.
    ///
    /// # Panics
    /// If the broker refuses.
    #[track_caller]
    pub fn create_topic(&mut self, name: &str, partition_count: i32, configs: &[(&str, &str)]) {
        let code = self.try_create_topic(name, partition_count, configs);
        assert_eq!(code, ErrorCode::None, "topic {name} is refused");
    }

    /// Creates a topic, or gives the broker's refusal.
    #[track_caller]
    pub fn try_create_topic(
        &mut self,
        name: &str,
        partition_count: i32,
        configs: &[(&str, &str)],
    ) -> ErrorCode {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Str::from(*name),
            value: Some(Str::from(*value)),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(name),
                num_partitions: partition_count,
                replication_factor: 1,
                assignments: Vec::new(),
                configs: configs.iter().map(config).collect(),
            }],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let answer = self.ask(&request, 7);
        code(answer.topics[0].error_code)
    }

    /// Sends record batches, as they are, to a partition, with acks=all.
    #[track_caller]
    pub fn produce(&mut self, topic: &str, index: i32, records: &[u8]) -> PartitionProduceResponse {
        let request = produce_request(topic, index, records);
        let mut answer = self.ask(&request, BY_NAME);
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Sends record batches and gives the error's code.
    #[track_caller]
    pub fn produce_code(&mut self, topic: &str, index: i32, records: &[u8]) -> ErrorCode {
        code(self.produce(topic, index, records).error_code)
    }

    /// The offset of the partition's end.
    #[track_caller]
    pub fn end_offset(&mut self, topic: &str, index: i32) -> i64 {
        let partition = ListOffsetsPartition {
            partition_index: index,
            timestamp: -1,
            ..ListOffsetsPartition::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic { name: Str::from(topic), partitions: vec![partition] }],
            ..ListOffsetsRequest::default()
        };
        wait_until("the end offset", WAIT_MAX, || {
            let answer = self.ask(&request, 7);
            let line = &answer.topics[0].partitions[0];
            match code(line.error_code) {
                ErrorCode::None => Some(line.offset),
                // Right after a start; all clients ask again (KIP-207).
                ErrorCode::OffsetNotAvailable => None,
                refusal => panic!("no end offset of {topic}-{index}: {refusal:?}"),
            }
        })
    }

    /// Every record of a partition from `offset` on; each batch's checksum is checked.
    ///
    /// # Panics
    /// If the broker refuses, or sends what is no batch.
    #[track_caller]
    pub fn fetch_all(&mut self, topic: &str, index: i32, offset: i64) -> Vec<StoredRecord> {
        let end = self.end_offset(topic, index);
        let mut next = offset;
        let mut all = Vec::new();
        while next < end {
            let bytes = self.fetch(topic, index, next);
            let before = next;
            let mut scratch = Scratch::default();
            for batch in batches(&bytes) {
                // The last batch of an answer may be cut short.
                let Ok(batch) = batch else { break };
                batch.check_crc().expect("a stored batch keeps its checksum");
                for record in batch.records(&mut scratch).expect("a stored batch has records") {
                    let record = record.expect("a stored record can be read");
                    if record.offset.0 < next {
                        continue;
                    }
                    all.push(StoredRecord {
                        offset: record.offset.0,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                    });
                }
                next = batch.header().next_offset().0;
            }
            assert!(next > before, "a fetch of {topic}-{index} from {before} gives nothing");
        }
        all
    }

    /// The bytes of one fetch.
    ///
    /// # Panics
    /// If the broker refuses.
    #[track_caller]
    pub fn fetch(&mut self, topic: &str, index: i32, offset: i64) -> Bytes {
        let partition = FetchPartition {
            partition: index,
            fetch_offset: offset,
            partition_max_bytes: 4 << 20,
            ..FetchPartition::default()
        };
        let request = FetchRequest {
            topics: vec![FetchTopic {
                topic: Str::from(topic),
                partitions: vec![partition],
                ..FetchTopic::default()
            }],
            max_bytes: 4 << 20,
            ..FetchRequest::default()
        };
        let mut answer = self.ask(&request, BY_NAME);
        let line = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(code(line.error_code), ErrorCode::None, "fetch of {topic}-{index} at {offset}");
        line.records.as_bytes().cloned().unwrap_or_default()
    }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or_else(|| panic!("{code} is no code of Kafka's"))
}

/// A request with one partition's batches.
#[must_use]
pub fn produce_request(topic: &str, index: i32, records: &[u8]) -> ProduceRequest {
    let records = RecordsField::Bytes(Bytes::copy_from_slice(records));
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: Str::from(topic),
            partition_data: vec![PartitionProduceData { index, records }],
            ..TopicProduceData::default()
        }],
    }
}

/// Records of long ago would be removed as soon as they are there.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A batch of values, written now.
///
/// # Panics
/// If the codec refuses them.
#[must_use]
pub fn batch_of(options: BatchOptions, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    let timestamp = now();
    for value in values {
        builder.push(RecordToAppend { timestamp, value: Some(value), ..RecordToAppend::default() });
    }
    builder.build().expect("values of a test can be compressed")
}
