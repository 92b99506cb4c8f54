//! What consumers put into the bytes of the classic protocol: subscriptions and assignments, as
//! Kafka's clients write them (Kafka: `ConsumerProtocol`).

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_persisted::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};

use super::member::TOPIC;

const VERSION: i16 = 3;

fn bytes_of<M: Message>(told: &M) -> Bytes {
    let mut w = Writer::new();
    w.i16(VERSION);
    told.encode(&mut w, VERSION).expect("it is short");
    w.into_vec().into()
}

/// What an eager member tells when it joins: it has given everything up.
pub(super) fn subscription() -> Bytes {
    bytes_of(&ConsumerProtocolSubscription {
        topics: vec![TOPIC.into()],
        ..ConsumerProtocolSubscription::default()
    })
}

/// What a leader gives a member.
pub(super) fn assignment(partitions: &[u8]) -> Bytes {
    let line = consumer_protocol_assignment::TopicPartition {
        topic: TOPIC.into(),
        partitions: partitions.iter().map(|partition| i32::from(*partition)).collect(),
    };
    bytes_of(&ConsumerProtocolAssignment { assigned_partitions: vec![line], user_data: None })
}

/// What a member reads in it; no bytes are no partitions.
pub(super) fn partitions(assignment: &Bytes) -> Result<Vec<u8>, String> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(assignment.clone());
    let version = r.i16().map_err(|error| error.to_string())?;
    let told = ConsumerProtocolAssignment::decode(&mut r, version);
    let told = told.map_err(|error| error.to_string())?;
    let all = told.assigned_partitions.into_iter().flat_map(|line| line.partitions);
    all.map(|partition| u8::try_from(partition).map_err(|error| error.to_string())).collect()
}
