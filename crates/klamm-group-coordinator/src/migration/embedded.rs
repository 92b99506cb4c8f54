//! What consumers put into the bytes of the classic protocol, which the broker otherwise passes on
//! unread (Kafka: `ConsumerProtocol`): a version, then a subscription or an assignment.

use bytes::Bytes;
use klamm_codec::{DecodeError, Message, Reader, Writer};
use klamm_metadata::MetadataImage;
use klamm_model::PartitionIndex;
use klamm_persisted::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use klamm_stdx::Str;

use crate::consumer::{Partitions, TopicPartitions};

/// What a consumer told when it joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub topics: Vec<Str>,
    pub rack_id: Option<Str>,
    /// What it still has; an eager consumer has given everything up.
    pub owned: Vec<(Str, Vec<PartitionIndex>)>,
}

/// What a leader gave a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub partitions: Vec<(Str, Vec<PartitionIndex>)>,
    /// Whether an assignor added words of its own, which only it understands.
    pub has_user_data: bool,
}

/// The version that bytes begin with; a newer one is read as the newest that is known.
fn version<M: Message>(r: &mut Reader) -> Result<i16, DecodeError> {
    Ok(r.i16()?.clamp(0, *M::VERSIONS.end()))
}

/// Reads what a consumer tells when it joins.
pub(crate) fn subscription(metadata: &Bytes) -> Result<Subscribed, DecodeError> {
    let mut r = Reader::new(metadata.clone());
    let version = version::<ConsumerProtocolSubscription>(&mut r)?;
    let told = ConsumerProtocolSubscription::decode(&mut r, version)?;
    let owned = told.owned_partitions.into_iter();
    Ok(Subscribed {
        topics: told.topics.iter().map(Str::detached).collect(),
        rack_id: told.rack_id.map(|rack| rack.detached()),
        owned: owned.map(|line| (line.topic.detached(), line.partitions)).collect(),
    })
}

/// The topics that a consumer asks for; `None` if it cannot be understood.
pub(crate) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<Str>> {
    subscription(metadata).ok().map(|told| told.topics)
}

/// Reads what a leader gave a member; no bytes are no partitions.
pub(crate) fn assignment(bytes: &Bytes) -> Result<Assigned, DecodeError> {
    if bytes.is_empty() {
        return Ok(Assigned::default());
    }
    let mut r = Reader::new(bytes.clone());
    let version = version::<ConsumerProtocolAssignment>(&mut r)?;
    let given = ConsumerProtocolAssignment::decode(&mut r, version)?;
    let lines = given.assigned_partitions.into_iter();
    Ok(Assigned {
        partitions: lines.map(|line| (line.topic.detached(), line.partitions)).collect(),
        has_user_data: given.user_data.is_some_and(|data| !data.is_empty()),
    })
}

/// Tells a member its part in the version that it speaks itself.
pub(crate) fn assignment_bytes(
    partitions: impl Iterator<Item = (Str, Vec<PartitionIndex>)>,
    metadata: &Bytes,
) -> Bytes {
    let line =
        |(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions };
    let told = ConsumerProtocolAssignment {
        assigned_partitions: partitions.map(line).collect(),
        user_data: None,
    };
    let spoken = version::<ConsumerProtocolAssignment>(&mut Reader::new(metadata.clone()));
    let spoken = spoken.unwrap_or(0);
    let mut w = Writer::new();
    w.i16(spoken);
    match told.encode(&mut w, spoken) {
        Ok(()) => Bytes::from(w.into_vec()),
        // A topic's name always fits: then there is nothing that it can read.
        Err(_) => Bytes::new(),
    }
}

/// By topic id; topics that are not there are left out.
pub(crate) fn by_id(
    lines: Vec<(Str, Vec<PartitionIndex>)>,
    image: &MetadataImage,
) -> Vec<TopicPartitions> {
    let line = |(name, partitions): (Str, _)| Some((image.topics.id(&name)?, partitions));
    lines.into_iter().filter_map(line).collect()
}

/// By topic name; topics that are not there are left out.
pub(crate) fn by_name<'a>(
    partitions: &'a Partitions,
    image: &'a MetadataImage,
) -> impl Iterator<Item = (Str, Vec<PartitionIndex>)> + 'a {
    partitions.iter().filter_map(|(topic_id, partitions)| {
        let topic = image.topics.by_id(*topic_id)?;
        Some((topic.name.clone(), partitions.iter().copied().collect()))
    })
}
